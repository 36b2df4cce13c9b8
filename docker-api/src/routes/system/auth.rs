//! `POST /auth`: whether a registry takes a name and its password.

use crate::http::error::ApiError;
use crate::http::reply::Answered;
use crate::http::server::Call;

#[allow(clippy::unused_async, reason = "it will ask the registry")]
pub(crate) async fn answer(_call: Call) -> Answered {
    Err(ApiError::not_built("POST /auth"))
}

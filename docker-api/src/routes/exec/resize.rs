//! `POST /exec/{id}/resize`

use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::translate::terminal;
use hyper::StatusCode;

pub(crate) fn answer(call: &Call) -> Answered {
    let exec = super::find(&call.app, call.name())?;
    let size = terminal::of_query(&call.query)?;
    match exec.resize(size) {
        Some(Ok(())) => empty(StatusCode::OK),
        Some(Err(wrong)) => Err(ApiError::internal(format!("resize the terminal of exec {}: {wrong}", exec.id))),
        None => Err(ApiError::conflict(format!("exec {} has no terminal now", exec.id))),
    }
}

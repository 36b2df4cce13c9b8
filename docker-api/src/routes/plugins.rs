//! Plugins: there are none, and whoever looks for one learns that, such as `docker inspect` of a name that is nothing's.

use crate::http::error::ApiError;
use crate::http::filters::Filters;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use serde_json::json;

/// `GET /plugins`
pub(super) fn list(call: &Call) -> Answered {
    Filters::of(&call.query, &["capability", "enabled"])?;
    json(&json!([]))
}

/// `GET /plugins/{name}/json`
pub(super) fn inspect(call: &Call) -> Answered {
    Err(ApiError::not_found(format!("plugin {:?} not found", call.name())))
}

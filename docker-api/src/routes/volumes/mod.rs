//! Volumes: there are none yet, and whoever looks for one learns that.

use crate::http::error::ApiError;
use crate::http::filters::Filters;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use serde_json::json;

/// `GET /volumes`
pub(super) fn list(call: &Call) -> Answered {
    Filters::of(&call.query, &["dangling", "driver", "label", "name"])?;
    json(&json!({ "Volumes": [], "Warnings": null }))
}

/// `GET /volumes/{name}`
pub(super) fn inspect(call: &Call) -> Answered {
    Err(ApiError::not_found(format!("get {}: no such volume", call.name())))
}

/// `POST /volumes/prune`
pub(super) fn prune(call: &Call) -> Answered {
    Filters::of(&call.query, &["label", "label!", "all"])?;
    json(&json!({ "VolumesDeleted": [], "SpaceReclaimed": 0 }))
}

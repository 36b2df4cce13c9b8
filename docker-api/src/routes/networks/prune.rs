//! `POST /networks/prune`: those that are always there are never left over.

use crate::http::filters::Filters;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use serde_json::json;

pub(crate) fn answer(call: &Call) -> Answered {
    Filters::of(&call.query, &["until", "label", "label!"])?;
    json(&json!({ "NetworksDeleted": null }))
}

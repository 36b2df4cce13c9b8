//! `GET /networks/{id}`

use super::predefined::Network;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;

pub(crate) fn answer(call: &Call) -> Answered {
    let name = call.name();
    let scope = call.query.text("scope");
    let found = Network::find(name).filter(|_| matches!(scope, "" | "local"));
    let network = found.ok_or_else(|| ApiError::not_found(format!("network {name} not found")))?;
    let mut shown = network.shown(&call.app);
    shown["Containers"] = network.containers(&call.app);
    json(&shown)
}

//! `DELETE /networks/{id}`: those there are stay.

use super::predefined::Network;
use crate::http::error::ApiError;
use crate::http::reply::Answered;
use crate::http::server::Call;
use hyper::StatusCode;

pub(crate) fn answer(call: &Call) -> Answered {
    let name = call.name();
    Err(match Network::find(name) {
        None => ApiError::not_found(format!("network {name} not found")),
        Some(network) => {
            let message = format!("{} is a pre-defined network and cannot be removed", network.name());
            ApiError::new(StatusCode::FORBIDDEN, message)
        }
    })
}

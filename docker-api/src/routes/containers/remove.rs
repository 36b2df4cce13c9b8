//! `DELETE /containers/{id}`

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use hyper::StatusCode;
use orlop_model::container_state::{ContainerState, Force};

pub(crate) async fn answer(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let force = if call.query.flag("force") { Force::Yes } else { Force::No };
    let name = &found.annex.name;
    match (&found.view.state, force) {
        (ContainerState::Removing(_), _) => {
            return Err(ApiError::conflict(format!("removal of container {} is already in progress", found.id())));
        }
        (ContainerState::Frozen(_), Force::No) => {
            return Err(ApiError::conflict(format!(
                "cannot remove container \"{name}\": container is paused and must be unpaused first"
            )));
        }
        (state, Force::No) if state.task().is_some() => {
            return Err(ApiError::conflict(format!(
                "cannot remove container \"{name}\": container is running: stop the container before removing or force remove"
            )));
        }
        (state, Force::No) if found.annex.is_restarting(state) => {
            return Err(ApiError::conflict(format!(
                "cannot remove container \"{name}\": container is restarting: stop the container before removing or force remove"
            )));
        }
        (_, Force::Yes | Force::No) => {}
    }
    call.app.remove(&found, force).await?;
    if call.query.flag("v") && !found.annex.volumes.is_empty() {
        let volumes = found.annex.volumes.clone();
        call.app.blocking(move |app| app.volumes.remove_anonymous(&volumes)).await?;
    }
    empty(StatusCode::NO_CONTENT)
}

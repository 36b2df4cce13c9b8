//! `POST /containers/{id}/pause` and `/unpause`

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use hyper::StatusCode;
use orlop_model::container_state::ContainerState;

pub(crate) async fn pause(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let id = found.id();
    let state = &found.view.state;
    if matches!(state, ContainerState::Frozen(_)) {
        return Err(ApiError::conflict(format!("Container {id} is already paused")));
    }
    if state.task().is_none() {
        return Err(ApiError::conflict(format!("container {id} is not running")));
    }
    call.app.facade.freeze_container(id).await?;
    empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn unpause(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let id = found.id();
    if !matches!(found.view.state, ContainerState::Frozen(_)) {
        return Err(ApiError::conflict(format!("Container {id} is not paused")));
    }
    call.app.facade.thaw_container(id).await?;
    empty(StatusCode::NO_CONTENT)
}

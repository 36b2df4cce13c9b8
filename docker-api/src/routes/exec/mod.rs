//! Programs run beside containers' own.

pub(super) mod create;
pub(super) mod inspect;
pub(super) mod resize;
pub(super) mod start;

use crate::app::App;
use crate::execs::Exec;
use crate::http::error::ApiError;
use crate::routes::containers::find::{self, Found};
use orlop_model::container_state::ContainerState;
use std::sync::Arc;

fn find(app: &App, id: &str) -> Result<Arc<Exec>, ApiError> {
    app.execs.find(id).ok_or_else(|| ApiError::not_found(format!("No such exec instance: {id}")))
}

/// Finds a container in which a program can be run now.
fn running(app: &App, name: &str) -> Result<Found, ApiError> {
    let found = find::container(app, name)?;
    let id = found.id();
    match &found.view.state {
        ContainerState::Running(_) | ContainerState::Stopping { .. } | ContainerState::Lost(_) => Ok(found),
        ContainerState::Frozen(_) => {
            Err(ApiError::conflict(format!("Container {name} is paused, unpause the container before exec")))
        }
        state if found.annex.is_restarting(state) => {
            Err(ApiError::conflict(format!("Container {id} is restarting, wait until the container is running")))
        }
        ContainerState::Creating { .. }
        | ContainerState::Created { .. }
        | ContainerState::Starting { .. }
        | ContainerState::Exited { .. }
        | ContainerState::Removing(_)
        | ContainerState::Gone { .. } => Err(ApiError::conflict(format!("container {id} is not running"))),
    }
}

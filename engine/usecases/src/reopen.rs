//! Lets a running container's log go on in a fresh file.

use crate::engine::Node;
use crate::registry::ContainerView;
use orlop_model::ContainerId;
use orlop_model::container_state::ContainerState;
use orlop_model::error::{ErrorKind, Failure, Result};

/// Goes straight to the shim: neither a stop under way nor anything else of the sandbox is waited for.
pub(crate) async fn reopen(node: &Node, view: &ContainerView) -> Result<()> {
    let asked = &view.asked;
    let id = &asked.id;
    let Some(log) = &asked.spec.log else { return Err(refused(id, "the container was created without a log")) };
    match &view.state {
        ContainerState::Running(_) | ContainerState::Frozen(_) | ContainerState::Stopping { .. } => {}
        ContainerState::Lost(_) => {
            let message = format!("reopen the log of container {id}: its shim does not answer; retry later");
            return Err(Failure::new(ErrorKind::Unavailable, message));
        }
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {
            return Err(refused(id, "the container is not running: it has not been started yet"));
        }
        ContainerState::Exited { .. } | ContainerState::Removing(_) | ContainerState::Gone { .. } => {
            return Err(refused(id, "the container is not running: it has ended"));
        }
    }
    node.ports.runtime.reopen_log(&asked.spec.sandbox, id, log).await
}

fn refused(id: &ContainerId, why: &str) -> Failure {
    Failure::new(ErrorKind::WrongState, format!("reopen the log of container {id}: {why}; no file was made"))
}

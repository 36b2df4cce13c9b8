//! Sends a signal to a container's first process.

use crate::engine::Node;
use crate::registry::ContainerView;
use orlop_model::ContainerId;
use orlop_model::container_state::ContainerState;
use orlop_model::error::{ErrorKind, Failure, Result};

/// Goes straight to the shim: what the signal brings about is news of its own. A frozen process acts on it when it is thawed.
pub(crate) async fn send(node: &Node, view: &ContainerView, signal: u8) -> Result<()> {
    let id = &view.asked.id;
    match &view.state {
        ContainerState::Running(_) | ContainerState::Frozen(_) | ContainerState::Stopping { .. } => {}
        ContainerState::Lost(_) => {
            let message = format!("send signal {signal} to container {id}: its shim does not answer; retry later");
            return Err(Failure::new(ErrorKind::Unavailable, message));
        }
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {
            return Err(refused(id, signal, "it has not been started yet"));
        }
        ContainerState::Exited { .. } | ContainerState::Removing(_) | ContainerState::Gone { .. } => {
            return Err(refused(id, signal, "it has ended"));
        }
    }
    node.ports.runtime.signal(&view.asked.spec.sandbox, id, signal).await
}

fn refused(id: &ContainerId, signal: u8, why: &str) -> Failure {
    let message = format!("send signal {signal} to container {id}: the container is not running: {why}");
    Failure::new(ErrorKind::WrongState, message)
}

//! Runs a program in a running container.

use crate::engine::Node;
use crate::registry::{ContainerView, SandboxView};
use orlop_model::container_state::ContainerState;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::{Exec, ExecOutput};
use std::time::Duration;

/// Runs a program beside a container's own, collects its output and waits for its end.
pub(crate) async fn run(
    node: &Node,
    pod: &SandboxView,
    view: &ContainerView,
    command: &[String],
    timeout: Option<Duration>,
    output_bytes_max: usize,
) -> Result<ExecOutput> {
    let id = &view.asked.id;
    let checked = match &view.state {
        // A pre-stop hook runs while the container is asked to end.
        ContainerState::Running(task) | ContainerState::Stopping { task, .. } => &task.checked,
        ContainerState::Frozen(_) => return Err(refused(id, "is paused; unpause it first")),
        ContainerState::Lost(_) => {
            let message = format!("the shim of container {id} does not answer; retry later");
            return Err(Failure::new(ErrorKind::Unavailable, message));
        }
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {
            return Err(refused(id, "has not been started yet"));
        }
        ContainerState::Exited { .. } | ContainerState::Removing { .. } | ContainerState::Gone { .. } => {
            return Err(refused(id, "has ended"));
        }
    };
    let image = node.ports.images.config_of(id).await?;
    let exec = Exec {
        sandbox_id: &pod.asked.id,
        sandbox: &pod.asked.spec,
        id,
        container: &view.asked.spec,
        resources: &view.asked.resources,
        image: &image,
        checked,
        command,
        timeout,
        output_bytes_max,
    };
    node.ports.runtime.exec(exec).await
}

fn refused(id: &orlop_model::ContainerId, why: &str) -> Failure {
    Failure::new(ErrorKind::WrongState, format!("run a program in container {id}: the container {why}"))
}

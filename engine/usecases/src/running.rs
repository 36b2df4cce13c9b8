//! Whether something can be done with a container that only a running one allows.

use crate::registry::ContainerView;
use orlop_model::container_state::{ContainerState, Task};
use orlop_model::error::{ErrorKind, Failure, Result};

/// Whether a paused container counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paused {
    /// It does: nothing is asked of its processes.
    Counts,
    /// It does not: whoever asks would wait for processes that stand still.
    Refused,
}

/// Returns the process of a running container, one that is asked to end included; says `what` can't be done otherwise.
pub(crate) fn running<'a>(view: &'a ContainerView, what: &str, paused: Paused) -> Result<&'a Task> {
    let id = &view.asked.id;
    let refused = |why| Err(Failure::new(ErrorKind::WrongState, format!("{what} container {id}: the container {why}")));
    match (&view.state, paused) {
        // A pre-stop hook runs while the container is asked to end.
        (ContainerState::Running(task) | ContainerState::Stopping { task, .. }, _)
        | (ContainerState::Frozen(task), Paused::Counts) => Ok(task),
        (ContainerState::Frozen(_), Paused::Refused) => refused("is paused; unpause it first"),
        (ContainerState::Lost(_), _) => {
            let message = format!("{what} container {id}: its shim does not answer; retry later");
            Err(Failure::new(ErrorKind::Unavailable, message))
        }
        (ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. }, _) => {
            refused("has not been started yet")
        }
        (ContainerState::Exited { .. } | ContainerState::Removing { .. } | ContainerState::Gone { .. }, _) => {
            refused("has ended")
        }
    }
}

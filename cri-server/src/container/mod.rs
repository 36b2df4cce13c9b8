//! Containers.

pub(crate) mod attach;
pub(crate) mod create;
pub(crate) mod exec;
pub(crate) mod exec_sync;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod reopen;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod streams;
pub(crate) mod update;

use crate::proto::ContainerState as Shown;
use orlop_model::container_state::ContainerState;

/// Returns a state as answers show it; ARCHITECTURE.md, "Data and states".
pub(crate) fn shown(state: &ContainerState) -> Shown {
    match state {
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {
            Shown::ContainerCreated
        }
        ContainerState::Running(_) | ContainerState::Frozen(_) | ContainerState::Stopping { .. } => {
            Shown::ContainerRunning
        }
        ContainerState::Lost(_) => Shown::ContainerUnknown,
        ContainerState::Exited { .. } | ContainerState::Removing { .. } | ContainerState::Gone { .. } => {
            Shown::ContainerExited
        }
    }
}

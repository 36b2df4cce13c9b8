//! Pods.

pub(crate) mod list;
pub(crate) mod port_forward;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod update;

use crate::proto::PodSandboxState;
use orlop_model::sandbox_state::SandboxState;

/// Returns a state as answers show it: a pod is ready, or it is not.
pub(crate) fn shown(state: &SandboxState) -> PodSandboxState {
    match state {
        SandboxState::Ready { .. } => PodSandboxState::SandboxReady,
        SandboxState::Creating { .. }
        | SandboxState::Stopping { .. }
        | SandboxState::NotReady { .. }
        | SandboxState::Starting { .. }
        | SandboxState::Removing { .. }
        | SandboxState::Gone { .. } => PodSandboxState::SandboxNotready,
    }
}

//! What a sandbox that ends with its one container must hear of it. Pure.
//!
//! Level-triggered: asked whenever anything has changed, and once after a restart. So a container that ended while no daemon
//! ran ends its sandbox all the same, and a creation or removal that was cut off is finished.
//!
//! Law: a sandbox that hears nothing more is a record while its container does not run, and is gone when its container is.

use crate::container_state::ContainerState;
use crate::error::Failure;
use crate::sandbox_state::{Raising, SandboxEvent, SandboxState};

/// Returns what the sandbox must hear; `container` is `None` when there is none (any more), `why` the reason, when its creation
/// failed.
#[must_use]
pub fn of_sandbox(
    sandbox: &SandboxState,
    container: Option<&ContainerState>,
    why: Option<&Failure>,
) -> Option<SandboxEvent> {
    use {SandboxEvent as E, SandboxState as S};
    let container = match container {
        None | Some(ContainerState::Gone { .. }) => return gone(sandbox, why),
        Some(container) => container,
    };
    match sandbox {
        S::Creating { stage: Raising::Container, .. } if created(container) => Some(E::ContainerCreated),
        S::Ready { .. } if over(container) => Some(E::ContainerEnded),
        S::Creating { .. } | S::Ready { .. } | S::Starting { .. } | S::NotReady { .. } => None,
        S::Stopping { .. } | S::Removing { .. } | S::Gone { .. } => None,
    }
}

fn gone(sandbox: &SandboxState, why: Option<&Failure>) -> Option<SandboxEvent> {
    use SandboxState as S;
    match sandbox {
        S::Removing { .. } | S::Gone { .. } => None,
        S::Creating { .. } | S::Ready { .. } | S::Starting { .. } | S::NotReady { .. } | S::Stopping { .. } => {
            Some(SandboxEvent::ContainerGone(why.cloned()))
        }
    }
}

/// Whether its creation is done.
fn created(container: &ContainerState) -> bool {
    use ContainerState as S;
    match container {
        // One that is being removed before it was created is undone; its sandbox follows when it is gone.
        S::Creating { .. } | S::Removing(_) | S::Gone { .. } => false,
        S::Created { .. } | S::Starting { .. } | S::Running(_) | S::Frozen(_) => true,
        S::Stopping { .. } | S::Lost(_) | S::Exited { .. } => true,
    }
}

/// Whether a sandbox that is up is so for nothing: the container has ended and the shim has let go of it, or can't; or its start
/// was cut off.
fn over(container: &ContainerState) -> bool {
    use ContainerState as S;
    match container {
        S::Created { .. } => true,
        S::Exited { task, .. } => task.as_ref().is_none_or(|leave| leave.retry_at.is_some()),
        S::Creating { .. } | S::Starting { .. } | S::Running(_) | S::Frozen(_) | S::Stopping { .. } => false,
        S::Lost(_) | S::Removing(_) | S::Gone { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_state::{Checked, Ended, Exit, Leave, Leaving};
    use crate::sandbox_state;
    use crate::time::Timestamp;

    const T0: Timestamp = Timestamp(0);

    fn ready() -> SandboxState {
        SandboxState::Ready { since: T0, attachments: Vec::new() }
    }

    fn exited(task: Option<Leave>) -> ContainerState {
        let ended = Ended { started: Some(T0), finished: T0, exit: Exit::Code { code: 0, oom: false } };
        ContainerState::Exited { ended, checked: Checked::default(), task }
    }

    #[test]
    fn a_sandbox_is_created_with_its_container() {
        let creating = sandbox_state::begin_alone(T0);
        let (container, _) = crate::container_state::begin(T0);
        assert_eq!(of_sandbox(&creating, Some(&container), None), None);
        let created = ContainerState::Created { checked: Checked::default() };
        assert_eq!(of_sandbox(&creating, Some(&created), None), Some(SandboxEvent::ContainerCreated));
    }

    #[test]
    fn a_sandbox_ends_once_the_shim_has_let_go_of_its_container_or_can_not() {
        let leave = |retry_at| Leave { stage: Leaving::Task, failures: 0, retry_at };
        assert_eq!(of_sandbox(&ready(), Some(&exited(Some(leave(None)))), None), None);
        for over in [exited(None), exited(Some(leave(Some(T0))))] {
            assert_eq!(of_sandbox(&ready(), Some(&over), None), Some(SandboxEvent::ContainerEnded));
        }
    }

    #[test]
    fn a_sandbox_never_outlives_its_container() {
        let not_ready = SandboxState::NotReady { since: T0, why: None };
        for left in [ready(), not_ready, sandbox_state::begin_alone(T0)] {
            let heard = of_sandbox(&left, None, None).unwrap();
            let (next, _) = sandbox_state::step(&left, heard, T0).unwrap();
            assert!(matches!(next, SandboxState::Removing { .. }), "{next:?}");
            assert_eq!(of_sandbox(&next, None, None), None);
        }
    }
}

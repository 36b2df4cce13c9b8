//! What is to be done about a container, and when. Pure.

use super::kept::{Kept, Rules, Wanted};
use super::restart::{self, Restart};
use orlop_model::Timestamp;
use orlop_model::container_state::ContainerState;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until something changes.
    Nothing,
    /// It is started again at this time.
    Start(Timestamp),
    /// It is removed.
    Remove,
    /// It is thawed.
    Thaw,
    /// Its health is looked at, at this time.
    Look(Timestamp),
}

/// Decides what is to be done about a container that nobody is doing something to.
pub(super) fn next(rules: &Rules, kept: &Kept, state: &ContainerState) -> Next {
    use ContainerState as S;
    match state {
        // One that its user wanted started is not for long: a daemon died over the start.
        S::Created { .. } if kept.wanted == Wanted::Run => match rules.restart {
            _ if rules.auto_remove => Next::Remove,
            Restart::No => Next::Nothing,
            Restart::Always | Restart::UnlessStopped | Restart::OnFailure { .. } => Next::Start(Timestamp::default()),
        },
        // One that never ran waits for its user, also after the node has booted.
        S::Exited { .. } if rules.auto_remove && kept.wanted != Wanted::Nothing => Next::Remove,
        S::Exited { ended, .. } => restart::again(rules.restart, kept, ended).map_or(Next::Nothing, Next::Start),
        // Nobody makes an image of it. Also one that runs: it would be thawed as soon as its user froze it.
        S::Running(_) | S::Frozen(_) if kept.frozen_for_commit => Next::Thaw,
        S::Running(task) => match &rules.health {
            Some(check) => Next::Look(kept.health.due(check, task.started)),
            None => Next::Nothing,
        },
        S::Creating { .. } | S::Created { .. } | S::Starting { .. } | S::Frozen(_) => Next::Nothing,
        S::Stopping { .. } | S::Lost(_) | S::Removing(_) | S::Gone { .. } => Next::Nothing,
    }
}

/// Returns whether a container has ended and is about to be started again: what lists call restarting.
pub(crate) fn is_restarting(rules: &Rules, kept: &Kept, state: &ContainerState) -> bool {
    matches!((state, next(rules, kept, state)), (ContainerState::Exited { .. }, Next::Start(_)))
}

/// Returns whether a container is to run, and to be started again when it ends.
pub(crate) fn is_kept_running(rules: &Rules, kept: &Kept) -> bool {
    kept.wanted == Wanted::Run && rules.restart != Restart::No
}

//! What a caller waits for, and when it has come. Pure.

use crate::cell::Wrong;
use orlop_model::container_state::{ContainerState, Ended, Exit, Leaving, Stopping};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::sandbox_state::SandboxState;

/// What the caller of a sandbox request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SandboxWanted {
    /// Built; or its creation undone.
    Built,
    /// Nothing runs in it any more.
    Stopped,
    /// What belonged to the run before is given back, whatever has come since.
    Down,
    /// Nothing is left.
    Gone,
}

/// What the caller of a container request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerWanted {
    /// Prepared; or its creation undone.
    Created,
    /// Its program runs, or ran.
    Started,
    /// Nothing runs in it any more.
    Ended,
    /// Its processes are frozen.
    Frozen,
    /// They are not, or there are none.
    Thawed,
    /// Nothing is left.
    Gone,
}

/// Says whether the wait is over, and how. A state that a crash would forget is not acknowledged.
pub(crate) fn sandbox(wanted: SandboxWanted, state: &SandboxState, wrong: Wrong<'_>) -> Option<Result<()>> {
    let last = wrong.last;
    use {SandboxState as S, SandboxWanted as W};
    let stuck = |retry: bool| if retry { last.map(standing).map(Err) } else { None };
    match (wanted, state) {
        (W::Down, S::Creating { .. } | S::Starting { .. } | S::NotReady { .. }) => Some(Ok(())),
        (W::Down, S::Removing { .. } | S::Gone { .. }) => Some(Ok(())),
        (_, S::Creating { .. } | S::Starting { .. }) => None,
        (W::Built, S::Ready { .. } | S::NotReady { .. }) => Some(Ok(())),
        (W::Stopped, S::NotReady { .. }) => Some(acknowledged(wrong)),
        (W::Stopped | W::Gone | W::Down, S::Ready { .. }) | (W::Gone, S::NotReady { .. }) => None,
        (_, S::Stopping { leave, .. }) => stuck(leave.retry_at.is_some()),
        // The caller of a failed creation learns why it failed; what stands in the way of undoing it comes second.
        (W::Built, S::Removing { leave, why }) if leave.retry_at.is_some() => Some(Err(unbuilt(why.as_ref(), last))),
        (W::Stopped | W::Gone, S::Removing { leave, .. }) => stuck(leave.retry_at.is_some()),
        (W::Built, S::Removing { .. }) => None,
        (W::Built, S::Gone { why }) => Some(Err(unbuilt(why.as_ref(), None))),
        (W::Stopped | W::Gone, S::Gone { .. }) => Some(Ok(())),
    }
}

/// Says whether the wait is over, and how. A state that a crash would forget is not acknowledged.
pub(crate) fn container(wanted: ContainerWanted, state: &ContainerState, wrong: Wrong<'_>) -> Option<Result<()>> {
    let last = wrong.last;
    use {ContainerState as S, ContainerWanted as W};
    match (wanted, state) {
        (_, S::Creating { .. }) => None,
        (W::Created, S::Created { .. } | S::Starting { .. } | S::Running(_) | S::Frozen(_)) => Some(Ok(())),
        (W::Created, S::Stopping { .. } | S::Lost(_) | S::Exited { .. }) => Some(Ok(())),
        (W::Started | W::Ended, S::Created { .. } | S::Starting { .. }) => None,
        (W::Started, S::Running(_) | S::Frozen(_) | S::Stopping { .. } | S::Lost(_)) => Some(Ok(())),
        (W::Started, S::Exited { ended, .. }) => Some(started(ended)),
        (W::Ended, S::Running(_) | S::Frozen(_) | S::Lost(_)) => None,
        (W::Ended, S::Stopping { how: Stopping::Thawing | Stopping::Asked, .. }) => None,
        // A process that can't be killed: who waits learns why; killing goes on.
        (W::Ended, S::Stopping { how: Stopping::Killed, .. }) => last.map(standing).map(Err),
        (W::Ended, S::Exited { .. }) => Some(acknowledged(wrong)),
        (W::Frozen, S::Created { .. } | S::Starting { .. }) => None,
        (W::Frozen, S::Running(_)) | (W::Thawed, S::Frozen(_)) => last.cloned().map(Err),
        // Recorded or not: after a crash the cgroup itself says so.
        (W::Frozen, S::Frozen(_)) | (W::Thawed, S::Running(_)) => Some(Ok(())),
        (W::Frozen, S::Stopping { .. } | S::Lost(_) | S::Exited { .. }) => Some(Err(not_frozen())),
        (W::Thawed, S::Created { .. } | S::Starting { .. } | S::Stopping { .. }) => Some(Ok(())),
        (W::Thawed, S::Lost(_) | S::Exited { .. }) => Some(Ok(())),
        (W::Gone, S::Created { .. } | S::Starting { .. } | S::Running(_) | S::Frozen(_)) => None,
        (W::Gone, S::Stopping { .. } | S::Lost(_) | S::Exited { .. }) => None,
        (_, S::Removing(removal)) => {
            let stuck = removal.leave.retry_at.is_some();
            match wanted {
                W::Created if stuck => Some(Err(unbuilt(removal.why.as_ref(), last))),
                W::Gone if stuck => last.map(standing).map(Err),
                W::Started => Some(Err(unbuilt(removal.why.as_ref(), None))),
                // Once the task is dropped nothing runs, however long the rest takes.
                W::Ended if removal.leave.stage != Leaving::Task => Some(Ok(())),
                W::Ended if stuck => last.map(standing).map(Err),
                W::Frozen => Some(Err(not_frozen())),
                W::Thawed => Some(Ok(())),
                W::Created | W::Ended | W::Gone => None,
            }
        }
        (W::Created | W::Started, S::Gone { why }) => Some(Err(unbuilt(why.as_ref(), None))),
        (W::Frozen, S::Gone { .. }) => Some(Err(not_frozen())),
        (W::Ended | W::Thawed | W::Gone, S::Gone { .. }) => Some(Ok(())),
    }
}

fn not_frozen() -> Failure {
    Failure::new(ErrorKind::WrongState, "the container ended before its processes were frozen")
}

/// A program that ran and ended at once was started all the same.
fn started(ended: &Ended) -> Result<()> {
    const TRIED: &str = "start the container";
    match &ended.exit {
        Exit::NeverStarted { code: 126 | 127, message } => {
            Err(Failure::new(ErrorKind::InvalidArgument, message.clone()).while_trying(TRIED))
        }
        Exit::NeverStarted { message, .. } => {
            Err(Failure::new(ErrorKind::Internal, message.clone()).while_trying(TRIED))
        }
        Exit::Unstarted => Err(Failure::new(ErrorKind::WrongState, "the container was stopped before it was started")),
        Exit::Code { .. } | Exit::Signal { .. } | Exit::Unknown => Ok(()),
    }
}

fn acknowledged(wrong: Wrong<'_>) -> Result<()> {
    match wrong.unrecorded {
        None => Ok(()),
        Some(failure) => Err(standing(failure)),
    }
}

/// Returns what stands in the way of taking something down. That a part of it is not found does not mean that all of it is
/// gone, which is how a caller would take it.
fn standing(last: &Failure) -> Failure {
    let kind = if last.kind == ErrorKind::NotFound { ErrorKind::Internal } else { last.kind };
    Failure { kind, message: format!("{last}; it is tried again") }
}

fn unbuilt(why: Option<&Failure>, undo: Option<&Failure>) -> Failure {
    let why = why.cloned().unwrap_or_else(|| Failure::new(ErrorKind::WrongState, "it is being removed"));
    match undo {
        None => why,
        Some(undo) => Failure::new(why.kind, format!("{why}; undoing it failed too and is tried again: {undo}")),
    }
}

//! What comes next in the life of a container: one function for each state, every event named.

use super::*;
use crate::error::ErrorKind;
use crate::sandbox_state::retry_pause;

type Stepped = Result<ContainerStep, ContainerRefused>;

/// Returns the first state of a container, and its first effect.
#[must_use]
pub fn begin(now: Timestamp) -> ContainerStep {
    (ContainerState::Creating { since: now, stage: Preparing::Rootfs }, Some(ContainerEffect::PrepareRootfs))
}

/// Returns the state that follows, and the effect owed.
pub fn step(state: &ContainerState, event: ContainerEvent, now: Timestamp) -> Stepped {
    use ContainerState as S;
    match state {
        S::Creating { since, stage } => creating(state, *since, *stage, event),
        S::Created { checked } => created(state, checked, event, now),
        S::Starting { since, checked, stop, signal } => starting(state, *since, checked, (*stop, *signal), event, now),
        S::Running(task) => running(state, task, event, now),
        S::Frozen(task) => frozen(state, task, event, now),
        S::Stopping { task, deadline, how, signal, .. } => {
            stopping(state, task, *deadline, (*how, *signal), event, now)
        }
        S::Lost(task) => lost(state, task, event, now),
        S::Exited { ended, checked, task } => exited(state, ended, checked, task.as_ref(), event, now),
        S::Removing(removal) => removing(state, removal, event, now),
        S::Gone { .. } => Ok((state.clone(), None)),
    }
}

// === impl step ===

use {ContainerEffect as Do, ContainerEvent as E};

/// A report or request that changes nothing: repeated, late, or about something no longer owed.
fn quiet(state: &ContainerState) -> Stepped {
    Ok((state.clone(), None))
}

fn creating(state: &ContainerState, since: Timestamp, stage: Preparing, event: ContainerEvent) -> Stepped {
    Ok(match (stage, event) {
        (Preparing::Rootfs, E::RootfsReady) => {
            (ContainerState::Creating { since, stage: Preparing::Check }, Some(Do::Check))
        }
        (Preparing::Check, E::Checked(checked)) => (ContainerState::Created { checked }, None),
        (_, E::Failed(Do::PrepareRootfs | Do::Check, failure)) => undo(failure),
        (_, E::Interrupted) => {
            undo(Failure::new(ErrorKind::Unavailable, "the daemon stopped while the container was being created"))
        }
        (_, E::RemoveAsked(_)) => {
            undo(Failure::new(ErrorKind::Cancelled, "the container was removed while it was being created"))
        }
        (_, E::SandboxDown) => {
            undo(Failure::new(ErrorKind::WrongState, "the sandbox was stopped while the container was being created"))
        }
        (_, E::StartAsked | E::StopAsked { .. } | E::FreezeAsked | E::ThawAsked) => {
            return Err(ContainerRefused::StillCreating);
        }
        (_, E::RootfsReady | E::Checked(_) | E::Started { .. } | E::Ended(_) | E::Frozen | E::Thawed)
        | (_, E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..) | E::Silent | E::Answered)
        | (_, E::Signalled | E::SandboxFailed(_) | E::Due) => return quiet(state),
    })
}

fn created(state: &ContainerState, checked: &Checked, event: ContainerEvent, now: Timestamp) -> Stepped {
    Ok(match event {
        E::StartAsked => (starting_since(now, checked), Some(Do::Start)),
        E::StopAsked { .. } | E::SandboxDown => (exited_as(unstarted(now), checked, None), None),
        // There is no task of it.
        E::SandboxFailed(failure) => (exited_as(not_run(failure.message, now), checked, None), None),
        // By way of the task: one whose start was cut off may yet have one.
        E::RemoveAsked(_) => remove(Leaving::Task, checked, Some(unstarted(now))),
        E::FreezeAsked | E::ThawAsked => return Err(ContainerRefused::NotRunning),
        E::RootfsReady | E::Checked(_) | E::Started { .. } | E::Ended(_) | E::Frozen | E::Thawed => {
            return quiet(state);
        }
        E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..) | E::Silent => return quiet(state),
        E::Signalled | E::Answered | E::Interrupted | E::Due => return quiet(state),
    })
}

fn starting(
    state: &ContainerState,
    since: Timestamp,
    checked: &Checked,
    (stop, signal): (Option<Duration>, Option<u8>),
    event: ContainerEvent,
    now: Timestamp,
) -> Stepped {
    Ok(match event {
        E::Started { pid, at } => {
            let task = Task { pid, started: at, checked: checked.clone() };
            match stop {
                None => (ContainerState::Running(task), None),
                Some(grace) => ask_to_end(&task, grace, signal, now),
            }
        }
        E::Ended(ended) => exit(ended, checked),
        // The task of the life before is gone; until then the shim would take this start for a repeated one.
        E::TaskDropped => (state.clone(), Some(Do::Start)),
        // The shim or the daemon is at fault, not the program; the container can't be retried under CRI, so it ends here.
        E::Failed(Do::Start | Do::DropTask, failure) => never_started(failure.message, checked, now),
        E::SandboxDown => {
            never_started("the sandbox was stopped while the program was started".to_owned(), checked, now)
        }
        // The shim knows of no start: it never came to that, and who asks again is served.
        E::Interrupted => (ContainerState::Created { checked: checked.clone() }, None),
        E::StopAsked { grace, signal: asked } => {
            let (stop, signal) = (Some(stop.map_or(grace, |earlier| earlier.min(grace))), asked.or(signal));
            (ContainerState::Starting { since, checked: checked.clone(), stop, signal }, None)
        }
        E::RemoveAsked(Force::Yes) => remove(Leaving::Task, checked, None),
        E::RemoveAsked(Force::No) => return Err(ContainerRefused::StillRunning),
        E::FreezeAsked | E::ThawAsked => return Err(ContainerRefused::NotRunning),
        E::StartAsked | E::RootfsReady | E::Checked(_) | E::Frozen | E::Thawed | E::Signalled => return quiet(state),
        E::RootfsDropped | E::Forgotten | E::Failed(..) | E::Silent | E::Answered | E::Due => return quiet(state),
        E::SandboxFailed(_) => return quiet(state),
    })
}

fn running(state: &ContainerState, task: &Task, event: ContainerEvent, now: Timestamp) -> Stepped {
    Ok(match event {
        E::Ended(ended) => exit(ended, &task.checked),
        E::StopAsked { grace, signal } => ask_to_end(task, grace, signal, now),
        E::FreezeAsked => (state.clone(), Some(Do::Freeze)),
        E::Frozen => (ContainerState::Frozen(task.clone()), None),
        E::Silent => (ContainerState::Lost(task.clone()), None),
        E::SandboxDown => exit(unseen(task, now), &task.checked),
        E::RemoveAsked(Force::Yes) => remove(Leaving::Task, &task.checked, None),
        E::RemoveAsked(Force::No) => return Err(ContainerRefused::StillRunning),
        E::ThawAsked | E::StartAsked | E::RootfsReady | E::Checked(_) | E::Started { .. } => return quiet(state),
        E::Thawed | E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..) => return quiet(state),
        E::Signalled | E::Answered | E::Interrupted | E::SandboxFailed(_) | E::Due => return quiet(state),
    })
}

fn frozen(state: &ContainerState, task: &Task, event: ContainerEvent, now: Timestamp) -> Stepped {
    Ok(match event {
        E::Ended(ended) => exit(ended, &task.checked),
        // A frozen process can't act on a signal.
        E::StopAsked { grace, signal } => {
            let deadline = now.plus(grace);
            (stop(task, deadline, Stopping::Thawing, signal), Some(Do::Thaw))
        }
        E::ThawAsked => (state.clone(), Some(Do::Thaw)),
        E::Thawed => (ContainerState::Running(task.clone()), None),
        E::Silent => (ContainerState::Lost(task.clone()), None),
        E::SandboxDown => exit(unseen(task, now), &task.checked),
        E::RemoveAsked(Force::Yes) => remove(Leaving::Task, &task.checked, None),
        E::RemoveAsked(Force::No) => return Err(ContainerRefused::StillRunning),
        E::StartAsked => return Err(ContainerRefused::Frozen),
        E::FreezeAsked | E::Frozen | E::RootfsReady | E::Checked(_) | E::Started { .. } => return quiet(state),
        E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..) => return quiet(state),
        E::Signalled | E::Answered | E::Interrupted | E::SandboxFailed(_) | E::Due => return quiet(state),
    })
}

fn stopping(
    state: &ContainerState,
    task: &Task,
    deadline: Timestamp,
    (how, signal): (Stopping, Option<u8>),
    event: ContainerEvent,
    now: Timestamp,
) -> Stepped {
    let kill = || (stop(task, now.plus(KILL_AGAIN), Stopping::Killed, None), Some(Do::Kill));
    Ok(match (how, event) {
        (_, E::Ended(ended)) => exit(ended, &task.checked),
        // Level-triggered: kill again until somebody reports the end.
        (_, E::Due) if now >= deadline => kill(),
        (Stopping::Thawing, E::Thawed) => (stop(task, deadline, Stopping::Asked, signal), Some(Do::AskToEnd)),
        // A signal that could not be sent is sent again, so that the grace is not spent for nothing.
        (Stopping::Thawing | Stopping::Asked, E::Failed(effect, _)) if effect == how.effect() => {
            let ask_again = Some(now.plus(ASK_AGAIN));
            (ContainerState::Stopping { task: task.clone(), deadline, how, ask_again, signal }, None)
        }
        (Stopping::Thawing | Stopping::Asked, E::Due) => (stop(task, deadline, how, signal), Some(how.effect())),
        // The daemon may have died before it sent what this stage sends.
        (how, E::Interrupted) => (state.clone(), Some(how.effect())),
        (Stopping::Thawing | Stopping::Asked, E::StopAsked { grace: Duration::ZERO, .. }) => kill(),
        // A later, shorter grace shortens the wait; a longer one does not lengthen it.
        (Stopping::Thawing | Stopping::Asked, E::StopAsked { grace, signal: None }) => {
            (state.by(now.plus(grace)), None)
        }
        // Who names a signal wants it sent, whatever was sent before.
        (Stopping::Thawing | Stopping::Asked, E::StopAsked { grace, signal }) => {
            (stop(task, deadline.min(now.plus(grace)), how, signal), Some(how.effect()))
        }
        // Who asks again hears what becomes of another try.
        (Stopping::Killed, E::StopAsked { .. }) => kill(),
        (_, E::SandboxDown) => exit(unseen(task, now), &task.checked),
        (_, E::RemoveAsked(Force::Yes)) => remove(Leaving::Task, &task.checked, None),
        (_, E::RemoveAsked(Force::No)) => return Err(ContainerRefused::StillRunning),
        (_, E::StartAsked | E::FreezeAsked | E::ThawAsked) => return Err(ContainerRefused::Stopping),
        // A stop goes on whether the shim answers or not: the deadline must not be forgotten.
        (_, E::Silent | E::Answered | E::SandboxFailed(_))
        | (_, E::RootfsReady | E::Checked(_) | E::Started { .. } | E::Frozen | E::Thawed | E::TaskDropped)
        | (_, E::RootfsDropped | E::Forgotten | E::Failed(..) | E::Signalled | E::Due) => return quiet(state),
    })
}

fn lost(state: &ContainerState, task: &Task, event: ContainerEvent, now: Timestamp) -> Stepped {
    Ok(match event {
        E::Ended(ended) => exit(ended, &task.checked),
        E::Answered => (ContainerState::Running(task.clone()), None),
        // It answers, and is found so.
        E::Frozen => (ContainerState::Frozen(task.clone()), None),
        E::StopAsked { grace, signal } => ask_to_end(task, grace, signal, now),
        E::SandboxDown => exit(unseen(task, now), &task.checked),
        E::RemoveAsked(_) => remove(Leaving::Task, &task.checked, None),
        E::StartAsked | E::FreezeAsked | E::ThawAsked => return Err(ContainerRefused::Lost),
        E::RootfsReady | E::Checked(_) | E::Started { .. } | E::Thawed => return quiet(state),
        E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..) => return quiet(state),
        E::Signalled | E::Silent | E::Interrupted | E::SandboxFailed(_) | E::Due => return quiet(state),
    })
}

fn exited(
    state: &ContainerState,
    ended: &Ended,
    checked: &Checked,
    task: Option<&Leave>,
    event: ContainerEvent,
    now: Timestamp,
) -> Stepped {
    let with = |task| exited_as(ended.clone(), checked, task);
    Ok(match (task, event) {
        (None, E::StartAsked) => (starting_since(now, checked), Some(Do::Start)),
        // First the shim lets go of the task that has ended.
        (Some(_), E::StartAsked) => (starting_since(now, checked), Some(Do::DropTask)),
        // How it ended before makes room for why it did not run again.
        (task, E::SandboxFailed(failure)) => (exited_as(not_run(failure.message, now), checked, task.cloned()), None),
        (_, E::RemoveAsked(_)) => remove(Leaving::Task, checked, Some(ended.clone())),
        (Some(_), E::TaskDropped) => (with(None), None),
        (Some(leave), E::Failed(Do::DropTask, _)) => (with(Some(leave.failed(now))), None),
        (Some(leave), E::Due) => (with(Some(Leave { retry_at: None, ..leave.clone() })), Some(Do::DropTask)),
        // The shim may still know the task: the daemon died before it let go of it.
        (_, E::Interrupted) => (with(Some(at(Leaving::Task))), Some(Do::DropTask)),
        (_, E::FreezeAsked | E::ThawAsked) => return Err(ContainerRefused::NotRunning),
        (_, E::StopAsked { .. } | E::Ended(_) | E::Started { .. } | E::RootfsReady | E::Checked(_) | E::Frozen)
        | (_, E::Thawed | E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..) | E::Silent)
        | (_, E::Answered | E::Due | E::Signalled | E::SandboxDown) => return quiet(state),
    })
}

fn removing(state: &ContainerState, removal: &Removal, event: ContainerEvent, now: Timestamp) -> Stepped {
    let with = |leave| ContainerState::Removing(Removal { leave, ..removal.clone() });
    let to = |stage: Leaving| (with(at(stage)), Some(stage.effect()));
    let leave = &removal.leave;
    Ok(match (leave.stage, event) {
        (Leaving::Task, E::TaskDropped) => to(Leaving::Rootfs),
        (Leaving::Rootfs, E::RootfsDropped) => to(Leaving::Record),
        (Leaving::Record, E::Forgotten) => (ContainerState::Gone { why: removal.why.clone() }, None),
        (stage, E::Failed(effect, _)) if effect == stage.effect() => (with(leave.failed(now)), None),
        (stage, E::RemoveAsked(_) | E::Interrupted | E::Due) => {
            (with(Leave { retry_at: None, ..leave.clone() }), Some(stage.effect()))
        }
        // The end of what the removal killed, or that nobody had seen: status shows it until all is gone.
        (_, E::Ended(ended)) if removal.last.is_none() => {
            (ContainerState::Removing(Removal { last: Some(ended), ..removal.clone() }), None)
        }
        (_, E::StartAsked | E::FreezeAsked | E::ThawAsked) => return Err(ContainerRefused::Leaving),
        (_, E::StopAsked { .. } | E::RootfsReady | E::Checked(_) | E::Started { .. } | E::Ended(_) | E::Frozen)
        | (_, E::Thawed | E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..))
        | (_, E::Signalled | E::Silent | E::Answered | E::SandboxDown | E::SandboxFailed(_)) => return quiet(state),
    })
}

fn exited_as(ended: Ended, checked: &Checked, task: Option<Leave>) -> ContainerState {
    ContainerState::Exited { ended, checked: checked.clone(), task }
}

fn starting_since(now: Timestamp, checked: &Checked) -> ContainerState {
    ContainerState::Starting { since: now, checked: checked.clone(), stop: None, signal: None }
}

fn ask_to_end(task: &Task, grace: Duration, signal: Option<u8>, now: Timestamp) -> ContainerStep {
    if grace.is_zero() {
        (stop(task, now.plus(KILL_AGAIN), Stopping::Killed, None), Some(Do::Kill))
    } else {
        (stop(task, now.plus(grace), Stopping::Asked, signal), Some(Do::AskToEnd))
    }
}

fn stop(task: &Task, deadline: Timestamp, how: Stopping, signal: Option<u8>) -> ContainerState {
    ContainerState::Stopping { task: task.clone(), deadline, how, ask_again: None, signal }
}

/// The end is recorded before the shim may forget it.
fn exit(ended: Ended, checked: &Checked) -> ContainerStep {
    (exited_as(ended, checked, Some(at(Leaving::Task))), Some(Do::DropTask))
}

fn never_started(message: String, checked: &Checked, now: Timestamp) -> ContainerStep {
    exit(not_run(message, now), checked)
}

fn not_run(message: String, now: Timestamp) -> Ended {
    Ended { started: None, finished: now, exit: Exit::NeverStarted { code: 128, message } }
}

fn unstarted(now: Timestamp) -> Ended {
    Ended { started: None, finished: now, exit: Exit::Unstarted }
}

fn unseen(task: &Task, now: Timestamp) -> Ended {
    Ended { started: Some(task.started), finished: now, exit: Exit::Unknown }
}

fn remove(stage: Leaving, checked: &Checked, last: Option<Ended>) -> ContainerStep {
    let removal = Removal { leave: at(stage), why: None, last, checked: Some(checked.clone()) };
    (ContainerState::Removing(removal), Some(stage.effect()))
}

/// The undo of a creation goes the way of a removal.
fn undo(why: Failure) -> ContainerStep {
    let removal = Removal { leave: at(Leaving::Rootfs), why: Some(why), last: None, checked: None };
    (ContainerState::Removing(removal), Some(Do::DropRootfs))
}

fn at(stage: Leaving) -> Leave {
    Leave { stage, failures: 0, retry_at: None }
}

impl Stopping {
    fn effect(self) -> ContainerEffect {
        match self {
            Self::Thawing => Do::Thaw,
            Self::Asked => Do::AskToEnd,
            Self::Killed => Do::Kill,
        }
    }
}

// === impl Leave ===

impl Leave {
    fn failed(&self, now: Timestamp) -> Self {
        let pause = retry_pause(self.failures);
        Self { stage: self.stage, failures: self.failures.saturating_add(1), retry_at: Some(now.plus(pause)) }
    }
}

impl Leaving {
    fn effect(self) -> ContainerEffect {
        match self {
            Self::Task => Do::DropTask,
            Self::Rootfs => Do::DropRootfs,
            Self::Record => Do::Forget,
        }
    }
}

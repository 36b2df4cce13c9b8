//! The life of a container, as a pure function.
//!
//! ```text
//! Creating → Created → Starting → Running ⇄ Frozen
//!                         ▲           │ ╲ stop → Stopping (deadline → kill)
//!                         │ start     ▼
//!                         └──────── Exited          → Removing → Gone
//! Lost: the shim is silent → Running or Exited when it answers
//! ```
//!
//! [`step`] says what comes next and the one effect owed; it does nothing itself. Every pair is in `docs/state-machine.md`.
//! When its sandbox goes down, each container first hears [`ContainerEvent::Ended`] with what its shim wrote down, then
//! [`ContainerEvent::SandboxDown`]: no process of it is left.

use crate::error::{ErrorKind, Failure};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::sandbox_state::retry_pause;

/// Pause between two kills of a process that does not die (uninterruptible sleep).
pub const KILL_AGAIN: Duration = Duration::from_secs(1);

/// Pause before a stop signal that could not be sent is tried again: often enough for the shortest graces in use.
pub const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Asked for; being prepared. Listed nowhere.
    Creating {
        /// When it was asked for.
        since: Timestamp,
        /// How far it is.
        stage: Preparing,
    },
    /// Prepared: a root file system and a record, no process.
    Created {
        /// What was found out about it.
        checked: Checked,
    },
    /// Its process is being started.
    Starting {
        /// When that was asked for.
        since: Timestamp,
        /// What was found out about it.
        checked: Checked,
        /// A stop that came meanwhile: its grace.
        stop: Option<Duration>,
    },
    /// Its process runs.
    Running(Task),
    /// Its processes are frozen.
    Frozen(Task),
    /// It was asked to end.
    Stopping {
        /// The process.
        task: Task,
        /// When it is killed, or killed again.
        deadline: Timestamp,
        /// Whether it was killed already.
        how: Stopping,
        /// When the stop signal is tried again, after it could not be sent.
        ask_again: Option<Timestamp>,
    },
    /// The shim is silent.
    Lost(Task),
    /// It has ended, or never started.
    Exited {
        /// How.
        ended: Ended,
        /// What was found out about it.
        checked: Checked,
        /// How far the shim is with letting go of the task; `None` when it has, or never had one.
        task: Option<Leave>,
    },
    /// Being taken away for good.
    Removing(Removal),
    /// Nothing is left; never recorded.
    Gone {
        /// Why, when nobody asked for it.
        why: Option<Failure>,
    },
}

/// How far the preparation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preparing {
    /// The writable layer.
    Rootfs,
    /// User, command, mounts, profiles: everything its facade wants checked.
    Check,
}

/// How a stop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stopping {
    /// Thaw first, then ask.
    Thawing,
    /// Asked by its stop signal.
    Asked,
    /// Killed.
    Killed,
}

/// What was found out about a container when it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// User id of the first process, as in the container.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Signal that asks it to end.
    pub stop_signal: u8,
}

/// A started process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Process id on the node.
    pub pid: u32,
    /// When its program was running.
    pub started: Timestamp,
    /// What was found out about it.
    pub checked: Checked,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When its program started; `None` when it never did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// How.
    pub exit: Exit,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It returned this.
    Code {
        /// Exit status, 0 to 255.
        code: u8,
        /// Whether the kernel killed a process of the container for memory.
        oom: bool,
    },
    /// A signal ended it.
    Signal {
        /// Signal number.
        signal: u8,
        /// Whether the kernel killed a process of the container for memory.
        oom: bool,
    },
    /// The program could not be started.
    NeverStarted {
        /// 127 not found, 126 not executable, 128 anything else.
        code: u8,
        /// What was wrong.
        message: String,
    },
    /// It was stopped before it was started.
    Unstarted,
    /// Nobody saw it end.
    Unknown,
}

/// A removal under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// How far it is.
    pub leave: Leave,
    /// Why, when nobody asked for it: the failed creation.
    pub why: Option<Failure>,
    /// How the container ended, once that is known; status shows it until the container is gone.
    pub last: Option<Ended>,
    /// What was found out about the container, unless its creation failed.
    pub checked: Option<Checked>,
}

/// How far the taking away is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// What is being taken away.
    pub stage: Leaving,
    /// How often this stage has failed.
    pub failures: u32,
    /// When to try again, after a failure.
    pub retry_at: Option<Timestamp>,
}

/// What is being taken away, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaving {
    /// Processes and cgroup.
    Task,
    /// The writable layer.
    Rootfs,
    /// The record itself.
    Record,
}

/// What happened to a container, or was asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerEvent {
    /// [`ContainerEffect::PrepareRootfs`] is done.
    RootfsReady,
    /// [`ContainerEffect::Check`] found nothing wrong.
    Checked(Checked),
    /// [`ContainerEffect::Start`] is done.
    Started {
        /// Process id on the node.
        pid: u32,
        /// When.
        at: Timestamp,
    },
    /// The process ended, or [`ContainerEffect::Start`] found that its program can't run.
    Ended(Ended),
    /// [`ContainerEffect::AskToEnd`] or [`ContainerEffect::Kill`] is done; the end of the process is news of its own.
    Signalled,
    /// [`ContainerEffect::Freeze`] is done.
    Frozen,
    /// [`ContainerEffect::Thaw`] is done.
    Thawed,
    /// [`ContainerEffect::DropTask`] is done.
    TaskDropped,
    /// [`ContainerEffect::DropRootfs`] is done.
    RootfsDropped,
    /// [`ContainerEffect::Forget`] is done.
    Forgotten,
    /// An effect failed.
    Failed(ContainerEffect, Failure),
    /// A caller wants it started.
    StartAsked,
    /// A caller wants it ended; it is killed when this grace is over.
    StopAsked {
        /// Time between the stop signal and the kill; zero kills at once.
        grace: Duration,
    },
    /// A caller wants it frozen.
    FreezeAsked,
    /// A caller wants it thawed.
    ThawAsked,
    /// A caller wants it gone.
    RemoveAsked(Force),
    /// The shim does not answer.
    Silent,
    /// The shim answers again, and the process lives.
    Answered,
    /// The daemon died while an effect was under way, and the process was never there.
    Interrupted,
    /// The sandbox was taken down: no process of it is left, and what was being prepared will never start.
    SandboxDown,
    /// The time [`ContainerState::due`] gave has come.
    Due,
}

/// Whether removal kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// A running container is killed.
    Yes,
    /// A running container is refused.
    No,
}

/// What the driver must do after recording the new state. Each may safely run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ContainerEffect {
    /// Make the writable layer.
    PrepareRootfs,
    /// Check all that can be checked before a process exists.
    Check,
    /// Start the process.
    Start,
    /// Send the stop signal to the first process.
    AskToEnd,
    /// Kill every process of the container.
    Kill,
    /// Freeze every process of the container.
    Freeze,
    /// Thaw them.
    Thaw,
    /// Kill what is left, let the shim forget the task, drop its cgroup.
    DropTask,
    /// Delete the writable layer.
    DropRootfs,
    /// Delete the record.
    Forget,
}

/// Why an event does not fit a state. Facades turn it into `WrongState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerRefused {
    /// Anything but removal while it is being prepared.
    #[error("the container is still being created")]
    StillCreating,
    /// Removal without force.
    #[error("the container is running; stop it first")]
    StillRunning,
    /// Start or freeze while it ends.
    #[error("the container is being stopped")]
    Stopping,
    /// Freeze or thaw of what does not run.
    #[error("the container is not running")]
    NotRunning,
    /// Start of a frozen container.
    #[error("the container is paused; unpause it first")]
    Frozen,
    /// The shim is silent.
    #[error("the container's shim does not answer")]
    Lost,
    /// Anything while it leaves for good.
    #[error("the container is being removed")]
    Leaving,
}

/// What follows: the next state, and the effect owed. `None` leaves what is owed as it is; `Some` takes its place.
pub type ContainerStep = (ContainerState, Option<ContainerEffect>);

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
        S::Starting { since, checked, stop } => starting(state, *since, checked, *stop, event, now),
        S::Running(task) => running(state, task, event, now),
        S::Frozen(task) => frozen(state, task, event, now),
        S::Stopping { task, deadline, how, .. } => stopping(state, task, *deadline, *how, event, now),
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
        | (_, E::Signalled | E::Due) => return quiet(state),
    })
}

fn created(state: &ContainerState, checked: &Checked, event: ContainerEvent, now: Timestamp) -> Stepped {
    Ok(match event {
        E::StartAsked => (starting_since(now, checked), Some(Do::Start)),
        E::StopAsked { .. } | E::SandboxDown => (exited_as(unstarted(now), checked, None), None),
        E::RemoveAsked(_) => remove(Leaving::Rootfs, checked, Some(unstarted(now))),
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
    stop: Option<Duration>,
    event: ContainerEvent,
    now: Timestamp,
) -> Stepped {
    Ok(match event {
        E::Started { pid, at } => {
            let task = Task { pid, started: at, checked: checked.clone() };
            match stop {
                None => (ContainerState::Running(task), None),
                Some(grace) => ask_to_end(&task, grace, now),
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
        E::Interrupted => never_started("the daemon stopped before the program was started".to_owned(), checked, now),
        E::StopAsked { grace } => {
            let stop = Some(stop.map_or(grace, |earlier| earlier.min(grace)));
            (ContainerState::Starting { since, checked: checked.clone(), stop }, None)
        }
        E::RemoveAsked(Force::Yes) => remove(Leaving::Task, checked, None),
        E::RemoveAsked(Force::No) => return Err(ContainerRefused::StillRunning),
        E::FreezeAsked | E::ThawAsked => return Err(ContainerRefused::NotRunning),
        E::StartAsked | E::RootfsReady | E::Checked(_) | E::Frozen | E::Thawed | E::Signalled => return quiet(state),
        E::RootfsDropped | E::Forgotten | E::Failed(..) | E::Silent | E::Answered | E::Due => return quiet(state),
    })
}

fn running(state: &ContainerState, task: &Task, event: ContainerEvent, now: Timestamp) -> Stepped {
    Ok(match event {
        E::Ended(ended) => exit(ended, &task.checked),
        E::StopAsked { grace } => ask_to_end(task, grace, now),
        E::FreezeAsked => (state.clone(), Some(Do::Freeze)),
        E::Frozen => (ContainerState::Frozen(task.clone()), None),
        E::Silent => (ContainerState::Lost(task.clone()), None),
        E::SandboxDown => exit(unseen(task, now), &task.checked),
        E::RemoveAsked(Force::Yes) => remove(Leaving::Task, &task.checked, None),
        E::RemoveAsked(Force::No) => return Err(ContainerRefused::StillRunning),
        E::ThawAsked | E::StartAsked | E::RootfsReady | E::Checked(_) | E::Started { .. } => return quiet(state),
        E::Thawed | E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..) => return quiet(state),
        E::Signalled | E::Answered | E::Interrupted | E::Due => return quiet(state),
    })
}

fn frozen(state: &ContainerState, task: &Task, event: ContainerEvent, now: Timestamp) -> Stepped {
    Ok(match event {
        E::Ended(ended) => exit(ended, &task.checked),
        // A frozen process can't act on a signal.
        E::StopAsked { grace } => {
            let deadline = now.plus(grace);
            (stop(task, deadline, Stopping::Thawing), Some(Do::Thaw))
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
        E::Signalled | E::Answered | E::Interrupted | E::Due => return quiet(state),
    })
}

fn stopping(
    state: &ContainerState,
    task: &Task,
    deadline: Timestamp,
    how: Stopping,
    event: ContainerEvent,
    now: Timestamp,
) -> Stepped {
    let kill = || (stop(task, now.plus(KILL_AGAIN), Stopping::Killed), Some(Do::Kill));
    Ok(match (how, event) {
        (_, E::Ended(ended)) => exit(ended, &task.checked),
        // Level-triggered: kill again until somebody reports the end.
        (_, E::Due) if now >= deadline => kill(),
        (Stopping::Thawing, E::Thawed) => (stop(task, deadline, Stopping::Asked), Some(Do::AskToEnd)),
        // A signal that could not be sent is sent again, so that the grace is not spent for nothing.
        (Stopping::Thawing | Stopping::Asked, E::Failed(effect, _)) if effect == how.effect() => {
            let ask_again = Some(now.plus(ASK_AGAIN));
            (ContainerState::Stopping { task: task.clone(), deadline, how, ask_again }, None)
        }
        (Stopping::Thawing | Stopping::Asked, E::Due) => (stop(task, deadline, how), Some(how.effect())),
        // The daemon may have died before it sent what this stage sends.
        (how, E::Interrupted) => (state.clone(), Some(how.effect())),
        // A later, shorter grace shortens the wait; a longer one does not lengthen it.
        (Stopping::Thawing | Stopping::Asked, E::StopAsked { grace }) => {
            if grace.is_zero() {
                kill()
            } else {
                (state.by(now.plus(grace)), None)
            }
        }
        // Who asks again hears what becomes of another try.
        (Stopping::Killed, E::StopAsked { .. }) => kill(),
        (_, E::SandboxDown) => exit(unseen(task, now), &task.checked),
        (_, E::RemoveAsked(Force::Yes)) => remove(Leaving::Task, &task.checked, None),
        (_, E::RemoveAsked(Force::No)) => return Err(ContainerRefused::StillRunning),
        (_, E::StartAsked | E::FreezeAsked | E::ThawAsked) => return Err(ContainerRefused::Stopping),
        // A stop goes on whether the shim answers or not: the deadline must not be forgotten.
        (_, E::Silent | E::Answered)
        | (_, E::RootfsReady | E::Checked(_) | E::Started { .. } | E::Frozen | E::Thawed | E::TaskDropped)
        | (_, E::RootfsDropped | E::Forgotten | E::Failed(..) | E::Signalled | E::Due) => return quiet(state),
    })
}

fn lost(state: &ContainerState, task: &Task, event: ContainerEvent, now: Timestamp) -> Stepped {
    Ok(match event {
        E::Ended(ended) => exit(ended, &task.checked),
        E::Answered => (ContainerState::Running(task.clone()), None),
        E::StopAsked { grace } => ask_to_end(task, grace, now),
        E::SandboxDown => exit(unseen(task, now), &task.checked),
        E::RemoveAsked(_) => remove(Leaving::Task, &task.checked, None),
        E::StartAsked | E::FreezeAsked | E::ThawAsked => return Err(ContainerRefused::Lost),
        E::RootfsReady | E::Checked(_) | E::Started { .. } | E::Frozen | E::Thawed => return quiet(state),
        E::TaskDropped | E::RootfsDropped | E::Forgotten | E::Failed(..) => return quiet(state),
        E::Signalled | E::Silent | E::Interrupted | E::Due => return quiet(state),
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
        | (_, E::Signalled | E::Silent | E::Answered | E::SandboxDown) => return quiet(state),
    })
}

fn exited_as(ended: Ended, checked: &Checked, task: Option<Leave>) -> ContainerState {
    ContainerState::Exited { ended, checked: checked.clone(), task }
}

fn starting_since(now: Timestamp, checked: &Checked) -> ContainerState {
    ContainerState::Starting { since: now, checked: checked.clone(), stop: None }
}

fn ask_to_end(task: &Task, grace: Duration, now: Timestamp) -> ContainerStep {
    if grace.is_zero() {
        (stop(task, now.plus(KILL_AGAIN), Stopping::Killed), Some(Do::Kill))
    } else {
        (stop(task, now.plus(grace), Stopping::Asked), Some(Do::AskToEnd))
    }
}

fn stop(task: &Task, deadline: Timestamp, how: Stopping) -> ContainerState {
    ContainerState::Stopping { task: task.clone(), deadline, how, ask_again: None }
}

/// The end is recorded before the shim may forget it.
fn exit(ended: Ended, checked: &Checked) -> ContainerStep {
    (exited_as(ended, checked, Some(at(Leaving::Task))), Some(Do::DropTask))
}

fn never_started(message: String, checked: &Checked, now: Timestamp) -> ContainerStep {
    let exit_as = Exit::NeverStarted { code: 128, message };
    exit(Ended { started: None, finished: now, exit: exit_as }, checked)
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

// === impl ContainerState ===

impl ContainerState {
    /// Returns this stop with a deadline no later than `latest`; any other state as it is.
    fn by(&self, latest: Timestamp) -> Self {
        let mut next = self.clone();
        if let Self::Stopping { deadline, .. } = &mut next {
            *deadline = latest.min(*deadline);
        }
        next
    }

    /// Returns when [`ContainerEvent::Due`] is wanted; the driver keeps one timer for it.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Stopping { deadline, ask_again, .. } => Some(ask_again.map_or(*deadline, |at| at.min(*deadline))),
            Self::Exited { task, .. } => task.as_ref().and_then(|leave| leave.retry_at),
            Self::Removing(removal) => removal.leave.retry_at,
            Self::Creating { .. } | Self::Created { .. } | Self::Starting { .. } | Self::Running(_) => None,
            Self::Frozen(_) | Self::Lost(_) | Self::Gone { .. } => None,
        }
    }

    /// Returns the process, when there is one.
    #[must_use]
    pub fn task(&self) -> Option<&Task> {
        match self {
            Self::Running(task) | Self::Frozen(task) | Self::Stopping { task, .. } | Self::Lost(task) => Some(task),
            Self::Creating { .. } | Self::Created { .. } | Self::Starting { .. } => None,
            Self::Exited { .. } | Self::Removing { .. } | Self::Gone { .. } => None,
        }
    }

    /// Returns what was found out at creation, where it is still known.
    #[must_use]
    pub fn checked(&self) -> Option<&Checked> {
        match self {
            Self::Created { checked } | Self::Starting { checked, .. } | Self::Exited { checked, .. } => Some(checked),
            Self::Running(task) | Self::Frozen(task) | Self::Stopping { task, .. } | Self::Lost(task) => {
                Some(&task.checked)
            }
            Self::Removing(removal) => removal.checked.as_ref(),
            Self::Creating { .. } | Self::Gone { .. } => None,
        }
    }

    /// Returns how it ended, where that is known.
    #[must_use]
    pub fn end(&self) -> Option<&Ended> {
        match self {
            Self::Exited { ended, .. } => Some(ended),
            Self::Removing(removal) => removal.last.as_ref(),
            Self::Creating { .. } | Self::Created { .. } | Self::Starting { .. } | Self::Running(_) => None,
            Self::Frozen(_) | Self::Stopping { .. } | Self::Lost(_) | Self::Gone { .. } => None,
        }
    }

    /// Returns the name of what is going on, for errors and metrics.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Creating { stage: Preparing::Rootfs, .. } => "prepare rootfs",
            Self::Creating { stage: Preparing::Check, .. } => "check",
            Self::Created { .. } => "created",
            Self::Starting { .. } => "start",
            Self::Running(_) => "running",
            Self::Frozen(_) => "frozen",
            Self::Stopping { how: Stopping::Thawing, .. } => "thaw to stop",
            Self::Stopping { how: Stopping::Asked, .. } => "wait for the stop signal to work",
            Self::Stopping { how: Stopping::Killed, .. } => "wait for the kill to work",
            Self::Lost(_) => "lost",
            Self::Exited { .. } => "exited",
            Self::Removing(removal) => match removal.leave.stage {
                Leaving::Task => "drop task",
                Leaving::Rootfs => "drop rootfs",
                Leaving::Record => "forget",
            },
            Self::Gone { .. } => "gone",
        }
    }
}

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

mod step;

pub use step::{begin, step};

use crate::error::Failure;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
        /// The signal of that stop, where it is not the container's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<u8>,
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
        /// The signal it is asked by, where it is not its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<u8>,
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
        /// The signal that asks it to end; its own when there is none.
        signal: Option<u8>,
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
    /// Its sandbox could not be started for it, for this reason.
    SandboxFailed(Failure),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

// === impl ContainerState ===

impl ContainerState {
    /// Returns the signal that asks it to end, where one is known.
    #[must_use]
    pub fn stop_signal(&self) -> Option<u8> {
        let named = if let Self::Stopping { signal, .. } = self { *signal } else { None };
        named.or_else(|| self.checked().map(|checked| checked.stop_signal))
    }

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

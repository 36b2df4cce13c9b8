//! The life of a sandbox, as a pure function.
//!
//! ```text
//! Creating ─► Ready ─ stop ─► Stopping ─► NotReady ─ start ─► Starting ─► Ready
//!    │ failure, stop            │ shim died: likewise             │ failure: Stopping
//!    ▼                          ▼
//! Removing ◄── remove ── Ready, NotReady      Removing ─► Gone
//! of a container alone: Creating (a record, while its container is created) ─► NotReady
//! ```
//!
//! [`step`] says what comes next and the one effect owed; it does nothing itself. Every pair is in `docs/state-machine.md`. A
//! state knows how far it is, so that each outcome asks for the next effect, and undo is what `step` answers to a failure: the
//! same effects that removal and recovery use. Every effect may run twice. What a sandbox of one container hears of it is
//! said by [`crate::alone`].

use crate::error::{ErrorKind, Failure};
use crate::sandbox::PortMapping;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// Pause before a failed teardown effect is tried again; doubles up to [`RETRY_PAUSE_MAX`].
pub const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two tries of a teardown effect.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Returns the pause before something that has failed `failures` times before is tried again.
#[must_use]
pub fn retry_pause(failures: u32) -> Duration {
    // More doublings than it takes to reach the longest pause.
    RETRY_PAUSE.saturating_mul(1 << failures.min(16)).min(RETRY_PAUSE_MAX)
}

/// Where a sandbox is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxState {
    /// Asked for; being built for the first time.
    Creating {
        /// When it was asked for.
        since: Timestamp,
        /// How far it is.
        stage: Raising,
    },
    /// Namespaces, shim and network are there.
    Ready {
        /// Since when.
        since: Timestamp,
        /// Its networks, the default one first; none for the node's network.
        attachments: Vec<Attachment>,
    },
    /// Being taken down, to be kept as a record.
    Stopping {
        /// How far it is.
        leave: Leave,
        /// Why, when nobody asked for it.
        why: Option<Failure>,
    },
    /// A record without shim and network.
    NotReady {
        /// Since when.
        since: Timestamp,
        /// Why, when nobody asked for it.
        why: Option<Failure>,
    },
    /// Being built again.
    Starting {
        /// When it was asked for.
        since: Timestamp,
        /// How far it is.
        stage: Raising,
    },
    /// Being taken down for good.
    Removing {
        /// How far it is.
        leave: Leave,
        /// Why, when nobody asked for it: the failed creation.
        why: Option<Failure>,
    },
    /// Nothing is left; never recorded.
    Gone {
        /// Why, when nobody asked for it.
        why: Option<Failure>,
    },
}

/// How far the building is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Raising {
    /// Shim, cgroup and namespaces.
    Shim,
    /// Network attachments.
    Network,
    /// Neither: its one container is being created, and the sandbox stays a record until that is started.
    Container,
}

/// How far the taking down is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// What is being taken down.
    pub stage: Leaving,
    /// How often this stage has failed.
    pub failures: u32,
    /// When to try again, after a failure.
    pub retry_at: Option<Timestamp>,
}

/// What is being taken down, in this order: an address is given back only when nobody can use it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaving {
    /// Processes, shim, namespaces, cgroup.
    Shim,
    /// Network attachments.
    Network,
    /// The containers' records and root file systems.
    Containers,
    /// The record itself.
    Record,
}

/// One network of a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Name of the network.
    pub network: String,
    /// Interface inside.
    pub interface: String,
    /// Addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// Length of the prefix of each address, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<u8>,
    /// Address of the node on this network, to which the default route leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Hardware address of the interface, `0a:58:0a:58:00:02`; empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Ports of the node that lead to it, with those that were chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
}

/// What happened to a sandbox, or was asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxEvent {
    /// [`SandboxEffect::RaiseShim`] is done.
    ShimRaised,
    /// [`SandboxEffect::Attach`] is done.
    Attached(Vec<Attachment>),
    /// [`SandboxEffect::DropShim`] is done.
    ShimDropped,
    /// [`SandboxEffect::Detach`] is done.
    Detached,
    /// [`SandboxEffect::DropContainers`] is done: no container of it is left.
    ContainersGone,
    /// [`SandboxEffect::Forget`] is done.
    Forgotten,
    /// An effect failed.
    Failed(SandboxEffect, Failure),
    /// A caller wants it stopped.
    StopAsked,
    /// A caller wants it running again.
    StartAsked,
    /// A caller wants it gone, with its containers.
    RemoveAsked,
    /// Its one container is created.
    ContainerCreated,
    /// Its one container has ended, or its start has come to nothing.
    ContainerEnded,
    /// Its one container is gone for good; with the reason, when its creation failed.
    ContainerGone(Option<Failure>),
    /// The shim died by itself.
    ShimGone,
    /// The daemon died while an effect was under way: whatever it was doing may be half done.
    Interrupted,
    /// The time [`SandboxState::due`] gave has come.
    Due,
}

/// What the driver must do after recording the new state. Each may safely run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SandboxEffect {
    /// Start the shim; it makes cgroup and namespaces.
    RaiseShim,
    /// Attach every network.
    Attach,
    /// Kill every process, end the shim, drop namespaces and cgroup.
    DropShim,
    /// Detach every network, give addresses back.
    Detach,
    /// Remove every container of it.
    DropContainers,
    /// Delete the record.
    Forget,
}

/// Why an event does not fit a state. Facades turn it into `WrongState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SandboxRefused {
    /// A start while it is being built.
    #[error("the sandbox is still being created")]
    StillCreating,
    /// A start while it is being taken down.
    #[error("the sandbox is being stopped")]
    Stopping,
    /// Anything while it leaves for good.
    #[error("the sandbox is being removed")]
    Leaving,
}

/// What follows: the next state, and the effect owed. `None` leaves what is owed as it is; `Some` takes its place.
pub type SandboxStep = (SandboxState, Option<SandboxEffect>);

/// Returns the first state of a sandbox that is to run, and its first effect.
#[must_use]
pub fn begin(now: Timestamp) -> SandboxStep {
    (SandboxState::Creating { since: now, stage: Raising::Shim }, Some(SandboxEffect::RaiseShim))
}

/// Returns the first state of a sandbox that is a record until its one container is started. It owes no effect.
#[must_use]
pub fn begin_alone(now: Timestamp) -> SandboxState {
    SandboxState::Creating { since: now, stage: Raising::Container }
}

/// Returns the state that follows, and the effect owed.
pub fn step(state: &SandboxState, event: SandboxEvent, now: Timestamp) -> Result<SandboxStep, SandboxRefused> {
    use SandboxState as S;
    match state {
        S::Creating { since, stage } => raising(state, *since, *stage, event, now, Built::First),
        S::Starting { since, stage } => raising(state, *since, *stage, event, now, Built::Again),
        S::Ready { .. } => Ok(ready(state, event)),
        S::NotReady { .. } => Ok(not_ready(state, event, now)),
        S::Stopping { leave, why } => stopping(state, leave, why.as_ref(), event, now),
        S::Removing { leave, why } => removing(state, leave, why.as_ref(), event, now),
        S::Gone { .. } => Ok((state.clone(), None)),
    }
}

// === impl step ===

#[derive(Clone, Copy, PartialEq, Eq)]
enum Built {
    First,
    Again,
}

fn raising(
    state: &SandboxState,
    since: Timestamp,
    stage: Raising,
    event: SandboxEvent,
    now: Timestamp,
    built: Built,
) -> Result<SandboxStep, SandboxRefused> {
    use {SandboxEffect as Do, SandboxEvent as E};
    let at = |stage| match built {
        Built::First => SandboxState::Creating { since, stage },
        Built::Again => SandboxState::Starting { since, stage },
    };
    // A first build that fails leaves nothing; a later one leaves the record as it was.
    let undo = |why: Failure| match built {
        Built::First => remove(Some(why)),
        Built::Again => stop(Some(why)),
    };
    Ok(match (stage, event) {
        (Raising::Shim, E::ShimRaised) => (at(Raising::Network), Some(Do::Attach)),
        (Raising::Network, E::Attached(attachments)) => (SandboxState::Ready { since: now, attachments }, None),
        (Raising::Container, E::ContainerCreated) => (SandboxState::NotReady { since: now, why: None }, None),
        // There was never a shim.
        (Raising::Container, E::ContainerGone(why)) => remove_from(Leaving::Containers, why),
        (Raising::Shim | Raising::Network, E::ContainerGone(why)) => remove(why),
        (_, E::Failed(Do::RaiseShim | Do::Attach, failure)) => undo(failure),
        (_, E::StopAsked) => {
            undo(Failure::new(ErrorKind::Cancelled, "the sandbox was stopped while it was being built"))
        }
        (_, E::RemoveAsked) => {
            remove(Some(Failure::new(ErrorKind::Cancelled, "the sandbox was removed while it was being built")))
        }
        (_, E::ShimGone) => undo(Failure::new(ErrorKind::Internal, "the shim died while the sandbox was being built")),
        (_, E::Interrupted) => {
            undo(Failure::new(ErrorKind::Unavailable, "the daemon stopped while the sandbox was being built"))
        }
        (_, E::StartAsked) => return Err(SandboxRefused::StillCreating),
        // Outcomes of effects that this state no longer owes.
        (_, E::ShimRaised | E::Attached(_) | E::ShimDropped | E::Detached | E::ContainersGone)
        | (_, E::ContainerCreated | E::ContainerEnded | E::Forgotten | E::Failed(..) | E::Due) => (state.clone(), None),
    })
}

fn ready(state: &SandboxState, event: SandboxEvent) -> SandboxStep {
    use SandboxEvent as E;
    match event {
        // A dead shim is undone as a stop: its processes are killed by their cgroup, its address is given back.
        E::ShimGone => stop(Some(Failure::new(ErrorKind::Internal, "the shim died"))),
        E::StopAsked | E::ContainerEnded => stop(None),
        E::RemoveAsked => remove(None),
        E::ContainerGone(why) => remove(why),
        E::StartAsked | E::Interrupted | E::Due | E::ContainerCreated => (state.clone(), None),
        E::ShimRaised | E::Attached(_) | E::ShimDropped | E::Detached => (state.clone(), None),
        E::ContainersGone | E::Forgotten | E::Failed(..) => (state.clone(), None),
    }
}

fn not_ready(state: &SandboxState, event: SandboxEvent, now: Timestamp) -> SandboxStep {
    use {SandboxEffect as Do, SandboxEvent as E};
    match event {
        E::StartAsked => (SandboxState::Starting { since: now, stage: Raising::Shim }, Some(Do::RaiseShim)),
        // Shim and network are down already.
        E::RemoveAsked => remove_from(Leaving::Containers, None),
        E::ContainerGone(why) => remove_from(Leaving::Containers, why),
        E::StopAsked | E::ShimGone | E::Interrupted | E::Due => (state.clone(), None),
        E::ContainerCreated | E::ContainerEnded => (state.clone(), None),
        E::ShimRaised | E::Attached(_) | E::ShimDropped | E::Detached => (state.clone(), None),
        E::ContainersGone | E::Forgotten | E::Failed(..) => (state.clone(), None),
    }
}

fn stopping(
    state: &SandboxState,
    leave: &Leave,
    why: Option<&Failure>,
    event: SandboxEvent,
    now: Timestamp,
) -> Result<SandboxStep, SandboxRefused> {
    use {SandboxEffect as Do, SandboxEvent as E};
    let with = |leave| SandboxState::Stopping { leave, why: why.cloned() };
    Ok(match (leave.stage, event) {
        (Leaving::Shim, E::ShimDropped) => (with(at(Leaving::Network)), Some(Do::Detach)),
        (Leaving::Network, E::Detached) => (SandboxState::NotReady { since: now, why: why.cloned() }, None),
        (stage, E::Failed(effect, _)) if effect == stage.effect() => (with(leave.failed(now)), None),
        (stage, E::StopAsked | E::Interrupted | E::Due) => (with(leave.again()), Some(stage.effect())),
        (stage, E::RemoveAsked) => (SandboxState::Removing { leave: leave.again(), why: None }, Some(stage.effect())),
        (stage, E::ContainerGone(why)) => (SandboxState::Removing { leave: leave.again(), why }, Some(stage.effect())),
        (_, E::StartAsked) => return Err(SandboxRefused::Stopping),
        (_, E::ShimRaised | E::Attached(_) | E::ShimDropped | E::Detached | E::ShimGone)
        | (_, E::ContainerCreated | E::ContainerEnded)
        | (_, E::ContainersGone | E::Forgotten | E::Failed(..)) => (state.clone(), None),
    })
}

fn removing(
    state: &SandboxState,
    leave: &Leave,
    why: Option<&Failure>,
    event: SandboxEvent,
    now: Timestamp,
) -> Result<SandboxStep, SandboxRefused> {
    use SandboxEvent as E;
    let with = |leave| SandboxState::Removing { leave, why: why.cloned() };
    let to = |stage: Leaving| (with(at(stage)), Some(stage.effect()));
    Ok(match (leave.stage, event) {
        (Leaving::Shim, E::ShimDropped) => to(Leaving::Network),
        (Leaving::Network, E::Detached) => to(Leaving::Containers),
        (Leaving::Containers, E::ContainersGone) => to(Leaving::Record),
        (Leaving::Record, E::Forgotten) => (SandboxState::Gone { why: why.cloned() }, None),
        (stage, E::Failed(effect, _)) if effect == stage.effect() => (with(leave.failed(now)), None),
        (stage, E::RemoveAsked | E::Interrupted | E::Due) => (with(leave.again()), Some(stage.effect())),
        (_, E::StartAsked) => return Err(SandboxRefused::Leaving),
        (_, E::StopAsked | E::ShimGone | E::ShimRaised | E::Attached(_) | E::ShimDropped)
        | (_, E::ContainerCreated | E::ContainerEnded | E::ContainerGone(_))
        | (_, E::Detached | E::ContainersGone | E::Forgotten | E::Failed(..)) => (state.clone(), None),
    })
}

fn at(stage: Leaving) -> Leave {
    Leave { stage, failures: 0, retry_at: None }
}

fn stop(why: Option<Failure>) -> SandboxStep {
    (SandboxState::Stopping { leave: at(Leaving::Shim), why }, Some(SandboxEffect::DropShim))
}

/// The undo of everything: a failed creation, a removal and recovery all end here.
fn remove(why: Option<Failure>) -> SandboxStep {
    remove_from(Leaving::Shim, why)
}

fn remove_from(stage: Leaving, why: Option<Failure>) -> SandboxStep {
    (SandboxState::Removing { leave: at(stage), why }, Some(stage.effect()))
}

// === impl Leave ===

impl Leave {
    fn failed(&self, now: Timestamp) -> Self {
        let pause = retry_pause(self.failures);
        Self { stage: self.stage, failures: self.failures.saturating_add(1), retry_at: Some(now.plus(pause)) }
    }

    fn again(&self) -> Self {
        Self { stage: self.stage, failures: self.failures, retry_at: None }
    }
}

impl Leaving {
    fn effect(self) -> SandboxEffect {
        match self {
            Self::Shim => SandboxEffect::DropShim,
            Self::Network => SandboxEffect::Detach,
            Self::Containers => SandboxEffect::DropContainers,
            Self::Record => SandboxEffect::Forget,
        }
    }
}

// === impl SandboxState ===

impl SandboxState {
    /// Returns when [`SandboxEvent::Due`] is wanted; the driver keeps one timer for it.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Stopping { leave, .. } | Self::Removing { leave, .. } => leave.retry_at,
            Self::Creating { .. } | Self::Ready { .. } | Self::NotReady { .. } => None,
            Self::Starting { .. } | Self::Gone { .. } => None,
        }
    }

    /// Returns the name of what is going on, for errors and metrics.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Creating { stage, .. } | Self::Starting { stage, .. } => match stage {
                Raising::Shim => "raise shim",
                Raising::Network => "attach network",
                Raising::Container => "create its container",
            },
            Self::Stopping { leave, .. } | Self::Removing { leave, .. } => match leave.stage {
                Leaving::Shim => "drop shim",
                Leaving::Network => "detach network",
                Leaving::Containers => "drop containers",
                Leaving::Record => "forget",
            },
            Self::Ready { .. } => "ready",
            Self::NotReady { .. } => "not ready",
            Self::Gone { .. } => "gone",
        }
    }
}

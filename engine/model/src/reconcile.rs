//! Compares records with the world after a restart, and says what to do about each difference.
//!
//! Pure. What it returns is fed to `step`, or performed as the effects that removal uses; recovery has no actions of its own.
//! Law: once everything it returned is done, it returns nothing.

use crate::container_state::{ContainerEvent, ContainerState, Ended, Exit};
use crate::id::{ContainerId, SandboxId};
use crate::ports::{Observed, ObservedTask};
use crate::record::Loaded;
use crate::sandbox_state::{SandboxEvent, SandboxState};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What is there, whatever the records say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// What is left of each sandbox that has a record.
    pub observed: BTreeMap<SandboxId, Observed>,
    /// Sandboxes of which shim, cgroup or files are left.
    pub raised: BTreeSet<SandboxId>,
    /// Sandboxes that hold an address.
    pub addressed: BTreeSet<SandboxId>,
    /// Containers that have a writable layer.
    pub rootfs: BTreeSet<ContainerId>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Feed a sandbox.
    Sandbox(SandboxId, SandboxEvent),
    /// Feed a container.
    Container(ContainerId, ContainerEvent),
    /// Drop shim, cgroup and files of a sandbox without record.
    SweepShim(SandboxId),
    /// Give back the address of a sandbox without record.
    SweepAddress(SandboxId),
    /// Delete the writable layer of a container without record.
    SweepRootfs(ContainerId),
}

/// Returns what to do, containers' ends first: a sandbox that is dropped must not forget how its containers ended.
#[must_use]
pub fn reconcile(loaded: &Loaded, world: &World, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    for (asked, state) in &loaded.containers {
        let observed = world.observed.get(&asked.spec.sandbox);
        let event = state.as_ref().and_then(|state| container(state, &asked.id, observed, now));
        actions.extend(event.map(|event| Action::Container(asked.id.clone(), event)));
    }
    for (asked, state) in &loaded.sandboxes {
        let event = state.as_ref().and_then(|state| sandbox(state, world.observed.get(&asked.id)));
        actions.extend(event.map(|event| Action::Sandbox(asked.id.clone(), event)));
    }
    actions.extend(sweeps(loaded, world));
    actions
}

// === impl reconcile ===

fn sandbox(state: &SandboxState, observed: Option<&Observed>) -> Option<SandboxEvent> {
    match state {
        SandboxState::Creating { .. } | SandboxState::Starting { .. } => Some(SandboxEvent::Interrupted),
        SandboxState::Stopping { .. } | SandboxState::Removing { .. } => Some(SandboxEvent::Interrupted),
        SandboxState::Ready { .. } => match observed {
            Some(Observed::Shim { .. }) => None,
            Some(Observed::NoShim { .. }) | None => Some(SandboxEvent::ShimGone),
        },
        SandboxState::NotReady { .. } | SandboxState::Gone { .. } => None,
    }
}

fn container(
    state: &ContainerState,
    id: &ContainerId,
    observed: Option<&Observed>,
    now: Timestamp,
) -> Option<ContainerEvent> {
    let found = observed.map_or(Found::Nothing, |observed| find(observed, id));
    match state {
        ContainerState::Creating { .. } | ContainerState::Removing { .. } => Some(ContainerEvent::Interrupted),
        ContainerState::Starting { .. } => Some(match found {
            Found::Running { pid, started } => ContainerEvent::Started { pid, at: started },
            Found::Ended(ended) => ContainerEvent::Ended(ended),
            Found::Nothing => ContainerEvent::Interrupted,
        }),
        ContainerState::Running(task) | ContainerState::Frozen(task) => gone(found, task.started, now),
        ContainerState::Stopping { task, .. } => {
            Some(gone(found, task.started, now).unwrap_or(ContainerEvent::Interrupted))
        }
        ContainerState::Lost(task) => Some(gone(found, task.started, now).unwrap_or(ContainerEvent::Answered)),
        // The shim still knows a task whose end is recorded: it may forget it now.
        ContainerState::Exited(..) => match found {
            Found::Running { .. } | Found::Ended(_) => Some(ContainerEvent::Interrupted),
            Found::Nothing => None,
        },
        ContainerState::Created { .. } | ContainerState::Gone { .. } => None,
    }
}

enum Found {
    Running { pid: u32, started: Timestamp },
    Ended(Ended),
    Nothing,
}

fn find(observed: &Observed, id: &ContainerId) -> Found {
    match observed {
        Observed::Shim { tasks } => match tasks.iter().find(|(task, _)| task == id) {
            Some((_, ObservedTask::Running { pid, started })) => Found::Running { pid: *pid, started: *started },
            Some((_, ObservedTask::Ended(ended))) => Found::Ended(ended.clone()),
            None => Found::Nothing,
        },
        Observed::NoShim { ended } => match ended.iter().find(|(task, _)| task == id) {
            Some((_, ended)) => Found::Ended(ended.clone()),
            None => Found::Nothing,
        },
    }
}

/// Returns the end of a task that should be running, when it is not.
fn gone(found: Found, started: Timestamp, now: Timestamp) -> Option<ContainerEvent> {
    match found {
        Found::Running { .. } => None,
        Found::Ended(ended) => Some(ContainerEvent::Ended(ended)),
        Found::Nothing => {
            Some(ContainerEvent::Ended(Ended { started: Some(started), finished: now, exit: Exit::Unknown }))
        }
    }
}

/// Things without a record.
fn sweeps(loaded: &Loaded, world: &World) -> impl Iterator<Item = Action> {
    let sandboxes: BTreeSet<_> = loaded.sandboxes.iter().map(|(asked, _)| asked.id.clone()).collect();
    let containers: BTreeSet<_> = loaded.containers.iter().map(|(asked, _)| asked.id.clone()).collect();
    let shims: Vec<_> = world.raised.difference(&sandboxes).cloned().map(Action::SweepShim).collect();
    let addresses: Vec<_> = world.addressed.difference(&sandboxes).cloned().map(Action::SweepAddress).collect();
    let layers: Vec<_> = world.rootfs.difference(&containers).cloned().map(Action::SweepRootfs).collect();
    // An address is given back only when nobody can use it any more.
    shims.into_iter().chain(addresses).chain(layers)
}

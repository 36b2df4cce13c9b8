//! Compares records with the world after a restart, and says what to do about each difference.
//!
//! Pure. What it returns is fed to `step`, or performed as the effects that removal uses; recovery has no actions of its own.
//! Law: once everything it returned is done, it returns nothing.

use crate::alone;
use crate::container_state::{ContainerEvent, ContainerState, Ended, Exit};
use crate::id::{ContainerId, SandboxId};
use crate::ports::{Observed, ObservedTask};
use crate::record::{Durability, Loaded};
use crate::sandbox::SandboxEnd;
use crate::sandbox_state::{SandboxEvent, SandboxState};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is there, whatever the records say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// What is left of each sandbox that has a record; one that is missing here has not answered yet.
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
    /// Delete the writable layer and the records of a container whose sandbox has no record: nobody can ask for it.
    SweepContainer(ContainerId),
}

/// Returns what to do, containers' ends first: a sandbox that is dropped must not forget how its containers ended.
#[must_use]
pub fn reconcile(loaded: &Loaded, world: &World, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    let sandboxes: BTreeSet<_> = loaded.sandboxes.iter().map(|(asked, _)| &asked.id).collect();
    for (asked, state) in loaded.containers.iter().filter(|(asked, _)| sandboxes.contains(&asked.spec.sandbox)) {
        let observed = world.observed.get(&asked.spec.sandbox);
        let events = state.as_ref().map(|state| of_container(state, &asked.id, observed, now));
        actions.extend(events.into_iter().flatten().map(|event| Action::Container(asked.id.clone(), event)));
    }
    let children: HashMap<_, _> =
        loaded.containers.iter().map(|(asked, state)| (&asked.spec.sandbox, state.as_ref())).collect();
    for (asked, state) in &loaded.sandboxes {
        let of_alone = |state| match asked.spec.ends {
            SandboxEnd::OnStop => None,
            SandboxEnd::WithContainer => alone::of_sandbox(state, children.get(&asked.id).copied().flatten(), None),
        };
        let observed = world.observed.get(&asked.id);
        let event = state.as_ref().and_then(|state| of_sandbox(state, observed).or_else(|| of_alone(state)));
        actions.extend(event.map(|event| Action::Sandbox(asked.id.clone(), event)));
    }
    actions.extend(sweeps(loaded, world));
    actions
}

/// Returns what a sandbox must hear; `observed` is missing while its shim has not answered.
#[must_use]
pub fn of_sandbox(state: &SandboxState, observed: Option<&Observed>) -> Option<SandboxEvent> {
    match state {
        SandboxState::Creating { .. } | SandboxState::Starting { .. } => Some(SandboxEvent::Interrupted),
        SandboxState::Stopping { .. } | SandboxState::Removing { .. } => Some(SandboxEvent::Interrupted),
        SandboxState::Ready { .. } => match observed {
            Some(Observed::NoShim { .. }) => Some(SandboxEvent::ShimGone),
            // A shim that is only slow is no reason to kill a pod.
            Some(Observed::Shim { .. }) | None => None,
        },
        SandboxState::NotReady { .. } | SandboxState::Gone { .. } => None,
    }
}

/// Returns what a container must hear, in this order; `observed` is missing while its shim has not answered.
#[must_use]
pub fn of_container(
    state: &ContainerState,
    id: &ContainerId,
    observed: Option<&Observed>,
    now: Timestamp,
) -> Vec<ContainerEvent> {
    let found = observed.map_or(Found::NoAnswer, |observed| find(observed, id));
    // Of one that is found frozen, neither that nor that it runs may have been recorded.
    let unstarted = matches!(state, ContainerState::Starting { .. });
    let frozen = unstarted && matches!(found, Found::Running { frozen: true, .. });
    let first = first_of_container(state, found, now);
    first.into_iter().chain(frozen.then_some(ContainerEvent::Frozen)).collect()
}

fn first_of_container(state: &ContainerState, found: Found, now: Timestamp) -> Option<ContainerEvent> {
    use {ContainerEvent as E, ContainerState as S};
    match (state, found) {
        (S::Creating { .. } | S::Removing(_), _) => Some(E::Interrupted),
        (S::Created { .. } | S::Gone { .. }, _) => None,
        (S::Starting { .. }, Found::Running { pid, started, .. }) => Some(E::Started { pid, at: started }),
        (S::Starting { .. }, Found::Nothing) => Some(E::Interrupted),
        // The daemon may have died between the act and its record.
        (S::Running(_) | S::Lost(_), Found::Running { frozen: true, .. }) => Some(E::Frozen),
        (S::Frozen(_), Found::Running { frozen: false, .. }) => Some(E::Thawed),
        (S::Running(_), Found::Running { frozen: false, .. }) => None,
        (S::Frozen(_), Found::Running { frozen: true, .. }) => None,
        (S::Running(_) | S::Frozen(_), Found::NoAnswer) => Some(E::Silent),
        (S::Stopping { .. }, Found::Running { .. } | Found::NoAnswer) => Some(E::Interrupted),
        (S::Lost(_), Found::Running { frozen: false, .. }) => Some(E::Answered),
        // What it was cut off from, or waits for, comes with the answer.
        (S::Starting { .. } | S::Lost(_) | S::Exited { .. }, Found::NoAnswer) => None,
        // The shim still knows a task whose end is recorded: it may forget it now.
        (S::Exited { .. }, Found::Running { .. } | Found::Ended(_)) => Some(E::Interrupted),
        (S::Exited { task, .. }, Found::Nothing) => task.as_ref().map(|_| E::Interrupted),
        (S::Starting { .. } | S::Running(_) | S::Frozen(_) | S::Stopping { .. } | S::Lost(_), Found::Ended(ended)) => {
            Some(E::Ended(ended))
        }
        (S::Running(task) | S::Frozen(task) | S::Stopping { task, .. } | S::Lost(task), Found::Nothing) => {
            Some(E::Ended(Ended { started: Some(task.started), finished: now, exit: Exit::Unknown }))
        }
    }
}

// === impl reconcile ===

enum Found {
    Running { pid: u32, started: Timestamp, frozen: bool },
    Ended(Ended),
    Nothing,
    NoAnswer,
}

fn find(observed: &Observed, id: &ContainerId) -> Found {
    match observed {
        Observed::Shim { tasks } => match tasks.iter().find(|(task, _)| task == id) {
            Some((_, ObservedTask::Running { pid, started, frozen })) => {
                Found::Running { pid: *pid, started: *started, frozen: *frozen }
            }
            Some((_, ObservedTask::Ended(ended))) => Found::Ended(ended.clone()),
            None => Found::Nothing,
        },
        Observed::NoShim { ended } => match ended.iter().find(|(task, _)| task == id) {
            Some((_, ended)) => Found::Ended(ended.clone()),
            None => Found::Nothing,
        },
    }
}

/// Things without a record.
fn sweeps(loaded: &Loaded, world: &World) -> impl Iterator<Item = Action> {
    let sandboxes: BTreeSet<_> = loaded.sandboxes.iter().map(|(asked, _)| asked.id.clone()).collect();
    let containers: BTreeSet<_> = loaded.containers.iter().map(|(asked, _)| asked.id.clone()).collect();
    let shims: Vec<_> = world.raised.difference(&sandboxes).cloned().map(Action::SweepShim).collect();
    let addresses: Vec<_> = world.addressed.difference(&sandboxes).cloned().map(Action::SweepAddress).collect();
    let layers: Vec<_> = world.rootfs.difference(&containers).cloned().map(Action::SweepRootfs).collect();
    let orphans = loaded.containers.iter().map(|(asked, _)| asked).filter(|asked| {
        // What was promised to outlast a boot is kept for a person to look at.
        asked.durability == Durability::Boot && !sandboxes.contains(&asked.spec.sandbox)
    });
    let orphans: Vec<_> = orphans.map(|asked| Action::SweepContainer(asked.id.clone())).collect();
    // An address is given back only when nobody can use it any more.
    shims.into_iter().chain(addresses).chain(layers).chain(orphans)
}

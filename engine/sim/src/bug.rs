//! Faults of an orlop that is not ours: planted, to see that the laws catch them.

use orlop_model::ContainerId;
use orlop_model::container_state::ContainerState;

use crate::{Node, World};

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A state is recorded when the next one comes: what it asked for is done without a record.
    ActBeforeRecord,
    /// The root file system of a failed creation is not deleted.
    UndoDropped,
    /// Letting go of a task a second time fails.
    NotRepeatable,
    /// A shim that is taken down does not say how its containers ended.
    ExitForgotten,
    /// A detached sandbox keeps its address.
    AddressKept,
    /// The shim of a sandbox that is taken down stays.
    ShimKept,
    /// What was asked of a container does not outlast the boot, though that was promised.
    PromiseBroken,
}

impl Bug {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::ActBeforeRecord,
        Self::UndoDropped,
        Self::NotRepeatable,
        Self::ExitForgotten,
        Self::AddressKept,
        Self::ShimKept,
        Self::PromiseBroken,
    ];
}

impl World {
    /// Plants a fault, for good.
    pub fn plant(&self, bug: Bug) {
        self.node().bug = Some(bug);
    }
}

impl Node {
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Returns whether the creation of a container has failed, and is being undone.
    pub(crate) fn undoes_creation(&self, id: &ContainerId) -> bool {
        let state =
            self.records.containers.iter().find(|(asked, _)| asked.id == *id).and_then(|(_, state)| state.as_ref());
        matches!(state, Some(ContainerState::Removing(removal)) if removal.why.is_some())
    }
}

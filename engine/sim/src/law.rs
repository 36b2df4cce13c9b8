//! What must hold at every step of a simulation, whatever happens: looked at by the world itself as the daemon acts on it.

use crate::{Node, World};
use orlop_model::container_state::ContainerState;
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, SandboxId};

impl World {
    /// Returns the laws that were broken so far, in words.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.node().violations.clone()
    }
}

impl Node {
    /// Nothing of a sandbox is made unless a record says so that leads a crash to undo it.
    pub(crate) fn makes_of_sandbox(&mut self, what: &str, id: &SandboxId) {
        use SandboxState as S;
        let record = self.records.sandboxes.iter().find(|(asked, _)| asked.id == *id).map(|(_, state)| state.clone());
        match record {
            Some(None | Some(S::Creating { .. } | S::Starting { .. } | S::Stopping { .. } | S::Removing { .. })) => {}
            Some(Some(S::Ready { .. } | S::NotReady { .. } | S::Gone { .. })) | None => {
                self.violations
                    .push(format!("{what} of sandbox {id} without a record that leads to its undoing: {record:?}"));
            }
        }
    }

    /// Nothing of a container is made unless a record says so that leads a crash to undo or to find it.
    pub(crate) fn makes_of_container(&mut self, what: &str, id: &ContainerId) {
        use ContainerState as S;
        let record = self.records.containers.iter().find(|(asked, _)| asked.id == *id).map(|(_, state)| state.clone());
        match record {
            Some(None | Some(S::Creating { .. } | S::Starting { .. } | S::Removing(_))) => {}
            Some(Some(S::Exited { task: Some(_), .. })) => {}
            Some(Some(S::Created { .. } | S::Running(_) | S::Frozen(_) | S::Stopping { .. } | S::Lost(_)))
            | Some(Some(S::Exited { task: None, .. } | S::Gone { .. }))
            | None => {
                self.violations.push(format!("{what} of container {id} without a record that leads to it: {record:?}"));
            }
        }
    }

    /// An address is given back only when nobody can use it any more.
    pub(crate) fn gives_address_back(&mut self, id: &SandboxId) {
        if self.shims.get(id).is_some_and(|shim| !shim.dropped) {
            self.violations.push(format!("the address of sandbox {id} was given back while a shim could still use it"));
        }
    }
}

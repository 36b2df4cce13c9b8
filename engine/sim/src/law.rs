//! What must hold at every step of a simulation, whatever happens: looked at by the world itself as the daemon acts on it.

use crate::{Node, Task, World};
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

    /// The shim forgets an end only when a record has it, or nobody will ask.
    pub(crate) fn forgets_end(&mut self, id: &ContainerId, task: &Task) {
        use ContainerState as S;
        let Task::Ended(_) = task else { return };
        let record =
            self.records.containers.iter().find(|(asked, _)| asked.id == *id).and_then(|(_, state)| state.clone());
        match record {
            None | Some(S::Exited { .. } | S::Removing(_) | S::Starting { .. } | S::Creating { .. }) => {}
            Some(state @ (S::Created { .. } | S::Running(_) | S::Frozen(_) | S::Stopping { .. } | S::Lost(_)))
            | Some(state @ S::Gone { .. }) => {
                self.violations
                    .push(format!("the end of container {id} was forgotten while its record says {state:?}"));
            }
        }
    }
}

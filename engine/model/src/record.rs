//! What is stored: two records for each object from its first day.
//!
//! What was asked for has the durability its namespace declares, once its creation is done: until then it is of the boot class,
//! so that a creation that the node's end cut off is forgotten. What is, is always of the boot class.

use crate::container::{ContainerSpec, Resources};
use crate::container_state::{Checked, ContainerState};
use crate::id::{ContainerId, SandboxId};
use crate::sandbox::SandboxSpec;
use crate::sandbox_state::SandboxState;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a record must last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// Until the node boots again; never flushed.
    Boot,
    /// Until it is deleted; flushed before it is acknowledged.
    Node,
}

/// What was asked for, of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxAsked {
    /// Which one.
    pub id: SandboxId,
    /// When.
    pub created_at: Timestamp,
    /// What.
    pub spec: SandboxSpec,
    /// Bytes owned by the facade: for the CRI the request itself.
    pub annex: Vec<u8>,
    /// How long this record must last.
    pub durability: Durability,
}

/// What was asked for, of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerAsked {
    /// Which one.
    pub id: ContainerId,
    /// When.
    pub created_at: Timestamp,
    /// What.
    pub spec: ContainerSpec,
    /// What it may use.
    pub resources: Resources,
    /// What it is to use instead, while that is being written to its cgroup. Found after a crash, it is written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Resources>,
    /// What was found out about it when it was created; in a record that outlasts a boot, where no state does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// Bytes owned by the facade: for the CRI the request itself.
    pub annex: Vec<u8>,
    /// How often the annex was replaced: who replaces it says which one it knows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub annex_generation: u64,
    /// How long this record must last.
    pub durability: Durability,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Everything stored, as found at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Sandboxes, with what is where it is known: it is not after a boot.
    pub sandboxes: Vec<(SandboxAsked, Option<SandboxState>)>,
    /// Containers, likewise.
    pub containers: Vec<(ContainerAsked, Option<ContainerState>)>,
    /// Records that could not be read and were set aside: where they are now, and what was wrong.
    pub set_aside: Vec<(std::path::PathBuf, String)>,
}

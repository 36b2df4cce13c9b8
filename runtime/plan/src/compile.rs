//! OCI spec to plan.
//!
//! What an OCI spec can't say is said by paths that no file can have, since they do not start with `/`: a namespace path
//! [`SANDBOX`] is the sandbox's own, [`of_task`] that of a task, [`of_other`] that of a task of another sandbox, and a bind
//! mount's source [`SANDBOX_SHM`] is the sandbox's `/dev/shm`, [`shm_of_other`] another's. The annotation [`INIT`] asks for a
//! first process of ours.

mod order;
mod process;
mod refuse;
mod resources;
mod tree;
mod users;

use crate::oci::{Resources, Spec};
use crate::rlimit::HardLimits;
use crate::seccomp::Cache;
pub use orlop_cgroups::Hierarchies;
use orlop_wire::plan::{CgroupWrite, NamespaceKind, Plan};
use std::path::PathBuf;

/// Namespace path of the sandbox's own namespace.
pub const SANDBOX: &str = "orlop:sandbox";

/// Source of a bind mount that is the sandbox's `/dev/shm`.
pub const SANDBOX_SHM: &str = "orlop:shm";

/// Annotation that asks, as `true`, for a first process of ours before the container's.
pub const INIT: &str = "orlop.init";

/// Mount option: owners are shown through the mapping of the user namespace where the file system can do it.
pub const MAP_IF_POSSIBLE: &str = crate::mounts::MAP_IF_POSSIBLE;

/// What [`of_task`] puts in front.
const TASK_PREFIX: &str = "orlop:task:";
/// What [`of_other`] puts in front. Ids hold no colon.
const OTHER_PREFIX: &str = "orlop:other:";
/// What [`shm_of_other`] puts in front.
const OTHER_SHM_PREFIX: &str = "orlop:shm:";

/// Returns the namespace path of a task's namespace.
#[must_use]
pub fn of_task(container: &str) -> String {
    format!("{TASK_PREFIX}{container}")
}

/// Returns the namespace path of a namespace of a container in another sandbox.
#[must_use]
pub fn of_other(sandbox: &str, container: &str) -> String {
    format!("{OTHER_PREFIX}{sandbox}:{container}")
}

/// Returns the source of a bind mount that is another sandbox's `/dev/shm`.
#[must_use]
pub fn shm_of_other(sandbox: &str) -> String {
    format!("{OTHER_SHM_PREFIX}{sandbox}")
}

/// What must be known of the node.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its cgroup file systems.
    pub hierarchies: &'a Hierarchies,
    /// Whether device rules can be a program: for nodes where v1 has no devices controller.
    pub device_programs: bool,
    /// Capabilities that the shim holds, one bit each: no process can be given others.
    pub capabilities: u64,
    /// Hard limits of the shim: without CAP_SYS_RESOURCE no process can be given higher ones.
    pub limits: &'a HardLimits,
    /// Compiled filters.
    pub profiles: &'a Cache,
}

/// A plan, and what must be opened for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// What to open and send as slot 0, slot 1 and so on; further slots of the frame come after these.
    pub slots: Vec<SlotSource>,
    /// What was passed over, for the log.
    pub warnings: Vec<String>,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotSource {
    /// The root file system, a detached mount.
    Rootfs,
    /// A namespace by its file; the caller checks that it is one, of the right kind (`NS_GET_NSTYPE`).
    Namespace {
        /// `CLONE_NEW*` of its kind.
        flag: u64,
        /// The file.
        path: PathBuf,
    },
    /// A namespace that another sandbox lends: see [`of_other`].
    OfOther {
        /// Which kind.
        kind: NamespaceKind,
        /// Id of the sandbox.
        sandbox: String,
        /// Id of the container, which must be running.
        container: String,
    },
    /// The `/dev/shm` of another sandbox, a detached mount.
    ShmOfOther {
        /// Id of the sandbox.
        sandbox: String,
    },
}

/// Why a spec can't be run. Names the field of the spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The field can't be right on any node.
    #[error("{field}: {why}")]
    Invalid {
        /// `process.cwd`.
        field: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The field asks for what is not built, or what this node lacks.
    #[error("{field}: {why}")]
    Unsupported {
        /// `linux.intelRdt`.
        field: String,
        /// What is missing.
        why: String,
    },
}

/// Plans the first process of a container.
pub fn container(spec: &Spec, facts: &Facts<'_>) -> Result<Compiled, CompileError> {
    order::container(spec, facts)
}

/// Plans a process in a running container: `spec` is the container's, with the new program as its process. It joins every
/// namespace that the container does not share with the node, and its cgroup.
pub fn exec(spec: &Spec, container: &str, facts: &Facts<'_>) -> Result<Compiled, CompileError> {
    order::exec(spec, container, facts)
}

/// Plans a change of the limits of a container that runs: what to write to its cgroup, in this order, when it has those of
/// `old` and is to have those of `new`. What `new` leaves out stays as it is; device rules do in any case.
pub fn change(old: &Resources, new: &Resources, hierarchies: &Hierarchies) -> Result<Vec<CgroupWrite>, CompileError> {
    resources::change(old, new, hierarchies)
}

pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> CompileError {
    CompileError::Invalid { field: field.into(), why: why.into() }
}

pub(crate) fn unsupported(field: impl Into<String>, why: impl Into<String>) -> CompileError {
    CompileError::Unsupported { field: field.into(), why: why.into() }
}

#[cfg(test)]
mod tests;

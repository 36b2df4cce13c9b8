//! What was asked for when a container was created.

mod device;
mod mount;
mod security;

pub use device::{Device, DeviceKind, DeviceRule};
pub use mount::{MissingSource, Mount, MountAccess, MountDepth, MountFlags, Propagation, Tmpfs, TmpfsAccess};
pub use security::{MASKED_PATHS, READONLY_PATHS, SeccompProfile, Security};

use crate::id::{ContainerId, ImageId, Namespace, NaturalKey, SandboxId};
use crate::streams::TerminalSize;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A container as asked for. Fixed once the container exists; what may change later is in [`Resources`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Partition; given by the facade, that of its sandbox.
    pub namespace: Namespace,
    /// What makes the same request the same.
    pub key: NaturalKey,
    /// The sandbox it lives in.
    pub sandbox: SandboxId,
    /// The image, resolved when the container was created.
    pub image: ImageId,
    /// The program and how it runs.
    pub process: Process,
    /// Mounts beside the defaults, in this order.
    pub mounts: Vec<Mount>,
    /// File systems in memory, empty at each start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// Devices beside the defaults.
    pub devices: Vec<Device>,
    /// Devices that may be used though no node of them is made, after those of `devices`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_rules: Vec<DeviceRule>,
    /// Which namespaces it lives in.
    pub namespaces: Namespaces,
    /// Whether the root file system is read-only.
    pub rootfs: RootfsAccess,
    /// Confinement.
    pub security: Security,
    /// Where its log goes: a folder of the node and a path below it. `None` drops the output.
    pub log: Option<LogPath>,
    /// Signal number that asks it to end; `None` takes the image's, or SIGTERM.
    pub stop_signal: Option<u8>,
}

impl ContainerSpec {
    /// Returns a container that runs what its image says, in its sandbox's namespaces but for process ids and cgroups,
    /// confined by the defaults.
    #[must_use]
    pub fn new(namespace: Namespace, key: NaturalKey, sandbox: SandboxId, image: ImageId) -> Self {
        Self {
            namespace,
            key,
            sandbox,
            image,
            process: Process::default(),
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            devices: Vec::new(),
            device_rules: Vec::new(),
            namespaces: Namespaces::default(),
            rootfs: RootfsAccess::ReadWrite,
            security: Security::default(),
            log: None,
            stop_signal: None,
        }
    }
}

/// The program and how it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Replaces the image's entrypoint, when not empty; the image's cmd is then dropped too.
    pub command: Vec<String>,
    /// Replaces the image's cmd, when not empty.
    pub args: Vec<String>,
    /// Added to the image's environment; a name that is there is replaced. Values are bytes: not all are UTF-8.
    pub env: Vec<(String, Vec<u8>)>,
    /// Working folder; empty takes the image's.
    pub working_dir: String,
    /// Who it runs as.
    pub user: User,
    /// A terminal or pipes.
    pub terminal: bool,
    /// Size of the terminal at the start.
    #[serde(default, skip_serializing_if = "TerminalSize::is_unknown")]
    pub terminal_size: TerminalSize,
    /// Whether anything can be sent to its standard input.
    pub stdin: Stdin,
    /// Resource limits, `RLIMIT_` names.
    pub rlimits: Vec<Rlimit>,
    /// Whether a small program of ours is the first process: it passes signals on to the container's and reaps orphans.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
}

/// What standard input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// Open until the container ends.
    Open,
    /// Open until the first attached client closes it.
    Once,
}

/// Who a process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// `user`, `uid`, `user:group` or `uid:gid`, names looked up in the image; empty takes the image's.
    pub user: String,
    /// Replaces the group; needs `user`.
    pub group: Option<u32>,
    /// More groups.
    pub supplemental_groups: Vec<u32>,
    /// More groups by name, looked up in the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplemental_group_names: Vec<String>,
    /// Whether the image's `/etc/group` adds to them.
    pub groups_policy: GroupsPolicy,
}

/// Where supplementary groups come from. KEP-3619.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupsPolicy {
    /// Those asked for and those of the image's `/etc/group`.
    #[default]
    Merge,
    /// Only those asked for.
    Strict,
}

/// One resource limit; see getrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// Which namespaces a container lives in. The mount namespace is always its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Process ids.
    pub pid: NamespaceMode,
    /// Network.
    pub network: NamespaceMode,
    /// System V IPC and message queues.
    pub ipc: NamespaceMode,
    /// Host name.
    pub uts: NamespaceMode,
    /// Cgroup root.
    pub cgroup: NamespaceMode,
}

impl Default for Namespaces {
    /// The sandbox's, but for process ids and cgroups: what a container of a pod has when nothing is asked.
    fn default() -> Self {
        Self {
            pid: NamespaceMode::New,
            network: NamespaceMode::OfSandbox,
            ipc: NamespaceMode::OfSandbox,
            uts: NamespaceMode::OfSandbox,
            cgroup: NamespaceMode::New,
        }
    }
}

/// Where one namespace of a container comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// A new one.
    New,
    /// The node's.
    Host,
    /// Its sandbox's.
    OfSandbox,
    /// That of another container of the same sandbox.
    OfContainer(ContainerId),
    /// That of a container of another sandbox, which must be running at the start: for the network and IPC that of its
    /// sandbox, `/dev/shm` with it.
    OfOther {
        /// The other sandbox.
        sandbox: SandboxId,
        /// The container in it.
        container: ContainerId,
    },
    /// That of a file.
    Path(PathBuf),
}

/// Whether the root file system can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootfsAccess {
    /// Writes go to a layer of the container's own.
    ReadWrite,
    /// Writes fail with EROFS.
    ReadOnly,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPath {
    /// Absolute folder on the node.
    pub directory: PathBuf,
    /// Path below it; no `..`.
    pub file: PathBuf,
}

/// What a container may use; can change while it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Goes up by one with every change.
    pub version: u64,
    /// `cpu.cfs_period_us`; 0 leaves the kernel's default.
    pub cpu_period_us: u64,
    /// `cpu.cfs_quota_us`; 0 leaves the default, -1 is unlimited.
    pub cpu_quota_us: i64,
    /// `cpu.shares` (v1 scale, 2 to 262144); 0 leaves the default.
    pub cpu_shares: u64,
    /// Bytes; 0 leaves the default, -1 is unlimited.
    pub memory_bytes_max: i64,
    /// Memory and swap together, bytes; 0 leaves the default, -1 is unlimited.
    pub memory_swap_bytes_max: i64,
    /// Bytes kept when memory is short; 0 leaves the default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_reservation_bytes: i64,
    /// How much of its memory the kernel would rather swap out than forget files, 0 to 100; `None` leaves the default. A
    /// cgroup of v2 has no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swappiness: Option<u8>,
    /// `cpuset.cpus`; empty leaves the parent's.
    pub cpuset_cpus: String,
    /// `cpuset.mems`; empty leaves the parent's.
    pub cpuset_mems: String,
    /// Processes; 0 leaves the default, -1 is unlimited.
    pub pids_max: i64,
    /// `hugetlb.<size>.limit_in_bytes` by page size (`2MB`).
    pub hugepage_bytes_max: BTreeMap<String, u64>,
    /// Files of a v2 cgroup and what to write to them.
    pub unified: BTreeMap<String, String>,
    /// `/proc/<pid>/oom_score_adj`, -1000 to 1000; clamped where the kernel refuses.
    pub oom_score_adj: Option<i16>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

//! The plan: everything a fresh process does between clone and exec, as a flat list.
//!
//! Made by the daemon, which decides; run by a child of the shim, which only acts and allocates nothing. A failed operation
//! comes back as its index and an errno, so each operation does one thing. Order is the planner's business: the runner
//! runs operations as they stand.

use serde::{Deserialize, Serialize};

/// Index of a descriptor that travels with a frame.
pub type Slot = u32;

/// How a process is made and what it becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// `CLONE_NEW*` flags of namespaces made for it. Of an exec: none.
    pub clone_flags: u64,
    /// Namespaces entered before anything else, in this order.
    pub join: Vec<Join>,
    /// Its cgroup; `None` leaves it where the shim is.
    pub cgroup: Option<CgroupPlan>,
    /// What is done, in this order.
    pub ops: Vec<Op>,
    /// The program.
    pub program: Program,
    /// Ids of the user namespace that it joins, when it joins one.
    pub users: Option<IdMap>,
}

/// Ids of users and groups alike, in a row: inside a user namespace and on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id on the node.
    pub node: u32,
    /// How many.
    pub count: u32,
}

impl IdMap {
    /// Returns what an id inside is on the node; `None` when it is not mapped.
    #[must_use]
    pub fn to_node(&self, inside: u32) -> Option<u32> {
        let at = inside.checked_sub(self.inside).filter(|at| *at < self.count)?;
        self.node.checked_add(at)
    }
}

/// A namespace to enter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Which kind.
    pub kind: NamespaceKind,
    /// Where it comes from.
    pub from: JoinFrom,
}

/// A kind of namespace; see namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum NamespaceKind {
    Mount,
    Pid,
    Network,
    Ipc,
    Uts,
    Cgroup,
    User,
}

/// Where a namespace comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinFrom {
    /// The sandbox's own, which the shim holds. For [`NamespaceKind::Pid`] the shim starts the pod's init on first use.
    Sandbox,
    /// That of a task of the same shim.
    Task(String),
    /// A descriptor sent with the frame.
    Slot(Slot),
}

/// A cgroup leaf and its limits, decided by the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// Path below the root of every hierarchy, starting with `/`; the leaf is made, its parents are not removed.
    pub path: String,
    /// Files to write before the process enters, in this order.
    pub writes: Vec<CgroupWrite>,
    /// Who decides which devices its processes may use.
    pub devices: DeviceAccess,
}

/// Who decides which devices the processes of a cgroup may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceAccess {
    /// The cgroups above it, and what `writes` says.
    #[default]
    AsWritten,
    /// The cgroups above it, and an eBPF program: `bpf_insn` records of 8 bytes each, native byte order.
    Program(Vec<u8>),
    /// The cgroups above it. There are rules that nothing here enforces, so device nodes of its root don't work.
    Unenforced,
}

/// One file of a cgroup leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupWrite {
    /// v1 hierarchy by controller (`memory`, `cpu`), or empty for the unified one.
    pub controller: String,
    /// File name, `memory.limit_in_bytes`.
    pub file: String,
    /// What to write.
    pub value: String,
    /// What a missing file or controller means.
    pub missing: Missing,
}

/// What to do about something that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The start fails.
    Fail,
    /// Nothing.
    Ignore,
}

/// One operation of the child. Paths named `target` are inside the container: resolved beneath its root with openat2,
/// `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`; missing parents are made with mode 0755, never through a link out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Sets the propagation of every mount of the new mount namespace: `MS_SLAVE` or `MS_PRIVATE`, recursively.
    SetPropagation {
        /// `MS_SLAVE`, `MS_PRIVATE`; `MS_REC` is added.
        flags: u64,
    },
    /// Moves the root file system, a detached mount, to where it can become the root, and keeps it open for what follows.
    AttachRootfs {
        /// The mount.
        slot: Slot,
    },
    /// Mounts a new file system at a folder, which is made when missing. fsopen(2), fsconfig(2), fsmount(2), move_mount(2).
    MountNew {
        /// `proc`, `sysfs`, `tmpfs`, `devpts`, `mqueue`, `cgroup`, `cgroup2`.
        fstype: String,
        /// Its source, as shown in mountinfo.
        source: String,
        /// Options: a name, and a value unless it is a flag.
        options: Vec<(String, Option<String>)>,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
        /// Where.
        target: String,
    },
    /// Mounts a file or folder of the node inside. The target is made as a folder or empty file, as the source is.
    Bind {
        /// What.
        source: BindSource,
        /// With the mounts below it.
        recursive: bool,
        /// `MOUNT_ATTR_*` to set.
        attributes: u64,
        /// Set them on the mounts below it too. Needs Linux 5.12.
        attributes_recursive: bool,
        /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`; with `recursive` on all of them.
        propagation: u64,
        /// Whose the files seem to be.
        ids: BindIds,
        /// Where.
        target: String,
    },
    /// Makes a device node, replacing nothing: an existing node with the same numbers is kept.
    MakeDevice {
        /// Where.
        target: String,
        /// `S_IFCHR`, `S_IFBLK`, `S_IFIFO` with permission bits.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Makes a symbolic link; an existing entry is kept.
    Symlink {
        /// What it says.
        to: String,
        /// Where it is.
        target: String,
    },
    /// Makes the attached rootfs the root, drops the old one, and stands at `/`. pivot_root(2) ".", ".".
    PivotRoot,
    /// Hides a path: a file behind `/dev/null` (checked to be 1:3), a folder behind an empty read-only tmpfs.
    /// A path that is not there is passed over.
    Mask {
        /// Absolute path.
        target: String,
    },
    /// Makes a path read-only. A path that is not there is passed over.
    ReadonlyPath {
        /// Absolute path.
        target: String,
    },
    /// Makes the root mount read-only.
    ReadonlyRoot,
    /// Writes a sysctl of the process's own namespaces.
    Sysctl {
        /// Path below `/proc/sys`, with slashes.
        path: String,
        /// Value.
        value: String,
    },
    /// Sets a resource limit; where the kernel refuses to raise the hard limit it is clamped to what is allowed.
    Rlimit {
        /// `RLIMIT_*` number.
        resource: u32,
        /// Soft limit; `u64::MAX` is unlimited.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Writes `/proc/self/oom_score_adj`; where the kernel refuses (EACCES, EPERM) it is left as it is.
    OomScoreAdj {
        /// -1000 to 1000.
        value: i16,
    },
    /// umask(2).
    Umask {
        /// Mode bits.
        mask: u32,
    },
    /// setsid(2).
    NewSession,
    /// Drops every capability of this mask's complement from the bounding set.
    CapabilityBounding {
        /// Bit n keeps capability n.
        keep: u64,
    },
    /// setgroups, setresgid, setresuid by raw calls, capabilities kept over the change (`PR_SET_KEEPCAPS`).
    Identity {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Supplementary groups; set even when empty (CVE-2023-25173).
        groups: Vec<u32>,
    },
    /// capset(2), then the ambient set.
    Capabilities {
        /// Bit n is capability n.
        effective: u64,
        /// Likewise.
        permitted: u64,
        /// Likewise; empty unless asked for (CVE-2022-29162).
        inheritable: u64,
        /// Likewise.
        ambient: u64,
    },
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivileges,
    /// Installs a seccomp filter: `sock_filter` records of 8 bytes each, native byte order.
    Seccomp {
        /// The program.
        program: Vec<u8>,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u64,
    },
    /// chdir(2), then checks that getcwd(2) stays inside the root (CVE-2024-21626).
    Chdir {
        /// Absolute path.
        path: String,
        /// Whether a missing folder is made.
        create: bool,
    },
    /// Makes a child that does what follows and becomes the program. The process itself stays, as an init without rights but
    /// that of sending signals: it passes signals on to its child, reaps orphans, and ends as its child does, with 128 and
    /// the number where a signal ended it.
    Init,
    /// Starts a session on a new terminal: setsid(2), a pseudo-terminal of the devpts at `/dev/pts`, whose slave becomes the
    /// controlling terminal and descriptors 0, 1 and 2. Its master goes to the parent. At most once in a plan, in place of
    /// [`Op::NewSession`].
    Terminal {
        /// Lines; 0 is unknown.
        rows: u16,
        /// Characters of a line; 0 is unknown.
        columns: u16,
        /// Whether the slave is mounted at `/dev/console` too. config-linux.md "Default Devices".
        console: bool,
    },
}

/// Whose the files of a bind mount seem to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindIds {
    /// Their owners on the node.
    #[default]
    AsOnNode,
    /// The owner's id is taken for one inside the plan's user namespace; an error where the file system can't.
    Mapped,
    /// Likewise, but as on the node where the file system can't.
    MappedIfPossible,
}

/// What is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindSource {
    /// Path on the node, links followed; opened before the root changes.
    Path(String),
    /// A descriptor sent with the frame (`O_PATH` or a detached mount).
    Slot(Slot),
    /// The sandbox's `/dev/shm`, a tmpfs that the shim holds.
    SandboxShm,
}

/// The program a process becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Paths to try in this order, from the first word and `PATH`; ENOENT and ENOTDIR go on to the next, EACCES is kept.
    pub candidates: Vec<String>,
    /// Arguments, the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value`.
    pub env: Vec<Vec<u8>>,
}

impl Op {
    /// Returns what the operation does, for an error message: `mount proc at /proc`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::SetPropagation { .. } => "set mount propagation".to_owned(),
            Self::AttachRootfs { .. } => "attach the root file system".to_owned(),
            Self::MountNew { fstype, target, .. } => format!("mount {fstype} at {target}"),
            Self::Bind { source: BindSource::Path(path), target, .. } => format!("mount {path} at {target}"),
            Self::Bind { source: BindSource::Slot(_) | BindSource::SandboxShm, target, .. } => {
                format!("mount at {target}")
            }
            Self::MakeDevice { target, .. } => format!("make device {target}"),
            Self::Symlink { target, .. } => format!("make link {target}"),
            Self::PivotRoot => "change the root".to_owned(),
            Self::Mask { target } => format!("mask {target}"),
            Self::ReadonlyPath { target } => format!("make {target} read-only"),
            Self::ReadonlyRoot => "make the root read-only".to_owned(),
            Self::Sysctl { path, value } => format!("set sysctl {} to {value}", path.replace('/', ".")),
            Self::Rlimit { resource, .. } => format!("set resource limit {resource}"),
            Self::OomScoreAdj { value } => format!("set oom_score_adj to {value}"),
            Self::Umask { .. } => "set umask".to_owned(),
            Self::NewSession => "start a session".to_owned(),
            Self::CapabilityBounding { .. } => "limit capabilities".to_owned(),
            Self::Identity { uid, gid, .. } => format!("become user {uid}, group {gid}"),
            Self::Capabilities { .. } => "set capabilities".to_owned(),
            Self::NoNewPrivileges => "set no-new-privileges".to_owned(),
            Self::Seccomp { .. } => "install the seccomp filter".to_owned(),
            Self::Chdir { path, .. } => format!("change to the working folder {path}"),
            Self::Init => "start a process below the init".to_owned(),
            Self::Terminal { .. } => "open a terminal".to_owned(),
        }
    }
}

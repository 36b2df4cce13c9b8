//! Descriptors of the node that a shim opens at its start, while nothing untrusted runs.

use crate::error::{Result, Tried};
use orlop_wire::plan::NamespaceKind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmodat, makedev, mknodat, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::os::fd::{AsFd, OwnedFd};

/// The node, as its shim found it.
#[derive(Debug)]
pub(crate) struct Node {
    /// `/proc`.
    pub(crate) proc: OwnedFd,
    /// The PID namespace that the shim is in.
    pub(crate) pid_namespace: OwnedFd,
    /// A null device of our own, open for reading and writing. Not the node's `/dev/null`: containers get it as their
    /// standard input, and root in one can change the mode and owner of whatever it has open.
    pub(crate) null: OwnedFd,
}

impl Node {
    pub(crate) fn open() -> Result<Self> {
        let proc = open("/proc", OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Self { proc, pid_namespace: namespace(NamespaceKind::Pid, "self")?, null: make_null()? })
    }
}

/// Makes a null device in a file system that is mounted nowhere, and opens it.
fn make_null() -> Result<OwnedFd> {
    let tried = "make a null device";
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).tried(tried)?;
    fsconfig_create(context.as_fd()).tried(tried)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let folder = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).tried(tried)?;
    let (mode, number) = (Mode::from_raw_mode(0o666), makedev(1, 3));
    mknodat(&folder, c"null", FileType::CharacterDevice, mode, number).tried(tried)?;
    // The mask of the process does not count here.
    chmodat(&folder, c"null", mode, AtFlags::empty()).tried(tried)?;
    openat(&folder, c"null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).tried(tried)
}

/// Opens a namespace of a process: a number or `self`.
pub(crate) fn namespace(kind: NamespaceKind, process: &str) -> Result<OwnedFd> {
    let name = match kind {
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Pid => "pid",
        NamespaceKind::Network => "net",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::User => "user",
    };
    open(&format!("/proc/{process}/ns/{name}"), OFlags::RDONLY)
}

fn open(path: &str, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).tried(format_args!("open {path}"))
}

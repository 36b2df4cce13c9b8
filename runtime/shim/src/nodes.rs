//! Descriptors of the node that a shim opens at its start, while nothing untrusted runs.

use crate::error::{Result, Tried};
use orlop_wire::plan::NamespaceKind;
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;

/// The node, as its shim found it.
#[derive(Debug)]
pub(crate) struct Node {
    /// `/proc`.
    pub(crate) proc: OwnedFd,
    /// The PID namespace that the shim is in.
    pub(crate) pid_namespace: OwnedFd,
    /// `/dev/null`, open for reading and writing.
    pub(crate) null: OwnedFd,
}

impl Node {
    pub(crate) fn open() -> Result<Self> {
        let proc = open("/proc", OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Self { proc, pid_namespace: namespace(NamespaceKind::Pid, "self")?, null: open("/dev/null", OFlags::RDWR)? })
    }
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

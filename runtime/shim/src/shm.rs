//! `/dev/shm` of a sandbox: one tmpfs, of which every container mounts a copy.
//!
//! A mount that is mounted nowhere can be copied since Linux 6.15. Before, only one of a mount namespace can be: the tmpfs
//! then is the whole tree of a namespace of its own, in which nobody lives.

use crate::error::{Result, Tried};
use crate::nodes::namespace;
use crate::sandbox::{WELL, hear, reap, say};
use orlop_exec::be_alone_in;
use orlop_sys::child::enter;
use orlop_sys::clone::{Birth, spawn};
use orlop_sys::seqpacket::{self, Waits};
use orlop_wire::plan::NamespaceKind;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The tmpfs, wherever it is kept.
#[derive(Debug)]
pub(crate) enum Shm {
    /// Mounted nowhere.
    Detached(OwnedFd),
    /// The root of the mount namespace that this is.
    Housed(OwnedFd),
}

// === impl Shm ===

impl Shm {
    /// Makes one.
    pub(crate) fn make(bytes: u64, owner: u32) -> Result<Self> {
        let mount = make_tmpfs(bytes, owner)?;
        match open_tree(&mount, c"", COPY.union(OpenTreeFlags::AT_EMPTY_PATH)) {
            Ok(_) => Ok(Self::Detached(mount)),
            Err(Errno::INVAL) => house(mount.as_fd()).map(Self::Housed),
            Err(errno) => Err(errno).tried(MAKE),
        }
    }

    /// Returns a mount that a container can take or copy, for that container alone.
    pub(crate) fn for_container(&self) -> Result<OwnedFd> {
        match self {
            Self::Detached(mount) => mount.try_clone().tried(LEND),
            Self::Housed(home) => copy_from(home.as_fd()),
        }
    }
}

const MAKE: &str = "make /dev/shm of the sandbox";
const LEND: &str = "copy /dev/shm of the sandbox";
const COPY: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// `owner` is the root of its sandbox, user and group.
fn make_tmpfs(bytes: u64, owner: u32) -> Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).tried(MAKE)?;
    let (size, owner) = (bytes.to_string(), owner.to_string());
    let options = [("source", "shm"), ("mode", "1777"), ("size", &size), ("uid", &owner), ("gid", &owner)];
    for (name, value) in options {
        fsconfig_set_string(context.as_fd(), name, value).tried(MAKE)?;
    }
    fsconfig_create(context.as_fd()).tried(MAKE)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).tried(MAKE)
}

/// Makes a mount namespace that holds nothing but the mount.
fn house(mount: BorrowedFd<'_>) -> Result<OwnedFd> {
    let (ours, theirs) = seqpacket::pair(Waits::Yes).tried(MAKE)?;
    let child = spawn(&Birth::default(), || {
        // Were the shim to die now, nobody would let this process go.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        let (step, errno) = be_alone_in(mount).map_or_else(|errno| (0, errno.raw_os_error()), |()| (WELL, 0));
        say(theirs.as_fd(), step, errno, &[]);
        // The namespace lives on in this process until the shim holds it.
        let _ = seqpacket::recv(&theirs, &mut [0; 1]);
        0
    })
    .tried(MAKE)?;
    drop(theirs);
    let home = hear(&ours).and_then(|(step, errno, _)| well(step, errno)).tried(MAKE);
    let home = home.and_then(|()| namespace(NamespaceKind::Mount, &child.pid.to_string()));
    // Quiet when it is gone: then there is nothing to let go.
    let _ = seqpacket::send(&ours, &[0], &[]);
    reap(&child);
    home
}

/// Takes a copy of the root out of a mount namespace, by a throw-away child: the shim never leaves its own.
fn copy_from(home: BorrowedFd<'_>) -> Result<OwnedFd> {
    let (ours, theirs) = seqpacket::pair(Waits::Yes).tried(LEND)?;
    let child = spawn(&Birth::default(), || {
        let entered = enter(home, libc::CLONE_NEWNS as u64).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO));
        match entered.and_then(|()| open_tree(rustix::fs::CWD, c"/", COPY)) {
            Ok(copy) => say(theirs.as_fd(), WELL, 0, &[copy.as_fd()]),
            Err(errno) => say(theirs.as_fd(), 0, errno.raw_os_error(), &[]),
        }
        0
    })
    .tried(LEND)?;
    drop(theirs);
    let heard = hear(&ours).and_then(|(step, errno, mut descriptors)| {
        well(step, errno)?;
        descriptors.pop().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))
    });
    reap(&child);
    heard.tried(LEND)
}

fn well(step: u32, errno: i32) -> io::Result<()> {
    if step == WELL { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

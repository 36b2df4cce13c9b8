//! Running from a copy of the binary that cannot be written.
//!
//! A container that shares a process's namespace can open `/proc/<pid>/exe` of it. Were that the binary on disk, a container
//! run as root could overwrite it and be run on the node next time (CVE-2019-5736). So the process first executes itself
//! through a detached, read-only copy of the mount that the binary is on: the same file and the same page cache, but every
//! way to it is read-only.

use crate::error::{Failed, Result, Tried};
use orlop_sys::child::{Words, execute_fd};
use orlop_sys::mount::{Below, set_attributes};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Says that the process already runs from a sealed copy.
pub(crate) const SEALED: &str = "--sealed";

/// Executes this binary again from a read-only copy, unless it runs from one.
pub(crate) fn run_from_sealed_copy() -> Result<()> {
    if std::env::args().any(|word| word == SEALED) {
        return Ok(());
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = open_tree(CWD, c"/proc/self/exe", flags).tried("copy the mount of our binary")?;
    set_attributes(copy.as_fd(), libc::MOUNT_ATTR_RDONLY, Below::Untouched).tried("make our binary read-only")?;
    let arguments = std::env::args_os().map(|word| CString::new(word.as_bytes()));
    let arguments = arguments.chain([Ok(c"--sealed".to_owned())]).collect::<std::result::Result<Vec<_>, _>>();
    let arguments = arguments.map_err(|error| Failed::refused("run ourselves", error, libc::EINVAL))?;
    let error = execute_fd(copy.as_fd(), &Words::new(arguments), &Words::new(Vec::new()));
    Err(Failed::io("run ourselves from a read-only copy", &error))
}

/// Opens the sealed copy that this process runs from, to run it again.
pub(crate) fn own_binary() -> Result<OwnedFd> {
    rustix::fs::open(c"/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).tried("open our binary")
}

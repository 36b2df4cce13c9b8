//! Operations that change the process itself or settings of its namespaces. Runs in the child.

use orlop_sys::child;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// Turns what `orlop-sys` returns into the kernel's reason.
pub(crate) fn raw<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Writes a sysctl of the calling process's own namespaces; `path` is below `/proc` and starts with `sys/`.
///
/// `proc` must be the node's or one made for the purpose: a container may have mounted anything at its own.
///
/// # Errors
/// ENOENT for one that does not exist, EINVAL for a value that the kernel refuses.
pub fn set_sysctl(proc: BorrowedFd<'_>, path: &CStr, value: &[u8]) -> Result<(), Errno> {
    // No links and no mounts on the way, so that what is written is a sysctl and nothing else (CVE-2025-52881).
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    write(proc, path, value, resolve)
}

/// Writes `/proc/self/oom_score_adj`; one that may not be lowered is left as it is.
pub(crate) fn set_oom_score(proc: BorrowedFd<'_>, value: &[u8]) -> Result<(), Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    match write(proc, c"self/oom_score_adj", value, resolve) {
        Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        other => other,
    }
}

fn write(proc: BorrowedFd<'_>, path: &CStr, value: &[u8], resolve: ResolveFlags) -> Result<(), Errno> {
    let file = rustix::fs::openat2(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let written = rustix::io::write(&file, value)?;
    if written == value.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Sets a resource limit; where the hard one may not be raised, both are clamped to what is allowed.
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    match raw(child::set_limit(resource, soft, hard)) {
        Err(Errno::PERM) => {
            let (_, allowed) = raw(child::limit(resource))?;
            let hard = hard.min(allowed);
            raw(child::set_limit(resource, soft.min(hard), hard))
        }
        other => other,
    }
}

/// Raises the hard limit of a resource, where that is allowed; the soft one stays as it is.
pub(crate) fn raise_limit(resource: u32, hard: u64) -> Result<(), Errno> {
    let (soft, held) = raw(child::limit(resource))?;
    if hard <= held {
        return Ok(());
    }
    match raw(child::set_limit(resource, soft, hard)) {
        Err(Errno::PERM) => Ok(()),
        other => other,
    }
}

/// Becomes the root of a user namespace that was entered: until then the process is a user of the node, whose files it
/// could still change.
pub(crate) fn become_inner_root() -> Result<(), Errno> {
    raw(child::become_user(0, 0, &[]))
}

/// Becomes another user; capabilities are kept, an operation of their own sets them.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    raw(child::keep_capabilities())?;
    raw(child::become_user(uid, gid, groups))
}

/// Gives a user the pipes that are its standard descriptors: else it could write to them and not open `/dev/stdout`, whose
/// path leads to a pipe of root's.
pub(crate) fn give_pipes(stdio: &[BorrowedFd<'_>; 3], uid: u32) -> Result<(), Errno> {
    for pipe in stdio {
        // Nothing else is given away: a file or device may be somebody's.
        if FileType::from_raw_mode(rustix::fs::fstat(pipe)?.st_mode) == FileType::Fifo {
            rustix::fs::fchown(pipe, Some(Uid::from_raw(uid)), None)?;
        }
    }
    Ok(())
}

/// Checks that the working folder is inside the root: `/proc/self/fd/7` may lead out (CVE-2024-21626).
pub(crate) fn check_working_folder() -> Result<(), Errno> {
    if raw(child::stands_inside_root())? { Ok(()) } else { Err(Errno::XDEV) }
}

//! The part of the mount interface that rustix lacks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether the mounts below one are meant too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// They are.
    Included,
    /// They are not.
    Untouched,
}

/// Sets `MOUNT_ATTR_*` of a mount that a descriptor is open on. Allocates nothing.
///
/// # Errors
/// What mount_setattr(2) says; Linux 5.12.
pub fn set_attributes(mount: BorrowedFd<'_>, attributes: u64, below: Below) -> io::Result<()> {
    // Access times are one field of several bits: to set one way, the field must be cleared.
    let clear = if attributes & libc::MOUNT_ATTR__ATIME == 0 { 0 } else { libc::MOUNT_ATTR__ATIME };
    mount_setattr(mount, below, &attr(attributes, clear, 0))
}

/// Sets the propagation of a mount: `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or `MS_UNBINDABLE`. Allocates nothing.
///
/// # Errors
/// What mount_setattr(2) says; Linux 5.12.
pub fn set_propagation(mount: BorrowedFd<'_>, propagation: u64, below: Below) -> io::Result<()> {
    mount_setattr(mount, below, &attr(0, 0, propagation))
}

/// Shows owners through the mapping of a user namespace: of a mount that is mounted nowhere yet and has no mapping. Allocates
/// nothing.
///
/// # Errors
/// `EINVAL` where the file system can't: most could be told by Linux 5.12, tmpfs by 6.3. What mount_setattr(2) says.
pub fn map_ids(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(users.as_raw_fd()).unwrap_or(u64::MAX),
    };
    mount_setattr(mount, Below::Untouched, &attr)
}

fn attr(attr_set: u64, attr_clr: u64, propagation: u64) -> libc::mount_attr {
    libc::mount_attr { attr_set, attr_clr, propagation, userns_fd: 0 }
}

fn mount_setattr(mount: BorrowedFd<'_>, below: Below, attr: &libc::mount_attr) -> io::Result<()> {
    let recursive = match below {
        Below::Included => libc::AT_RECURSIVE,
        Below::Untouched => 0,
    };
    let flags = libc::AT_EMPTY_PATH | recursive;
    // SAFETY: the path is an empty string, `attr` a whole mount_attr of the size said, only read.
    // WHY: rustix has the rest of this interface but not this call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

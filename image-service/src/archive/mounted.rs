//! A root file system with the node's folders mounted in it, for work on the files of a container that does not run.
//!
//! Made in a mount namespace for a moment, and copied out of it as one tree that is mounted nowhere. The places of mounts are
//! looked up, and made, within the root, so that an image's links lead nowhere else.

use crate::error::Error;
use orlop_model::container::{Mount, MountAccess, MountDepth, RootfsAccess};
use orlop_sys::mount::{Below, set_attributes};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `MOUNT_ATTR_RDONLY` of mount_setattr(2).
const READ_ONLY: u64 = 0x1;

/// How a tree is copied: as a mount of its own.
const ALONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// The same with all that is mounted below.
const WITH_ALL_BELOW: OpenTreeFlags = ALONE.union(OpenTreeFlags::AT_RECURSIVE);

/// Mounts `mounts` in `rootfs`, a detached mount. `place` is a folder of the node that is of no use otherwise.
pub(crate) fn root(rootfs: OwnedFd, place: &Path, mounts: &[Mount], access: RootfsAccess) -> Result<OwnedFd, Error> {
    let doing = "assemble a root with its mounts";
    let close = |rootfs: BorrowedFd<'_>| match access {
        RootfsAccess::ReadOnly => read_only(rootfs, Below::Untouched),
        RootfsAccess::ReadWrite => Ok(()),
    };
    if mounts.is_empty() {
        close(rootfs.as_fd())?;
        return Ok(rootfs);
    }
    let assemble = || {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(rootfs.as_fd(), "", CWD, place, flags).map_err(Error::errno(doing))?;
        for mount in mounts {
            add(rootfs.as_fd(), mount)?;
        }
        // Only now: places of mounts may have had to be made.
        close(rootfs.as_fd())?;
        open_tree(CWD, place, WITH_ALL_BELOW).map_err(Error::errno(doing))
    };
    orlop_sys::mountns::apart(assemble).map_err(Error::io(doing))?
}

fn add(root: BorrowedFd<'_>, mount: &Mount) -> Result<(), Error> {
    let failed = |errno| Error::errno(format!("mount {:?} of the node at {:?}", mount.source, mount.target))(errno);
    let depth = match mount.depth {
        MountDepth::Whole => WITH_ALL_BELOW,
        MountDepth::Single => ALONE,
    };
    let source = open_tree(CWD, &mount.source, depth).map_err(failed)?;
    match mount.access {
        MountAccess::ReadWrite => {}
        MountAccess::ReadOnly => read_only(source.as_fd(), Below::Untouched)?,
        MountAccess::ReadOnlyRecursive => read_only(source.as_fd(), Below::Included)?,
    }
    let kind = if is_folder(source.as_fd()).map_err(failed)? { Kind::Folder } else { Kind::File };
    let target = place(root, mount.target.as_os_str().as_bytes(), kind).map_err(failed)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(source.as_fd(), "", target.as_fd(), "", flags).map_err(failed)
}

/// Finds the place of a mount within the root; makes one that is not there, as the start would.
fn place(root: BorrowedFd<'_>, path: &[u8], kind: Kind) -> Result<OwnedFd, Errno> {
    match find(root, path) {
        Err(Errno::NOENT) => {}
        found => return found,
    }
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let slash = path.iter().rposition(|byte| *byte == b'/').ok_or(Errno::NOENT)?;
    let (above, name) = (&path[..slash.max(1)], &path[slash + 1..]);
    // As deep as the path has parts, which the kernel bounds.
    let folder = place(root, above, Kind::Folder)?;
    let made = match kind {
        Kind::Folder => mkdirat(&folder, name, Mode::from_raw_mode(0o755)),
        Kind::File => mknodat(&folder, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0),
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => find(root, path),
        Err(errno) => Err(errno),
    }
}

fn find(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// What is mounted: its place must be of the same kind.
#[derive(Clone, Copy)]
enum Kind {
    Folder,
    File,
}

fn is_folder(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(file)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn read_only(mount: BorrowedFd<'_>, below: Below) -> Result<(), Error> {
    set_attributes(mount, READ_ONLY, below).map_err(Error::io("make a mount read-only"))
}

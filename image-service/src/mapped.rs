//! Root file systems for users of a user namespace.
//!
//! Layers are shared by all, and shown through mounts of their own that map the owners of files: nothing is copied or changed.
//! The writable layer holds ids of the node, since overlayfs itself writes to it as the node's root, who is nobody in such a
//! mount. mount_setattr(2) "ID-mapped mounts"; overlayfs takes them as layers since Linux 5.19.

use crate::error::Error;
use crate::merge;
use crate::record::Look;
use orlop_model::sandbox::IdMapping;
use orlop_sys::mount::map_ids;
use orlop_sys::users::{Mapping, create};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Ids to try with.
pub(crate) const ANY: IdMapping = IdMapping { inside: 0, node: 65_536, count: 65_536 };

/// Makes a user namespace for the mapping alone.
pub(crate) fn users(ids: IdMapping) -> Result<OwnedFd, Error> {
    let mapping = Mapping { inside: ids.inside, outside: ids.node, count: ids.count };
    create(mapping).map_err(Error::io(format!("make a user namespace with ids {}", mapping.line())))
}

/// Gives the root of a writable layer, so far with the image's owner, to that owner's id on the node. Quiet when it has it.
pub(crate) fn give(upper: &Path, ids: IdMapping) -> Result<(), Error> {
    let doing = || format!("give {upper:?} to users of a user namespace");
    let found = std::fs::symlink_metadata(upper).map_err(Error::io(doing()))?;
    let given = |id: u32| id.checked_sub(ids.node).is_some_and(|at| at < ids.count);
    let (Some(uid), Some(gid)) = (ids.to_node(found.uid()), ids.to_node(found.gid())) else {
        // It has been given, or is of an owner who is nobody inside.
        return Ok(());
    };
    if given(found.uid()) && given(found.gid()) {
        return Ok(());
    }
    let look = Look { mode: found.mode() & 0o7777, uid, gid };
    merge::describe(upper, look).map_err(Error::errno(doing()))
}

/// Opens a layer's folder through a mount of its own, at no path, that maps owners.
pub(crate) fn open(path: &Path, users: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let mount = open_tree(rustix::fs::CWD, path, flags)?;
    map_ids(mount.as_fd(), users).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(mount)
}

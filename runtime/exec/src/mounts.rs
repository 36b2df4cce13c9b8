//! Operations that build the file system tree. Runs in the child.
//!
//! Everything is mounted by descriptor: `move_mount` with two empty paths.

use crate::kernel::raw;
use crate::resolve::{Make, Target, is_proc};
use orlop_sys::mount::{Below, map_ids, set_attributes, set_propagation};
use orlop_wire::plan::BindIds;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount,
};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Attributes of the empty folder that hides another.
const MASK_ATTRIBUTES: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// A new file system, ready to be made.
#[derive(Debug)]
pub(crate) struct NewMount {
    /// Its folder must be where it is written, as for `/proc`, `/sys` and `/dev`: were it a link, what is hidden in it and
    /// made in it would be elsewhere (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579).
    pub(crate) plain: bool,
    /// Its root has the permission bits of the folder that it covers, if there is one: `/tmp` stays everybody's.
    pub(crate) takes_mode: bool,
    pub(crate) fstype: CString,
    pub(crate) source: CString,
    pub(crate) options: Vec<(CString, Option<CString>)>,
    pub(crate) attributes: u64,
    pub(crate) target: Target,
}

/// How a mount of the node is mounted inside.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) recursive: Below,
    pub(crate) attributes: u64,
    pub(crate) attributes_recursive: Below,
    pub(crate) propagation: u64,
    pub(crate) ids: BindIds,
    pub(crate) target: Target,
}

/// A device node.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) target: Target,
    pub(crate) mode: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Sets the propagation of every mount of this namespace.
pub(crate) fn set_all_propagation(flags: u32) -> Result<(), Errno> {
    mount_change(c"/", MountPropagationFlags::from_bits_retain(flags) | MountPropagationFlags::REC)
}

/// Mounts the root file system where `pivot_root` can take it from: over `/`. The process's own root stays below it, so
/// that absolute paths keep their meaning until then; bind sources are open by now, as `..` would lead into it.
///
/// Whoever made it may have it shared; what is mounted on it from here on is the container's alone.
pub(crate) fn attach_root(mount: BorrowedFd<'_>, attributes: u64) -> Result<(), Errno> {
    raw(set_propagation(mount, libc::MS_PRIVATE, Below::Included))?;
    if attributes != 0 {
        raw(set_attributes(mount, attributes, Below::Untouched))?;
    }
    attach(mount, open_root()?.as_fd())
}

/// Makes the attached root the root, and drops the old one.
pub(crate) fn pivot(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let old = open_root()?;
    rustix::process::fchdir(root)?;
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, at the same place.
    rustix::process::pivot_root(c".", c".")?;
    // Stand in the old root: "." would be the new one, whose mounts must keep their propagation.
    rustix::process::fchdir(&old)?;
    // Else dropping the old root would be seen on the node where its mounts are shared.
    mount_change(c".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

fn open_root() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(c"/", flags, Mode::empty())
}

/// Makes a file system and mounts it at a folder.
pub(crate) fn mount_new(root: BorrowedFd<'_>, new: &NewMount) -> Result<(), Errno> {
    let mode = if new.takes_mode { mode_of(present(new.target.open(root))?)? } else { None };
    let mount = make_file_system(&new.fstype, &new.source, &new.options, mode.as_ref(), new.attributes)?;
    let target =
        if new.plain { new.target.open_or_make_plain(root)? } else { new.target.open_or_make(root, Make::Folder)? };
    cover(mount.as_fd(), &target, &new.target)
}

/// Permission bits in octal digits, with a null byte behind them.
struct ModeText([u8; 5]);

/// Returns the permission bits of what was there, ready for an option.
fn mode_of(found: Option<OwnedFd>) -> Result<Option<ModeText>, Errno> {
    let Some(found) = found else { return Ok(None) };
    let mode = rustix::fs::fstat(found)?.st_mode;
    let digit = |shift: u32| b'0' + (mode >> shift & 7) as u8;
    Ok(Some(ModeText([digit(9), digit(6), digit(3), digit(0), 0])))
}

impl ModeText {
    fn text(&self) -> Result<&CStr, Errno> {
        CStr::from_bytes_with_nul(&self.0).map_err(|_| Errno::INVAL)
    }
}

/// Makes a file system as a detached mount.
fn make_file_system(
    fstype: &CStr,
    source: &CStr,
    options: &[(CString, Option<CString>)],
    mode: Option<&ModeText>,
    attributes: u64,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"source", source)?;
    for (name, value) in options {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), name.as_c_str(), value.as_c_str())?,
            None => fsconfig_set_flag(context.as_fd(), name.as_c_str())?,
        }
    }
    if let Some(mode) = mode {
        fsconfig_set_string(context.as_fd(), c"mode", mode.text()?)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = u32::try_from(attributes).map_err(|_| Errno::INVAL)?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(attributes))
}

/// Makes an empty folder that nothing can be put into, mounted nowhere.
pub(crate) fn empty() -> Result<OwnedFd, Errno> {
    make_file_system(c"tmpfs", c"tmpfs", &[], None, MASK_ATTRIBUTES)
}

/// Opens a path of the node as a detached copy of its mount.
///
/// Copied before the propagation of this namespace changes: what is shared on the node is shared with the copy, and the
/// bind's own propagation then says whether it stays so.
pub(crate) fn open_source(path: &CStr, recursive: Below) -> Result<OwnedFd, Errno> {
    open_tree(rustix::fs::CWD, path, copy_flags(recursive))
}

/// Copies the mount that a descriptor is open on, from there down.
pub(crate) fn copy(mount: BorrowedFd<'_>, recursive: Below) -> Result<OwnedFd, Errno> {
    open_tree(mount, c"", copy_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)
}

/// Shows the owners of a detached mount through the mapping of a user namespace, as its bind asks for.
pub(crate) fn map(mount: BorrowedFd<'_>, bind: &Bind, users: BorrowedFd<'_>) -> Result<(), Errno> {
    match bind.ids {
        BindIds::AsOnNode => Ok(()),
        BindIds::Mapped => raw(map_ids(mount, users)),
        BindIds::MappedIfPossible => match raw(map_ids(mount, users)) {
            // The file system can't, or the mount has a mapping already.
            Err(Errno::INVAL | Errno::PERM) => Ok(()),
            other => other,
        },
    }
}

fn copy_flags(recursive: Below) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match recursive {
        Below::Included => flags | OpenTreeFlags::AT_RECURSIVE,
        Below::Untouched => flags,
    }
}

/// Mounts a detached mount inside.
pub(crate) fn bind(root: BorrowedFd<'_>, mount: BorrowedFd<'_>, bind: &Bind) -> Result<(), Errno> {
    if bind.propagation != 0 {
        raw(set_propagation(mount, bind.propagation, bind.recursive))?;
    }
    if bind.attributes != 0 {
        raw(set_attributes(mount, bind.attributes, bind.attributes_recursive))?;
    }
    let make = if is_folder(mount)? { Make::Folder } else { Make::File };
    let target = bind.target.open_or_make(root, make)?;
    cover(mount, &target, &bind.target)
}

/// Mounts on a target. On a proc file system only where the path says so, which the planner has checked: a link of the
/// image that leads there would fake what the kernel says (CVE-2019-16884).
fn cover(mount: BorrowedFd<'_>, target: &OwnedFd, path: &Target) -> Result<(), Errno> {
    if is_proc(target)? && !path.is_below("proc") {
        return Err(Errno::PERM);
    }
    attach(mount, target.as_fd())
}

/// Mounts a file that is open at a target too, which is made when missing.
pub(crate) fn cover_file(file: BorrowedFd<'_>, root: BorrowedFd<'_>, path: &Target) -> Result<(), Errno> {
    let target = path.open_or_make(root, Make::File)?;
    cover(copy(file, Below::Untouched)?.as_fd(), &target, path)
}

/// Makes a device node; one with the same numbers may be there.
pub(crate) fn make_device(root: BorrowedFd<'_>, device: &Device) -> Result<(), Errno> {
    let number = rustix::fs::makedev(device.major, device.minor);
    let kind = FileType::from_raw_mode(device.mode);
    device.target.in_folder(root, |folder, name| {
        match rustix::fs::mknodat(folder, name, kind, Mode::from_raw_mode(device.mode & 0o7777), number) {
            Ok(()) => {
                let owner = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
                rustix::fs::chownat(folder, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
            }
            Err(Errno::EXIST) => {
                let found = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let same = FileType::from_raw_mode(found.st_mode) == kind && found.st_rdev == number;
                if same { Ok(()) } else { Err(Errno::EXIST) }
            }
            Err(errno) => Err(errno),
        }
    })
}

/// Makes a symbolic link; anything that is there is kept.
pub(crate) fn make_link(root: BorrowedFd<'_>, to: &CStr, target: &Target) -> Result<(), Errno> {
    target.in_folder(root, |folder, name| match rustix::fs::symlinkat(to, folder, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    })
}

/// Hides a path. `null` is a target for `/dev/null`.
pub(crate) fn mask(root: BorrowedFd<'_>, target: &Target, null: &Target) -> Result<(), Errno> {
    let Some(hidden) = present(target.open(root))? else {
        return Ok(());
    };
    let cover =
        if is_folder(hidden.as_fd())? { empty()? } else { copy(open_null(root, null)?.as_fd(), Below::Untouched)? };
    attach(cover.as_fd(), hidden.as_fd())
}

/// Opens `/dev/null` inside, and checks that it is what it says: an image or a volume may have put anything there
/// (CVE-2025-31133).
fn open_null(root: BorrowedFd<'_>, null: &Target) -> Result<OwnedFd, Errno> {
    let opened = null.open(root)?;
    let found = rustix::fs::fstat(&opened)?;
    let genuine = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && found.st_rdev == rustix::fs::makedev(1, 3);
    if genuine { Ok(opened) } else { Err(Errno::NODEV) }
}

/// Makes a path read-only.
pub(crate) fn make_readonly(root: BorrowedFd<'_>, target: &Target) -> Result<(), Errno> {
    let Some(found) = present(target.open(root))? else {
        return Ok(());
    };
    let copy = copy(found.as_fd(), Below::Included)?;
    raw(set_attributes(copy.as_fd(), libc::MOUNT_ATTR_RDONLY, Below::Included))?;
    attach(copy.as_fd(), found.as_fd())
}

/// Makes the root mount read-only; what is mounted below stays as it is.
pub(crate) fn make_root_readonly(root: BorrowedFd<'_>) -> Result<(), Errno> {
    raw(set_attributes(root, libc::MOUNT_ATTR_RDONLY, Below::Untouched))
}

/// Attaches a detached mount on top of what `target` is open on.
fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// Passes over what is not there.
fn present(opened: Result<OwnedFd, Errno>) -> Result<Option<OwnedFd>, Errno> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn is_folder(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

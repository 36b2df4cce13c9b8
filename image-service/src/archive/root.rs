//! The root of a container, by descriptor: paths are resolved within it by the kernel alone.

use super::cleaned::Path;
use crate::error::Error;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How often a path is resolved again while something in it is being moved: the kernel refuses what it can't be sure of.
const TRIES_MAX: usize = 128;

/// File systems that show the kernel, not files: statfs(2). Whoever reads or writes there acts on the node.
const KERNEL_FILE_SYSTEMS: [u64; 17] = [
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0x6265_6570, // configfs
    0xde5e_81e4, // efivarfs
    0x4249_4e4d, // binfmt_misc
    0x6e73_6673, // nsfs
    0x1980_0202, // mqueue
    0x0000_1cd1, // devpts
    0xf97c_ff8c, // selinux
    0x6573_5543, // the control files of FUSE
];

/// A container's root.
pub(super) struct Root(OwnedFd);

/// What becomes of a link at a path's end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It is what is meant, unless the path ends with a slash.
    Itself,
    /// It is followed.
    Followed,
}

// === impl Root ===

impl Root {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    /// Finds what a path names, without opening it.
    pub(super) fn open(&self, path: &Path, last: Last) -> Result<OwnedFd, Error> {
        self.find(&path.for_kernel(), last).map_err(|errno| of_path(&path.for_kernel(), errno))
    }

    /// The same for a path as the kernel takes it.
    pub(super) fn find(&self, path: &[u8], last: Last) -> Result<OwnedFd, Errno> {
        let follow = match last {
            Last::Itself => OFlags::NOFOLLOW,
            Last::Followed => OFlags::empty(),
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        within(self.0.as_fd(), path, OFlags::PATH | follow, resolve)
    }
}

/// Opens a path below a folder; no link on the way is followed.
pub(super) fn open_below(folder: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    within(folder, if path.is_empty() { b"." } else { path }, flags | OFlags::NOFOLLOW, resolve)
}

fn within(folder: BorrowedFd<'_>, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    for _ in 0..TRIES_MAX {
        match rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens for good what was found and looked at: exactly that, wherever its name leads by now.
pub(super) fn reopen(found: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    // A number of ours, in our own proc: nothing of the container is in this path.
    rustix::fs::open(itself(found), flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())
}

/// Sets the mode of what was found, which may be anything but a link.
pub(super) fn set_mode(found: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    rustix::fs::chmodat(CWD, itself(found), Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
}

fn itself(found: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", found.as_raw_fd())
}

/// Returns the path of what was found, as its container sees it.
pub(super) fn path_of(found: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(CWD, itself(found), Vec::new())?.into_bytes())
}

/// Says whether a folder or file is of the kernel's own file systems.
pub(super) fn is_kernels(found: BorrowedFd<'_>) -> Result<bool, Errno> {
    let kind = rustix::fs::fstatfs(found)?.f_type;
    // The field's type differs between machines; the numbers are of 32 bits.
    Ok(KERNEL_FILE_SYSTEMS.contains(&(kind as u64 & 0xffff_ffff)))
}

/// Refuses the kernel's own file systems.
pub(super) fn refuse_kernels(found: BorrowedFd<'_>, path: &[u8]) -> Result<(), Error> {
    if is_kernels(found).map_err(|errno| of_path(path, errno))? {
        let why = "it is in a file system of the kernel, such as /proc or /sys, which holds no files".to_owned();
        return Err(Error::Forbidden { path: shown_from_root(path), why });
    }
    Ok(())
}

pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Returns a path as the kernel takes it as its container has it, for messages.
fn shown_from_root(path: &[u8]) -> String {
    let path = path.strip_suffix(b".").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    super::pack::shown(&[b"/", path.strip_prefix(b"/").unwrap_or(path)].concat())
}

/// Says what it means that a path could not be resolved.
pub(super) fn of_path(path: &[u8], errno: Errno) -> Error {
    let shown = shown_from_root(path);
    match errno {
        Errno::NOENT | Errno::NOTDIR => Error::Missing { what: format!("there is no {shown} in the container") },
        Errno::LOOP => Error::BadPath { path: shown, why: "it has too many links, or one of the kernel's".to_owned() },
        Errno::NAMETOOLONG => Error::BadPath { path: shown, why: "it is longer than any path".to_owned() },
        _ => Error::errno(format!("look at {shown} in the container"))(errno),
    }
}

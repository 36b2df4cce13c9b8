//! The folder that a layer is unpacked into, walked only beneath its root.
//!
//! Nobody else changes the tree meanwhile; what must not happen is that the archive leads us out of it. So each step names
//! one component, folders are opened beneath the root without following anything, and links are followed here, by hand,
//! starting again at the layer's root.

use super::{ApplyError, shown};
use crate::tar::Modified;
use orlop_sys::remove_tree::remove_tree;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Links followed on the way to one member; the kernel's own bound.
const LINKS_MAX: usize = 40;

/// Bytes of folder names kept while a layer is applied. Every folder is remembered to the end, when its time is set.
const REMEMBERED_BYTES_MAX: usize = 64 << 20;

/// Marks a folder that hides those below it. Kernel, filesystems/overlayfs.rst "whiteouts and opaque directories".
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// A folder reached from the root.
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    /// Its path without links.
    pub(super) path: Vec<u8>,
}

/// What is known about a folder of the layer.
#[derive(Default)]
struct Folder {
    /// A member of its own says what it is like; without one it is only there to hold others.
    explicit: bool,
    modified: Option<Modified>,
}

/// What to do about folders that are missing on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Fail,
}

/// What stands at a name.
pub(super) enum Standing {
    Nothing,
    Whiteout,
    Folder,
    Other(Stat),
}

pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    folders: BTreeMap<Vec<u8>, Folder>,
    remembered_bytes: usize,
    /// The last parent and what it was asked for as: members of one folder follow each other.
    last: Option<(Vec<u8>, Place)>,
    pub(super) made_folders: u64,
}

// === impl Tree ===

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, folders: BTreeMap::new(), remembered_bytes: 0, last: None, made_folders: 0 }
    }

    /// Opens a folder by a path without links.
    pub(super) fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { b"." } else { path };
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(self.root, path, flags, Mode::empty(), resolve)
    }

    /// Returns the folder that a member is in.
    pub(super) fn parent(&mut self, parent: &[&[u8]], missing: Missing) -> Result<&Place, ApplyError> {
        let asked = parent.join(&b'/');
        let known = self.last.as_ref().is_some_and(|(last, _)| *last == asked);
        if !known {
            let place = self.walk(parent, missing)?;
            self.last = Some((asked, place));
        }
        let (_, place) = self.last.as_ref().expect("set above or found there");
        Ok(place)
    }

    fn walk(&mut self, parent: &[&[u8]], missing: Missing) -> Result<Place, ApplyError> {
        let asked = parent.join(&b'/');
        let mut left: VecDeque<Vec<u8>> = parent.iter().map(|part| part.to_vec()).collect();
        let mut path: Vec<u8> = Vec::new();
        let mut folder = self.open(&path, OFlags::PATH).map_err(ApplyError::write(&asked, "open its folder"))?;
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    // As with chroot: above the root there is the root.
                    path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                    folder = self.open(&path, OFlags::PATH).map_err(ApplyError::write(&asked, "open its folder"))?;
                    continue;
                }
                _ => {}
            }
            let next = joined(&path, &name);
            match standing(folder.as_fd(), &name).map_err(ApplyError::write(&next, "look at it"))? {
                Standing::Folder => {}
                Standing::Nothing | Standing::Whiteout if missing == Missing::Fail => {
                    return Err(ApplyError::refused(&asked, "it is not in this layer"));
                }
                Standing::Nothing => self.make_folder(folder.as_fd(), &name, &next, 0o755)?,
                Standing::Whiteout => {
                    self.remove(folder.as_fd(), &name, &next)?;
                    self.make_folder(folder.as_fd(), &name, &next, 0o755)?;
                    self.hide_lower(&next)?;
                }
                Standing::Other(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(ApplyError::refused(&asked, "its path has too many links"));
                    }
                    let target = rustix::fs::readlinkat(&folder, name.as_slice(), Vec::new())
                        .map_err(ApplyError::write(&next, "read link"))?;
                    if target.to_bytes().starts_with(b"/") {
                        path.clear();
                        folder =
                            self.open(&path, OFlags::PATH).map_err(ApplyError::write(&asked, "open its folder"))?;
                    }
                    for part in target.to_bytes().split(|byte| *byte == b'/').rev() {
                        left.push_front(part.to_vec());
                    }
                    continue;
                }
                Standing::Other(_) => {
                    return Err(ApplyError::refused(&asked, format!("{} on its way is not a folder", shown(&next))));
                }
            }
            path = next;
            folder = self.open(&path, OFlags::PATH).map_err(ApplyError::write(&asked, "open its folder"))?;
        }
        Ok(Place { folder, path })
    }

    /// Makes a folder that holds others; a member of its own may follow.
    pub(super) fn make_folder(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        mode: u32,
    ) -> Result<(), ApplyError> {
        rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(ApplyError::write(path, "make folder"))?;
        // Again, since the process's umask had a say.
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(ApplyError::write(path, "set mode"))?;
        self.made_folders += 1;
        self.remembered_bytes += path.len() + size_of::<Folder>() + size_of::<Vec<u8>>();
        if self.remembered_bytes > REMEMBERED_BYTES_MAX {
            return Err(ApplyError::TooMuch("it has more folders than can be kept track of".to_owned()));
        }
        self.folders.insert(path.to_vec(), Folder::default());
        Ok(())
    }

    /// Notes that a member says what a folder is like.
    pub(super) fn describe(&mut self, path: &[u8], modified: Modified) {
        let folder = self.folders.entry(path.to_vec()).or_default();
        folder.explicit = true;
        folder.modified = Some(modified);
    }

    /// Removes whatever stands at a name.
    pub(super) fn remove(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), ApplyError> {
        let name = CString::new(name).map_err(|_| ApplyError::refused(path, "its path holds a zero byte"))?;
        remove_tree(parent, &name, self.root, &mut || Ok(()))
            .map_err(ApplyError::write(path, "remove what it replaces"))?;
        self.folders.remove(path);
        let below = [path, b"/"].concat();
        let gone: Vec<_> = self
            .folders
            .range(below.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in gone {
            self.folders.remove(&path);
        }
        // The remembered parent may have been in it, or reached through it.
        self.last = None;
        Ok(())
    }

    /// Makes a folder hide what lower layers have at its place. Whiteouts in it have nothing left to hide and must go:
    /// the kernel would show them where only one layer has the folder.
    pub(super) fn hide_lower(&self, path: &[u8]) -> Result<(), ApplyError> {
        let failed = |doing: &'static str| ApplyError::write(path, doing);
        let folder = self.open(path, OFlags::RDONLY).map_err(failed("open folder"))?;
        if is_opaque(folder.as_fd()).map_err(failed("look whether it is opaque"))? {
            return Ok(());
        }
        rustix::fs::fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty()).map_err(failed("make it opaque"))?;
        let entries = rustix::fs::Dir::read_from(&folder).map_err(failed("read folder"))?;
        let mut whiteouts = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("read folder"))?;
            if entry.file_type() == FileType::CharacterDevice {
                whiteouts.push(entry.file_name().to_owned());
            }
        }
        for name in whiteouts {
            if matches!(standing(folder.as_fd(), name.to_bytes()), Ok(Standing::Whiteout)) {
                rustix::fs::unlinkat(&folder, &name, AtFlags::empty()).map_err(failed("remove whiteout"))?;
            }
        }
        Ok(())
    }

    /// Sets the folders' times, now that nothing changes in them any more, and returns those that no member described.
    pub(super) fn finish(self) -> Result<Vec<Vec<u8>>, ApplyError> {
        let mut implicit = Vec::new();
        for (path, folder) in &self.folders {
            if let Some(modified) = folder.modified {
                let opened = self.open(path, OFlags::RDONLY).map_err(ApplyError::write(path, "open folder"))?;
                rustix::fs::futimens(&opened, &times(modified)).map_err(ApplyError::write(path, "set time"))?;
            }
            if !folder.explicit {
                implicit.push(path.clone());
            }
        }
        Ok(implicit)
    }
}

/// Says what stands at a name, links not followed.
pub(super) fn standing(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Standing, Errno> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Standing::Nothing),
        Err(error) => return Err(error),
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        return Ok(Standing::Folder);
    }
    if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
        return Ok(Standing::Whiteout);
    }
    Ok(Standing::Other(stat))
}

/// Says whether a folder hides those below it.
pub(crate) fn is_opaque(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut value = [0; 2];
    match rustix::fs::fgetxattr(folder, OPAQUE, &mut value) {
        Ok(length) => Ok(value.get(..length) == Some(b"y")),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts a name behind a path.
pub(super) fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// Makes the kernel's form of a time; access is given the same.
pub(crate) fn times(modified: Modified) -> Timestamps {
    let time = Timespec { tv_sec: modified.seconds, tv_nsec: i64::from(modified.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

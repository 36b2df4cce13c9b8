//! What a container has changed of its image's files: its writable layer compared with the layers below.
//!
//! The writable layer may change while it is looked at, and whoever changes it is hostile: folders are opened one below the
//! other, by descriptors, and no link is followed.

use crate::apply::is_opaque;
use crate::error::Error;
use crate::store::Shared;
use orlop_model::ContainerId;
use orlop_model::files::{ChangeKind, FileChange};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Changes of one container that are told.
const CHANGES_MAX: usize = 1_000_000;
/// Deepest level that is looked at: each takes descriptors. Trees of real programs have some fifty.
const DEPTH_MAX: usize = 256;
/// Bits of a mode that are a file's own.
const MODE_BITS: u32 = 0o7777;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

// === impl Shared ===

impl Shared {
    /// Compares a container's writable layer with its image, in the order of paths.
    pub(crate) fn changes(&self, id: &ContainerId) -> Result<Vec<FileChange>, Error> {
        let record = self.container(id)?;
        let lowers: Vec<PathBuf> = record.stack.iter().rev().map(|layer| self.disk.layer(layer).join("fs")).collect();
        let upper = self.disk.container(id).join("upper");
        compare(&upper, &lowers).map_err(|wrong| match wrong {
            Wrong::TooMany => {
                Error::too_large(format!("the changes of container {id}"), format!("there are more than {CHANGES_MAX}"))
            }
            Wrong::Kernel(errno) => Error::errno(format!("compare the files of container {id} with its image"))(errno),
        })
    }
}

/// Why a comparison came to nothing.
enum Wrong {
    TooMany,
    Kernel(Errno),
}

impl From<Errno> for Wrong {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

/// A folder of the writable layer, being read.
struct Open {
    folder: Dir,
    path: PathBuf,
}

fn compare(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<FileChange>, Wrong> {
    let root = rustix::fs::open(upper, FOLDER, Mode::empty())?;
    let mut open = vec![Open { folder: Dir::new(root)?, path: PathBuf::from("/") }];
    let mut changes = Vec::new();
    while let Some(here) = open.last_mut() {
        let Some(entry) = here.folder.read() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let folder = here.folder.fd()?;
        let found = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Gone meanwhile.
            Err(Errno::NOENT) => continue,
            found => found?,
        };
        let path = here.path.join(OsStr::from_bytes(name.to_bytes()));
        let below = below(lowers, &path)?;
        if let Some(kind) = kind(&found, below.as_ref()) {
            if changes.len() == CHANGES_MAX {
                return Err(Wrong::TooMany);
            }
            changes.push(FileChange { path: path.clone(), kind });
        }
        if is_folder(&found) {
            match rustix::fs::openat(folder, name, FOLDER, Mode::empty()) {
                Ok(folder) if open.len() < DEPTH_MAX => open.push(Open { folder: Dir::new(folder)?, path }),
                // Gone meanwhile, or something else by now.
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(changes)
}

/// Returns what became of a path; nothing when the layer only has it because of what is below it.
fn kind(found: &Stat, below: Option<&Stat>) -> Option<ChangeKind> {
    match below {
        None if is_whiteout(found) => None,
        Some(_) if is_whiteout(found) => Some(ChangeKind::Deleted),
        None => Some(ChangeKind::Added),
        Some(below) if is_folder(found) && is_folder(below) => {
            let same = (found.st_mode & MODE_BITS, found.st_uid, found.st_gid)
                == (below.st_mode & MODE_BITS, below.st_uid, below.st_gid);
            (!same).then_some(ChangeKind::Modified)
        }
        Some(_) => Some(ChangeKind::Modified),
    }
}

/// Finds a path in the layers of the image, top first, as overlayfs would.
fn below(lowers: &[PathBuf], path: &Path) -> Result<Option<Stat>, Errno> {
    for lower in lowers {
        match in_layer(lower, path)? {
            InLayer::There(stat) => return Ok(Some(*stat)),
            InLayer::Hidden => return Ok(None),
            InLayer::Unknown => {}
        }
    }
    Ok(None)
}

/// What one layer says of a path.
enum InLayer {
    /// It is there.
    There(Box<Stat>),
    /// It is not, whatever the layers below have.
    Hidden,
    /// Nothing.
    Unknown,
}

fn in_layer(lower: &Path, path: &Path) -> Result<InLayer, Errno> {
    let mut folder: OwnedFd = rustix::fs::openat(CWD, lower, FOLDER, Mode::empty())?;
    let mut hides = is_opaque(folder.as_fd())?;
    let mut parts = path.strip_prefix("/").unwrap_or(path).iter().peekable();
    while let Some(name) = parts.next() {
        let stat = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if hides => return Ok(InLayer::Hidden),
            Err(Errno::NOENT) => return Ok(InLayer::Unknown),
            Err(errno) => return Err(errno),
        };
        if is_whiteout(&stat) {
            return Ok(InLayer::Hidden);
        }
        if parts.peek().is_none() {
            return Ok(InLayer::There(Box::new(stat)));
        }
        if !is_folder(&stat) {
            return Ok(InLayer::Hidden);
        }
        folder = rustix::fs::openat(&folder, name, FOLDER, Mode::empty())?;
        hides |= is_opaque(folder.as_fd())?;
    }
    Ok(InLayer::Unknown)
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Says whether it stands for something that is gone. Kernel, filesystems/overlayfs.rst.
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn whiteout(path: &Path) {
        rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    #[test]
    fn what_is_added_changed_and_deleted_is_told_and_what_is_only_on_the_way_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| temp.path().join(path);
        for folder in
            ["upper/dir/new", "upper/only-mode", "upper/swapped", "top/dir", "base/dir", "base/only-mode", "base/old"]
        {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in [
            "upper/dir/kept",
            "upper/dir/new/file",
            "base/dir/kept",
            "base/dir/gone",
            "base/swapped",
            "top/over",
            "base/old/x",
        ] {
            fs::write(at(file), "").unwrap();
        }
        whiteout(&at("upper/dir/gone"));
        // Hidden by the layer between: new again, and gone from there already.
        whiteout(&at("top/old"));
        fs::create_dir_all(at("upper/old")).unwrap();
        fs::write(at("upper/old/x"), "").unwrap();
        whiteout(&at("upper/nothing"));
        fs::set_permissions(at("upper/only-mode"), PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("/", at("upper/link")).unwrap();
        let Ok(changes) = compare(&at("upper"), &[at("top"), at("base")]) else { panic!("they can be compared") };
        let seen: Vec<_> = changes.iter().map(|change| (change.path.to_str().unwrap(), change.kind)).collect();
        use ChangeKind::{Added, Deleted, Modified};
        assert_eq!(
            seen,
            [
                ("/dir/gone", Deleted),
                ("/dir/kept", Modified),
                ("/dir/new", Added),
                ("/dir/new/file", Added),
                ("/link", Added),
                ("/old", Added),
                ("/old/x", Added),
                ("/only-mode", Modified),
                ("/swapped", Modified),
            ]
        );
    }
}

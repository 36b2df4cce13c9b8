//! Applies one layer, a tar stream, to an empty folder. Knows nothing but the stream and the folder's descriptor.
//!
//! Layers are stored apart from those below them and stacked by overlayfs, so what a layer removes is written in
//! overlayfs's own form: a character device 0:0 for a name, an attribute for a whole folder. Kept free of all other state,
//! so that it can run in a process without privileges that receives the stream. image-spec, layer.md.
//!
//! Invariant: nothing outside of the folder is opened, changed or linked to, whatever the archive says.

mod path;
mod tree;

pub(crate) use path::components;
pub(crate) use tree::{is_opaque, times};

use crate::tar::{Archive, Entry, Kind, PourError, TarError};
use path::{Meaning, Target};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tree::{Missing, Standing, Tree, joined, standing};

/// Members of one layer. The largest known images have some hundred thousand files in all.
const ENTRIES_MAX: u64 = 2_000_000;

/// Bytes moved at once from the stream to a file: few calls, and still within the processor's cache.
const COPY_BYTES: usize = 128 << 10;

/// The unit in which file systems hand out space, for usage figures.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// Attributes that are taken over. Others belong to this node, not to the image: `trusted.overlay.*` would let a layer
/// redirect overlayfs, security labels follow the node's policy.
const ATTRIBUTES: [&[u8]; 3] = [b"user.", b"security.capability", b"system.posix_acl_"];

/// Longest part of an untrusted path that a message repeats.
const SHOWN_CHARS_MAX: usize = 200;

/// Why a layer can't be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The archive can't be read.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A member asks for what no layer may.
    #[error("entry {path}: {why}")]
    Refused { path: String, why: String },
    /// A member asks for what is not supported.
    #[error("entry {path}: {why}")]
    Unsupported { path: String, why: String },
    /// A bound was reached.
    #[error("{0}")]
    TooMuch(String),
    /// The kernel refused.
    #[error("entry {path}: {doing}")]
    Write {
        path: String,
        doing: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// What a layer turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Space it takes, rounded up to blocks.
    pub(crate) bytes: u64,
    /// Inodes it takes.
    pub(crate) inodes: u64,
    /// Folders that are only there because something is in them. What they are like is up to the layers below.
    pub(crate) implicit: Vec<Vec<u8>>,
    /// Whether a member describes the root itself.
    pub(crate) describes_root: bool,
}

/// Applies the archive in `input` to the empty folder `root`. Reads to the archive's end, not to the stream's.
pub(crate) fn apply(input: &mut dyn Read, root: BorrowedFd<'_>) -> Result<Applied, ApplyError> {
    let mut layer = Layer {
        archive: Archive::new(input),
        tree: Tree::new(root),
        applied: Applied::default(),
        buffer: vec![0; COPY_BYTES],
    };
    let mut entries = 0;
    while let Some(entry) = layer.archive.next()? {
        entries += 1;
        if entries > ENTRIES_MAX {
            return Err(ApplyError::TooMuch(format!("it has more than {ENTRIES_MAX} entries")));
        }
        layer.take(&entry)?;
    }
    let Layer { tree, mut applied, .. } = layer;
    applied.inodes += tree.made_folders + 1;
    applied.bytes += (tree.made_folders + 1) * BLOCK_BYTES;
    applied.implicit = tree.finish()?;
    Ok(applied)
}

struct Layer<'a> {
    archive: Archive<'a>,
    tree: Tree<'a>,
    applied: Applied,
    buffer: Vec<u8>,
}

// === impl Layer ===

impl Layer<'_> {
    fn take(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        match path::meaning(&entry.path).map_err(|why| ApplyError::refused(&entry.path, why))? {
            Meaning::Skip => Ok(()),
            Meaning::Root => self.root(entry),
            Meaning::Opaque(folder) => {
                let path = self.tree.parent(&folder, Missing::Make)?.path.clone();
                self.tree.hide_lower(&path)
            }
            Meaning::Whiteout(target) => self.whiteout(&target),
            Meaning::Entry(target) => match entry.kind {
                Kind::Directory => self.directory(&target, entry),
                Kind::HardLink => self.hard_link(&target, entry),
                Kind::File | Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                    self.node(&target, entry)
                }
            },
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if entry.kind != Kind::Directory {
            return Err(ApplyError::refused(&entry.path, "the root of a layer must be a folder"));
        }
        self.applied.describes_root = true;
        self.describe(b"", entry)
    }

    fn directory(&mut self, target: &Target<'_>, entry: &Entry) -> Result<(), ApplyError> {
        let (parent, path) = self.place(target)?;
        let there = standing(parent.as_fd(), target.name).map_err(ApplyError::write(&path, "look at it"))?;
        let hides = matches!(there, Standing::Whiteout);
        if !matches!(there, Standing::Folder) {
            self.clear(&there, parent.as_fd(), target.name, &path)?;
            self.tree.make_folder(parent.as_fd(), target.name, &path, 0o700)?;
        }
        if hides {
            self.tree.hide_lower(&path)?;
        }
        self.describe(&path, entry)
    }

    fn describe(&mut self, path: &[u8], entry: &Entry) -> Result<(), ApplyError> {
        let folder = self.tree.open(path, OFlags::RDONLY).map_err(ApplyError::write(path, "open folder"))?;
        describe_open(folder.as_fd(), path, entry)?;
        self.tree.describe(path, entry.modified);
        Ok(())
    }

    fn whiteout(&mut self, target: &Target<'_>) -> Result<(), ApplyError> {
        let (parent, path) = self.place(target)?;
        let failed = |doing: &'static str| ApplyError::write(&path, doing);
        match standing(parent.as_fd(), target.name).map_err(failed("look at it"))? {
            // A whiteout speaks of lower layers only: what this layer has stays, without what lower ones have there.
            Standing::Folder => self.tree.hide_lower(&path),
            Standing::Whiteout | Standing::Other(_) => Ok(()),
            Standing::Nothing => {
                let above = path.len().saturating_sub(target.name.len() + 1);
                let folder = self.tree.open(&path[..above], OFlags::RDONLY).map_err(failed("open folder"))?;
                if is_opaque(folder.as_fd()).map_err(failed("look whether it is opaque"))? {
                    return Ok(());
                }
                rustix::fs::mknodat(&folder, target.name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(failed("make whiteout"))?;
                self.applied.inodes += 1;
                Ok(())
            }
        }
    }

    fn hard_link(&mut self, target: &Target<'_>, entry: &Entry) -> Result<(), ApplyError> {
        let refused = |why: &str| ApplyError::refused(&entry.path, why);
        let mut to_parent = path::components(&entry.link).map_err(|why| refused(&format!("its link target: {why}")))?;
        let to_name = to_parent.pop().ok_or_else(|| refused("it is a hard link to the root"))?;
        let not_here = || {
            let why = format!(
                "it is a hard link to {}, which this layer does not have; links into lower layers are not supported",
                shown(&entry.link)
            );
            ApplyError::Unsupported { path: shown(&entry.path), why }
        };
        let to = match self.tree.parent(&to_parent, Missing::Fail) {
            Ok(place) => {
                place.folder.try_clone().map_err(|error| ApplyError::io(&entry.path, "keep a folder", error))?
            }
            Err(ApplyError::Refused { .. }) => return Err(not_here()),
            Err(error) => return Err(error),
        };
        let original = match standing(to.as_fd(), to_name).map_err(ApplyError::write(&entry.link, "look at it"))? {
            Standing::Nothing | Standing::Whiteout => return Err(not_here()),
            Standing::Folder => return Err(refused("it is a hard link to a folder")),
            Standing::Other(stat) => stat,
        };
        let (parent, path) = self.place(target)?;
        let there = standing(parent.as_fd(), target.name).map_err(ApplyError::write(&path, "look at it"))?;
        if let Standing::Other(stat) = &there
            && stat.st_ino == original.st_ino
        {
            return Ok(());
        }
        self.clear(&there, parent.as_fd(), target.name, &path)?;
        // Neither name is followed if it is a link itself; what a link is like is up to the first name, not to this member.
        rustix::fs::linkat(&to, to_name, &parent, target.name, AtFlags::empty())
            .map_err(ApplyError::write(&path, "make hard link"))
    }

    fn node(&mut self, target: &Target<'_>, entry: &Entry) -> Result<(), ApplyError> {
        let (parent, path) = self.place(target)?;
        let there = standing(parent.as_fd(), target.name).map_err(ApplyError::write(&path, "look at it"))?;
        self.clear(&there, parent.as_fd(), target.name, &path)?;
        self.applied.inodes += 1;
        let failed = |doing: &'static str| ApplyError::write(&path, doing);
        match entry.kind {
            Kind::File => return self.file(parent.as_fd(), target.name, &path, entry),
            Kind::Symlink => {
                if entry.link.is_empty() {
                    return Err(ApplyError::refused(&entry.path, "it is a symbolic link to nothing"));
                }
                rustix::fs::symlinkat(entry.link.as_slice(), &parent, target.name).map_err(failed("make link"))?;
            }
            Kind::CharDevice => self.device(parent.as_fd(), target.name, entry, FileType::CharacterDevice)?,
            Kind::BlockDevice => self.device(parent.as_fd(), target.name, entry, FileType::BlockDevice)?,
            Kind::Fifo => self.device(parent.as_fd(), target.name, entry, FileType::Fifo)?,
            Kind::Directory | Kind::HardLink => unreachable!("take() sends these elsewhere"),
        }
        let (uid, gid) = owner(entry, &path)?;
        rustix::fs::chownat(&parent, target.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("set owner"))?;
        if entry.kind != Kind::Symlink {
            // Follows links, but what stands here was made three lines ago and is none.
            rustix::fs::chmodat(&parent, target.name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(failed("set mode"))?;
        }
        rustix::fs::utimensat(&parent, target.name, &times(entry.modified), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set time"))
    }

    fn device(&self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry, kind: FileType) -> Result<(), ApplyError> {
        let numbers = if kind == FileType::Fifo { (0, 0) } else { entry.device };
        if kind == FileType::CharacterDevice && numbers == (0, 0) {
            let why = "it is a character device 0:0, which overlayfs takes for a whiteout";
            return Err(ApplyError::refused(&entry.path, why));
        }
        let device = rustix::fs::makedev(numbers.0, numbers.1);
        rustix::fs::mknodat(parent, name, kind, Mode::empty(), device)
            .map_err(ApplyError::write(&entry.path, "make device"))
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8], entry: &Entry) -> Result<(), ApplyError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(ApplyError::write(path, "make file"))?;
        self.archive.pour(&mut self.buffer, file.as_fd()).map_err(|error| match error {
            PourError::Read(error) => ApplyError::Tar(error),
            PourError::Write(errno) => ApplyError::write(path, "write file")(errno),
        })?;
        self.applied.bytes += entry.size.next_multiple_of(BLOCK_BYTES);
        describe_open(file.as_fd(), path, entry)?;
        rustix::fs::futimens(&file, &times(entry.modified)).map_err(ApplyError::write(path, "set time"))
    }

    /// Returns the folder of a member, made where missing, and the member's path without links.
    fn place(&mut self, target: &Target<'_>) -> Result<(OwnedFd, Vec<u8>), ApplyError> {
        let place = self.tree.parent(&target.parent, Missing::Make)?;
        let path = joined(&place.path, target.name);
        let folder = place.folder.try_clone().map_err(|error| ApplyError::io(&path, "keep a folder", error))?;
        Ok((folder, path))
    }

    /// Makes room at a name: the later of two members with one name counts.
    fn clear(&mut self, there: &Standing, parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), ApplyError> {
        match there {
            Standing::Nothing => Ok(()),
            Standing::Whiteout | Standing::Folder | Standing::Other(_) => self.tree.remove(parent, name, path),
        }
    }
}

/// Sets owner, mode and attributes of an open file or folder. In this order: a change of owner takes away setuid bits and
/// capabilities.
pub(crate) fn describe_open(file: BorrowedFd<'_>, path: &[u8], entry: &Entry) -> Result<(), ApplyError> {
    let (uid, gid) = owner(entry, path)?;
    rustix::fs::fchown(file, uid, gid).map_err(ApplyError::write(path, "set owner"))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(ApplyError::write(path, "set mode"))?;
    for (name, value) in &entry.attributes {
        if !ATTRIBUTES.iter().any(|known| name.starts_with(known)) {
            continue;
        }
        match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            // A file system without this kind of attribute: programs of the image must live without it elsewhere, too.
            Err(Errno::OPNOTSUPP) if !name.starts_with(b"security.") => {}
            Err(Errno::INVAL) => {
                let why = format!("the value of its attribute {} is not valid", shown(name));
                return Err(ApplyError::refused(path, why));
            }
            Err(error) => return Err(ApplyError::write(path, "set attribute")(error)),
        }
    }
    Ok(())
}

/// The highest number means "leave as it is" to the kernel, and is nobody's.
fn owner(entry: &Entry, path: &[u8]) -> Result<(Option<Uid>, Option<Gid>), ApplyError> {
    if entry.uid == u32::MAX || entry.gid == u32::MAX {
        return Err(ApplyError::refused(path, "its owner is not a valid number"));
    }
    Ok((Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))))
}

/// Returns an untrusted path as it may stand in a message.
pub(super) fn shown(path: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(path).chars().take(SHOWN_CHARS_MAX).collect();
    format!("{text:?}")
}

// === impl ApplyError ===

impl ApplyError {
    fn refused(path: &[u8], why: impl Into<String>) -> Self {
        Self::Refused { path: shown(path), why: why.into() }
    }

    fn write(path: &[u8], doing: &'static str) -> impl FnOnce(Errno) -> Self {
        move |error| Self::Write { path: shown(path), doing, source: error.into() }
    }

    fn io(path: &[u8], doing: &'static str, source: std::io::Error) -> Self {
        Self::Write { path: shown(path), doing, source }
    }
}

#[cfg(test)]
mod tests;

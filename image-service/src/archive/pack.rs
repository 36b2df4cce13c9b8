//! Packs what a path names.
//!
//! Folders are read one at a time and their inner folders wait by path, so that no depth of nesting uses up descriptors.
//! What changes meanwhile is packed as it is found; what has gone is left out.

use super::cleaned::Path;
use super::pipe::Sink;
use super::root::{is_kernels, open_below, reopen};
use super::stat::kind_of;
use crate::apply::is_opaque;
use crate::error::Error;
use crate::tar::{Entry, Kind, Modified, writer};
use orlop_model::files::FileKind;
use rustix::fs::{Dir, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes moved at once from a file to the archive.
const COPY_BYTES: usize = 128 << 10;

/// Files with several names of which the first is remembered; of those beyond, each name is packed as a file of its own.
const LINKED_MAX: usize = 100_000;

/// Bytes of paths of folders that wait to be read. A container that nests and fans out more must be packed in parts.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Characters of an untrusted path that a message repeats.
const SHOWN_CHARS_MAX: usize = 200;

/// The one attribute that goes along: what else a file has belongs to its file system.
const CAPABILITY: &str = "security.capability";

/// Bytes of that attribute's largest form. capabilities(7).
const CAPABILITY_BYTES_MAX: usize = 64;

/// Packs what was found at `path` into `end`.
pub(super) fn pack(from: OwnedFd, path: &Path, end: OwnedFd) -> Result<(), Error> {
    Packer::new(from, path.name(), end, Whiteouts::AsFiles).whole()
}

/// Packs a writable layer: what it hides is told as archives of layers tell it. image-spec, layer.md.
pub(super) fn pack_layer(upper: OwnedFd, end: OwnedFd) -> Result<(), Error> {
    Packer::new(upper, b".", end, Whiteouts::AsNames).whole()
}

/// How what overlayfs keeps of deleted files is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whiteouts {
    /// As the files that they are.
    AsFiles,
    /// As names of files that say it.
    AsNames,
}

/// Begins the names that say that a file is hidden.
const HIDES: &[u8] = b".wh.";
/// Says that all is hidden that is in the folder below.
const HIDES_ALL: &[u8] = b".wh..wh..opq";

/// Returns an untrusted path as it may stand in a message.
pub(super) fn shown(path: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(path).chars().take(SHOWN_CHARS_MAX).collect();
    format!("{text:?}")
}

struct Packer {
    top: OwnedFd,
    /// What the top is called in the archive.
    name: Vec<u8>,
    out: BufWriter<Sink>,
    /// The first name of files that have several, by device and inode.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Folders to be read, by their path below the top.
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
    buffer: Vec<u8>,
    whiteouts: Whiteouts,
}

// === impl Packer ===

impl Packer {
    fn new(top: OwnedFd, name: &[u8], end: OwnedFd, whiteouts: Whiteouts) -> Self {
        Self {
            top,
            name: name.to_vec(),
            out: BufWriter::with_capacity(COPY_BYTES, Sink(end)),
            linked: HashMap::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            buffer: vec![0; COPY_BYTES],
            whiteouts,
        }
    }

    fn whole(mut self) -> Result<(), Error> {
        self.all()?;
        self.write(&writer::END)?;
        self.out.flush().map_err(gone)
    }

    /// Tells that something hides a file of the layers below; returns whether it does.
    fn hides(&mut self, stat: &Stat, path: &[u8]) -> Result<bool, Error> {
        let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (folder, name) = path.split_at(at);
        if name.starts_with(HIDES) {
            let why = "a name that begins with .wh. stands for a deleted file in a layer".to_owned();
            return Err(Error::BadPath { path: shown(path), why });
        }
        let is_whiteout = kind_of(stat) == Some(FileKind::CharDevice) && stat.st_rdev == 0;
        if is_whiteout {
            self.say(&[folder, HIDES, name].concat(), stat)?;
        }
        Ok(is_whiteout)
    }

    /// Writes an empty file whose name says something.
    fn say(&mut self, path: &[u8], stat: &Stat) -> Result<(), Error> {
        let entry = Entry { path: self.archived(path), kind: Kind::File, size: 0, device: (0, 0), ..of(stat) };
        self.write(&writer::head(&entry))
    }

    fn all(&mut self) -> Result<(), Error> {
        let top = self.top.try_clone().map_err(Error::io("keep hold of what is packed"))?;
        self.one(top.as_fd(), b"")?;
        while let Some(path) = self.waiting.pop() {
            self.waiting_bytes -= path.len();
            self.folder(&path)?;
        }
        Ok(())
    }

    /// Packs what is in a folder.
    fn folder(&mut self, path: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::errno(format!("read folder {}", shown(path)))(errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match open_below(self.top.as_fd(), path, flags) {
            Ok(folder) => folder,
            Err(errno) if has_changed(errno) => return Ok(()),
            Err(errno) => return Err(failed(errno)),
        };
        // Something may have been mounted there by now.
        if is_kernels(folder.as_fd()).map_err(failed)? {
            return Ok(());
        }
        // The root of a layer is merged with those below whatever it says.
        if self.whiteouts == Whiteouts::AsNames && !path.is_empty() && is_opaque(folder.as_fd()).map_err(failed)? {
            let stat = rustix::fs::fstat(&folder).map_err(failed)?;
            self.say(&[path, b"/", HIDES_ALL].concat(), &stat)?;
        }
        for entry in Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let inner = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
            match open_below(folder.as_fd(), name, OFlags::PATH) {
                Ok(found) => self.one(found.as_fd(), &inner)?,
                Err(errno) if has_changed(errno) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    /// Packs one thing, found at a path below the top; what is in a folder waits.
    fn one(&mut self, found: BorrowedFd<'_>, path: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::errno(format!("look at {}", shown(path)))(errno);
        let stat = rustix::fs::fstat(found).map_err(failed)?;
        if self.whiteouts == Whiteouts::AsNames && self.hides(&stat, path)? {
            return Ok(());
        }
        let mut entry = Entry { path: self.archived(path), ..of(&stat) };
        match kind_of(&stat) {
            Some(FileKind::Folder) => {
                entry.kind = Kind::Directory;
                if !entry.path.ends_with(b"/") {
                    entry.path.push(b'/');
                }
                self.write(&writer::head(&entry))?;
                if is_kernels(found).map_err(failed)? { Ok(()) } else { self.wait(path) }
            }
            Some(FileKind::File) => self.file(found, &stat, entry),
            Some(FileKind::Symlink) => {
                entry.kind = Kind::Symlink;
                entry.link = rustix::fs::readlinkat(found, "", Vec::new()).map_err(failed)?.into_bytes();
                self.write(&writer::head(&entry))
            }
            Some(FileKind::CharDevice) => self.write(&writer::head(&Entry { kind: Kind::CharDevice, ..entry })),
            Some(FileKind::BlockDevice) => self.write(&writer::head(&Entry { kind: Kind::BlockDevice, ..entry })),
            Some(FileKind::Fifo) => self.write(&writer::head(&Entry { kind: Kind::Fifo, ..entry })),
            // A socket is nothing without who listens on it, and tar knows none.
            Some(FileKind::Socket) | None => Ok(()),
        }
    }

    fn file(&mut self, found: BorrowedFd<'_>, stat: &Stat, mut entry: Entry) -> Result<(), Error> {
        let name = entry.path.clone();
        let failed = |errno| Error::errno(format!("read {}", shown(&name)))(errno);
        // A single file that was asked for can be one of the kernel's; those in folders are not come by.
        super::root::refuse_kernels(found, &name)?;
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&inode) {
                entry.link = first.clone();
                return self.write(&writer::head(&Entry { kind: Kind::HardLink, ..entry }));
            }
            if self.linked.len() < LINKED_MAX {
                self.linked.insert(inode, name.clone());
            }
        }
        let file = reopen(found, OFlags::RDONLY).map_err(failed)?;
        let mut capability = [0; CAPABILITY_BYTES_MAX];
        if let Ok(length) = rustix::fs::fgetxattr(&file, CAPABILITY, &mut capability)
            && let Some(value) = capability.get(..length).filter(|value| !value.is_empty())
        {
            entry.attributes.push((CAPABILITY.as_bytes().to_vec(), value.to_vec()));
        }
        entry.size = u64::try_from(stat.st_size).unwrap_or_default();
        self.write(&writer::head(&entry))?;
        self.data(&file, entry.size).map_err(|wrong| match wrong {
            Wrong::Read(errno) => failed(errno),
            Wrong::Write(error) => gone(error),
        })
    }

    /// Writes exactly `size` bytes: a file that grows is cut, one that shrinks is filled up with zeros.
    fn data(&mut self, file: &OwnedFd, size: u64) -> Result<(), Wrong> {
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = match rustix::io::read(file, &mut self.buffer[..want]) {
                Ok(0) => {
                    self.buffer[..want].fill(0);
                    want
                }
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Wrong::Read(errno)),
            };
            self.out.write_all(&self.buffer[..count]).map_err(Wrong::Write)?;
            left -= count as u64;
        }
        let zeros = [0; 512];
        self.out.write_all(&zeros[..writer::padding(size)]).map_err(Wrong::Write)
    }

    fn wait(&mut self, path: &[u8]) -> Result<(), Error> {
        self.waiting_bytes += path.len();
        if self.waiting_bytes > WAITING_BYTES_MAX {
            let why = "it has more folders than can be kept track of; pack its parts one by one".to_owned();
            return Err(Error::TooLarge { what: shown(&self.name), why });
        }
        self.waiting.push(path.to_vec());
        Ok(())
    }

    /// Returns a path as it stands in the archive: below the top's own name.
    fn archived(&self, path: &[u8]) -> Vec<u8> {
        match (self.name.as_slice(), path) {
            (name, b"") => name.to_vec(),
            (b"/", path) => [b"/", path].concat(),
            (name, path) => [name, b"/", path].concat(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(gone)
    }
}

enum Wrong {
    Read(Errno),
    Write(std::io::Error),
}

/// Whoever reads the archive has gone, or stood still for too long.
fn gone(_: std::io::Error) -> Error {
    Error::Cancelled { what: "the archive: nobody reads it any more, so that it".to_owned() }
}

/// Says whether what was listed is something else by now.
fn has_changed(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

fn of(stat: &Stat) -> Entry {
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Entry {
        path: Vec::new(),
        link: Vec::new(),
        kind: Kind::File,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: Modified { seconds: stat.st_mtime, nanoseconds: 0 },
        size: 0,
        device,
        attributes: Vec::new(),
    }
}

//! Unpacks an archive into a folder of a container.
//!
//! Each member's folder is found within the root anew, unless it is that of the member before; its name is then made in
//! that folder, never through a link, and what was made is described by its descriptor.

use super::cleaned::Path;
use super::pack::shown;
use super::pipe::Source;
use super::root::{Last, Root, is_folder, of_path, refuse_kernels, set_mode};
use crate::apply::{components, describe_open, times};
use crate::error::Error;
use crate::tar::{Archive, Entry, Kind, Modified, PourError, TarError};
use flate2::bufread::MultiGzDecoder;
use orlop_model::files::{Overwrite, Unpack};
use orlop_sys::remove_tree::remove_tree;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes read from the client at once, and moved at once to a file.
const COPY_BYTES: usize = 128 << 10;

/// Members of one archive.
const MEMBERS_MAX: u64 = 2_000_000;

/// Folders whose time is set at the end; those beyond keep the time of their last change.
const FOLDERS_MAX: usize = 100_000;

/// How compressed archives that are not understood begin.
const COMPRESSED: [(&[u8], &str); 3] =
    [(b"BZh", "bzip2"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"), (&[0x28, 0xb5, 0x2f, 0xfd], "zstd")];

/// Unpacks an archive.
pub(super) fn unpack(root: &Root, wanted: Unpack) -> Result<(), Error> {
    use std::os::unix::ffi::OsStrExt;
    let to = Path::parse(wanted.to.as_os_str().as_bytes())?;
    let found = root.open(&to, Last::Followed)?;
    let stat = rustix::fs::fstat(&found).map_err(|errno| of_path(&to.for_kernel(), errno))?;
    if !is_folder(&stat) {
        let why = "extraction point is not a directory".to_owned();
        return Err(Error::BadPath { path: shown(&to.for_kernel()), why });
    }
    refuse_kernels(found.as_fd(), &to.for_kernel())?;
    let mut input = BufReader::with_capacity(COPY_BYTES, Source(wanted.archive));
    let start = input.fill_buf().map_err(Error::io("read the archive"))?;
    if let Some((_, name)) = COMPRESSED.iter().find(|(magic, _)| start.starts_with(magic)) {
        let why = format!("it is compressed with {name}; only gzip and plain tar are supported");
        return Err(Error::unsupported("the archive", why));
    }
    // No archive starts so: its first bytes are a name.
    let is_gzip = start.starts_with(&[0x1f, 0x8b]);
    let mut gzip;
    let stream: &mut dyn Read = if is_gzip {
        gzip = MultiGzDecoder::new(input);
        &mut gzip
    } else {
        &mut input
    };
    let mut unpacker = Unpacker {
        root,
        to,
        archive: Archive::new(&mut *stream),
        overwrite: wanted.overwrite,
        owner: wanted.owner,
        last: None,
        folders: BTreeMap::new(),
        buffer: vec![0; COPY_BYTES],
    };
    unpacker.all()?;
    // What follows the end, so that whoever sends it can finish.
    std::io::copy(stream, &mut std::io::sink()).map(drop).map_err(Error::io("read what follows the archive"))
}

struct Unpacker<'a> {
    root: &'a Root,
    /// Where everything goes.
    to: Path,
    archive: Archive<'a>,
    overwrite: Overwrite,
    owner: Option<(u32, u32)>,
    /// The folder of the last member and its path: members of one folder follow each other.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Times of folders, by path; set when nothing is put into them any more.
    folders: BTreeMap<Vec<u8>, Modified>,
    buffer: Vec<u8>,
}

/// What stands where a member goes.
enum Standing {
    Nothing,
    Folder,
    Other,
}

// === impl Unpacker ===

impl Unpacker<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let mut members = 0;
        while let Some(mut entry) = self.archive.next().map_err(of_tar)? {
            members += 1;
            if members > MEMBERS_MAX {
                return Err(Error::too_large("the archive", format!("it has more than {MEMBERS_MAX} members")));
            }
            if let Some((uid, gid)) = self.owner {
                (entry.uid, entry.gid) = (uid, gid);
            }
            self.take(&entry)?;
        }
        for (path, modified) in std::mem::take(&mut self.folders) {
            // A container may have taken it away meanwhile: no matter.
            if let Ok(folder) = self.root.find(&path, Last::Itself)
                && refuse_kernels(folder.as_fd(), &path).is_ok()
            {
                let _ = super::root::reopen(folder.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)
                    .and_then(|folder| rustix::fs::futimens(&folder, &times(modified)));
            }
        }
        Ok(())
    }

    fn take(&mut self, entry: &Entry) -> Result<(), Error> {
        let mut parts = components(&entry.path).map_err(|why| refused(&entry.path, why))?;
        // The folder itself, as archives of "." have it: what it is like stays the container's business.
        let Some(name) = parts.pop() else { return Ok(()) };
        let folder = self.folder(&parts)?;
        let standing = self.make_room(folder.as_fd(), name, entry)?;
        match entry.kind {
            Kind::Directory => {
                self.directory(folder.as_fd(), name, entry, &standing)?;
                if self.folders.len() < FOLDERS_MAX {
                    self.folders.insert(self.to.below(&[&parts[..], &[name]].concat()), entry.modified);
                }
                Ok(())
            }
            Kind::File => self.file(folder.as_fd(), name, entry),
            Kind::HardLink => self.hard_link(folder.as_fd(), name, entry),
            Kind::Symlink => symlink(folder.as_fd(), name, entry),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => node(folder.as_fd(), name, entry),
        }
    }

    /// Returns the folder of a member, made where missing.
    fn folder(&mut self, parts: &[&[u8]]) -> Result<OwnedFd, Error> {
        let path = self.to.below(parts);
        if let Some((last, folder)) = &self.last
            && *last == path
        {
            return folder.try_clone().map_err(Error::io("keep hold of a folder"));
        }
        let folder = match self.root.find(&path, Last::Followed) {
            Err(Errno::NOENT) => self.make_folders(parts)?,
            found => found.map_err(|errno| of_path(&path, errno))?,
        };
        refuse_kernels(folder.as_fd(), &path)?;
        self.last = Some((path, folder.try_clone().map_err(Error::io("keep hold of a folder"))?));
        Ok(folder)
    }

    fn make_folders(&self, parts: &[&[u8]]) -> Result<OwnedFd, Error> {
        let path = |count: usize| self.to.below(&parts[..count]);
        let mut folder = self.root.find(&path(0), Last::Followed).map_err(|errno| of_path(&path(0), errno))?;
        for (at, name) in parts.iter().enumerate() {
            let path = path(at + 1);
            folder = match self.root.find(&path, Last::Followed) {
                Err(Errno::NOENT) => {
                    refuse_kernels(folder.as_fd(), &path)?;
                    match rustix::fs::mkdirat(&folder, *name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(failed(&path, "make folder", errno)),
                    }
                    self.root.find(&path, Last::Followed).map_err(|errno| of_path(&path, errno))?
                }
                found => found.map_err(|errno| of_path(&path, errno))?,
            };
        }
        Ok(folder)
    }

    /// Takes away what a member takes the place of; a folder that stays one stays.
    fn make_room(&mut self, folder: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<Standing, Error> {
        let there = standing(folder, name).map_err(|errno| failed(&entry.path, "look at", errno))?;
        let (is, becomes) = match (&there, entry.kind) {
            (Standing::Nothing, _) | (Standing::Folder, Kind::Directory) => return Ok(there),
            (Standing::Folder, _) => ("directory", "non-directory"),
            (Standing::Other, Kind::Directory) => ("non-directory", "directory"),
            (Standing::Other, _) => ("", ""),
        };
        match self.overwrite {
            Overwrite::SameKind if is != becomes => {
                let path = shown(&entry.path);
                return Err(refused(&entry.path, format!("cannot overwrite {is} {path} with {becomes} {path}")));
            }
            Overwrite::SameKind | Overwrite::AnyKind => {}
        }
        let name = CString::new(name).map_err(|_| refused(&entry.path, "its path holds a zero byte"))?;
        // A folder that something is mounted on, or in, is not emptied: the kernel refuses to move or remove it.
        remove_tree(folder, &name, folder, &mut || Ok(()))
            .map_err(|errno| failed(&entry.path, "take away what is in the place of", errno))?;
        self.last = None;
        Ok(Standing::Nothing)
    }

    fn directory(&self, folder: BorrowedFd<'_>, name: &[u8], entry: &Entry, standing: &Standing) -> Result<(), Error> {
        match standing {
            Standing::Folder => {}
            Standing::Nothing | Standing::Other => rustix::fs::mkdirat(folder, name, Mode::RWXU)
                .map_err(|errno| failed(&entry.path, "make folder", errno))?,
        }
        let made = open_name(folder, name, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|errno| failed(&entry.path, "open folder", errno))?;
        refuse_kernels(made.as_fd(), &entry.path)?;
        describe_open(made.as_fd(), &entry.path, entry).map_err(of_describing)
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| failed(&entry.path, "make file", errno))?;
        self.archive.pour(&mut self.buffer, file.as_fd()).map_err(|error| match error {
            PourError::Read(error) => of_tar(error),
            PourError::Write(errno) => failed(&entry.path, "write", errno),
        })?;
        describe_open(file.as_fd(), &entry.path, entry).map_err(of_describing)?;
        rustix::fs::futimens(&file, &times(entry.modified))
            .map_err(|errno| failed(&entry.path, "set the time of", errno))
    }

    /// Links to another member, by its path in the archive.
    fn hard_link(&mut self, folder: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Error> {
        let mut parts = components(&entry.link).map_err(|why| refused(&entry.link, why))?;
        let to = parts.pop().ok_or_else(|| refused(&entry.path, "it is a hard link to the folder itself"))?;
        let path = self.to.below(&parts);
        let of = self.root.find(&path, Last::Followed).map_err(|errno| of_path(&path, errno))?;
        refuse_kernels(of.as_fd(), &path)?;
        // Neither name is followed if it is a link itself.
        rustix::fs::linkat(&of, to, folder, name, AtFlags::empty())
            .map_err(|errno| failed(&entry.path, "make hard link", errno))
    }
}

fn symlink(folder: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Error> {
    if entry.link.is_empty() {
        return Err(refused(&entry.path, "it is a symbolic link to nothing"));
    }
    let failed = |doing: &'static str| move |errno| failed(&entry.path, doing, errno);
    rustix::fs::symlinkat(entry.link.as_slice(), folder, name).map_err(failed("make link"))?;
    let (uid, gid) = owner(entry)?;
    rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("set the owner of"))?;
    rustix::fs::utimensat(folder, name, &times(entry.modified), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("set the time of"))
}

fn node(folder: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Error> {
    let (kind, numbers) = match entry.kind {
        Kind::CharDevice if entry.device == (0, 0) => {
            return Err(refused(&entry.path, "it is a character device 0:0, which overlayfs takes for a whiteout"));
        }
        Kind::CharDevice => (FileType::CharacterDevice, entry.device),
        Kind::BlockDevice => (FileType::BlockDevice, entry.device),
        Kind::Fifo => (FileType::Fifo, (0, 0)),
        Kind::File | Kind::HardLink | Kind::Symlink | Kind::Directory => unreachable!("take() sends these elsewhere"),
    };
    let failed = |doing: &'static str| move |errno| failed(&entry.path, doing, errno);
    let device = rustix::fs::makedev(numbers.0, numbers.1);
    rustix::fs::mknodat(folder, name, kind, Mode::empty(), device).map_err(failed("make device"))?;
    let made = open_name(folder, name, OFlags::PATH).map_err(failed("open"))?;
    let stat = rustix::fs::fstat(&made).map_err(failed("look at"))?;
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err(refused(&entry.path, "something else took its place while it was being made"));
    }
    let (uid, gid) = owner(entry)?;
    rustix::fs::chownat(&made, "", uid, gid, AtFlags::EMPTY_PATH).map_err(failed("set the owner of"))?;
    set_mode(made.as_fd(), entry.mode).map_err(failed("set the mode of"))
}

fn open_name(folder: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn standing(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Standing, Errno> {
    let look: Result<Stat, Errno> = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    match look {
        Ok(stat) if is_folder(&stat) => Ok(Standing::Folder),
        Ok(_) => Ok(Standing::Other),
        Err(Errno::NOENT) => Ok(Standing::Nothing),
        Err(errno) => Err(errno),
    }
}

fn owner(entry: &Entry) -> Result<(Option<Uid>, Option<Gid>), Error> {
    if entry.uid == u32::MAX || entry.gid == u32::MAX {
        return Err(refused(&entry.path, "its owner is not a valid number"));
    }
    Ok((Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))))
}

// === errors ===

fn refused(path: &[u8], why: impl Into<String>) -> Error {
    Error::BadPath { path: shown(path), why: why.into() }
}

fn failed(path: &[u8], doing: &'static str, errno: Errno) -> Error {
    match errno {
        Errno::ROFS => {
            let why = "the container's root, or what is mounted there, is read-only".to_owned();
            Error::Forbidden { path: shown(path), why }
        }
        _ => Error::errno(format!("{doing} {}", shown(path)))(errno),
    }
}

fn of_tar(error: TarError) -> Error {
    match error {
        TarError::Read(source) => Error::io("read the archive")(source),
        TarError::Truncated(_) | TarError::Malformed { .. } => Error::BadArchive { why: error.to_string() },
        TarError::Unsupported { .. } => Error::unsupported("the archive", error.to_string()),
    }
}

fn of_describing(error: crate::apply::ApplyError) -> Error {
    use crate::apply::ApplyError;
    match error {
        ApplyError::Tar(error) => of_tar(error),
        ApplyError::Refused { .. } | ApplyError::Unsupported { .. } | ApplyError::TooMuch(_) => {
            Error::BadArchive { why: error.to_string() }
        }
        ApplyError::Write { path, doing, source } => Error::Io { doing: format!("{doing} of {path}"), source },
    }
}

//! Says what a path names.

use super::cleaned::Path;
use super::root::{Last, Root, of_path, path_of};
use crate::error::Error;
use orlop_model::Timestamp;
use orlop_model::files::{FileKind, FileStat};
use rustix::fs::{FileType, Stat};
use std::os::fd::{AsFd, BorrowedFd};

/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;

/// Looks at a path.
pub(super) fn stat(root: &Root, path: &Path) -> Result<FileStat, Error> {
    let found = root.open(path, Last::Itself)?;
    let failed = |errno| of_path(&path.for_kernel(), errno);
    let stat = rustix::fs::fstat(&found).map_err(failed)?;
    let kind = kind_of(&stat).ok_or_else(|| failed(rustix::io::Errno::INVAL))?;
    let link_target = match kind {
        FileKind::Symlink => target(root, path, found.as_fd()).map_err(failed)?,
        FileKind::File | FileKind::Folder | FileKind::CharDevice => Vec::new(),
        FileKind::BlockDevice | FileKind::Fifo | FileKind::Socket => Vec::new(),
    };
    Ok(FileStat {
        name: path.name().to_vec(),
        kind,
        mode: stat.st_mode & 0o7777,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: modified(&stat),
        link_target,
    })
}

/// Returns where a link leads: to what is there when something is, otherwise to where its text says.
fn target(root: &Root, path: &Path, link: BorrowedFd<'_>) -> Result<Vec<u8>, rustix::io::Errno> {
    if let Ok(end) = root.find(&path.for_kernel(), Last::Followed) {
        return path_of(end.as_fd());
    }
    let text = rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes();
    if text.starts_with(b"/") {
        return Ok(text);
    }
    let folder = path.split().map_or(&b""[..], |(folder, _)| folder);
    let whole = [b"/", folder, b"/", &text].concat();
    let cleaned = Path::parse(&whole).map_err(|_| rustix::io::Errno::NAMETOOLONG)?;
    Ok([b"/", cleaned.for_kernel().as_slice()].concat())
}

/// Says what a file is; `None` for what no Linux has.
pub(super) fn kind_of(stat: &Stat) -> Option<FileKind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(FileKind::File),
        FileType::Directory => Some(FileKind::Folder),
        FileType::Symlink => Some(FileKind::Symlink),
        FileType::CharacterDevice => Some(FileKind::CharDevice),
        FileType::BlockDevice => Some(FileKind::BlockDevice),
        FileType::Fifo => Some(FileKind::Fifo),
        FileType::Socket => Some(FileKind::Socket),
        FileType::Unknown => None,
    }
}

fn modified(stat: &Stat) -> Timestamp {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Timestamp(stat.st_mtime.saturating_mul(SECOND_NS).saturating_add(nanoseconds))
}

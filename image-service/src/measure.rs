//! Counts what a folder and all below it take on disk.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Deepest level that is counted: each takes a descriptor, and a container must not use up the daemon's. What lies deeper is
/// left out. Trees of real programs have some fifty levels.
const DEPTH_MAX: usize = 256;
/// Files with several names that are remembered, so as to count them once; beyond it each name counts.
const LINKED_MAX: usize = 1 << 16;
/// The unit of `st_blocks`; stat(2).
const BLOCK_BYTES: u64 = 512;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes on disk.
    pub(crate) bytes: u64,
    /// Files, folders and all else.
    pub(crate) inodes: u64,
}

/// Counts a folder. Follows no link, and is quiet about what is deleted meanwhile.
pub(crate) fn measure(folder: &Path) -> Result<Size, Errno> {
    let mut count = Count { size: Size::default(), linked: HashSet::new() };
    let root = rustix::fs::open(folder, FOLDER, Mode::empty())?;
    count.add(&rustix::fs::fstat(&root)?);
    let mut open = vec![Dir::new(root)?];
    while let Some(here) = open.last_mut() {
        match here.read() {
            None => drop(open.pop()),
            Some(entry) => {
                let entry = entry?;
                if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    continue;
                }
                let below = count.entry(here.fd()?, entry.file_name())?;
                if let Some(below) = below.filter(|_| open.len() < DEPTH_MAX) {
                    open.push(Dir::new(below)?);
                }
            }
        }
    }
    Ok(count.size)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Count {
    size: Size,
    linked: HashSet<(u64, u64)>,
}

impl Count {
    /// Counts one entry; returns it when it is a folder.
    fn entry(&mut self, parent: rustix::fd::BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<Option<OwnedFd>, Errno> {
        let found = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.add(&found);
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return Ok(None);
        }
        match rustix::fs::openat(parent, name, FOLDER, Mode::empty()) {
            Ok(folder) => Ok(Some(folder)),
            // Deleted, or replaced by something else.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn add(&mut self, found: &rustix::fs::Stat) {
        let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        if found.st_nlink > 1 && !is_folder && self.linked.len() < LINKED_MAX {
            let is_new = self.linked.insert((found.st_dev, found.st_ino));
            if !is_new {
                return;
            }
        }
        self.size.inodes += 1;
        self.size.bytes += u64::try_from(found.st_blocks).unwrap_or(0) * BLOCK_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_once_however_many_names_they_have_and_links_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("upper");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        let outside = temp.path().join("outside");
        std::fs::write(&outside, vec![1; 1 << 20]).unwrap();
        let empty = measure(&root).unwrap();
        assert_eq!(empty.inodes, 3);
        std::fs::write(root.join("a/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(root.join("a/file"), root.join("a/b/again")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        std::os::unix::fs::symlink("/", root.join("a/b/root")).unwrap();
        let size = measure(&root).unwrap();
        assert_eq!(size.inodes, 6);
        let grown = size.bytes - empty.bytes;
        assert!((100_000..120_000).contains(&grown), "{grown}");
        assert_eq!(measure(&root.join("link")), Err(Errno::NOTDIR));
    }

    #[test]
    fn what_lies_deeper_than_we_look_is_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let mut folder = rustix::fs::open(temp.path(), OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..DEPTH_MAX + 10 {
            rustix::fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        assert_eq!(measure(temp.path()).unwrap().inodes, DEPTH_MAX as u64 + 1);
        // Deeper than the standard library would follow.
        let top = rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let fd = rustix::fd::AsFd::as_fd(&top);
        orlop_sys::remove_tree::remove_tree(fd, c"d", fd, &mut || Ok(())).unwrap();
    }
}

//! Paths inside the container, resolved beneath its root. Runs in the child.
//!
//! A link may point anywhere: openat2(2) with `RESOLVE_IN_ROOT` keeps it inside, `RESOLVE_NO_MAGICLINKS` refuses those of
//! `/proc`, which lead out. What is missing is made one name at a time in a folder that is held open.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Tries of openat2(2), which says EAGAIN when something was renamed meanwhile. Whoever renames for ever must not win time.
const TRIES_MAX: u32 = 128;
/// Mode of folders that are made on the way.
const FOLDER_MODE: u32 = 0o755;
/// Mode of a file that is made to be mounted on.
const FILE_MODE: u32 = 0o644;

/// A path inside the container, cut into pieces before the clone.
#[derive(Debug)]
pub(crate) struct Target {
    /// `.` is the root.
    whole: CString,
    /// For `a/b/c`: (`a`, `a`), (`a/b`, `b`), (`a/b/c`, `c`).
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    path: CString,
    name: CString,
}

/// What is made when there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    /// A folder.
    Folder,
    /// An empty file.
    File,
}

// === impl Target ===

impl Target {
    /// Cuts a path; `None` when it holds a null byte or its last name is `..`.
    pub(crate) fn new(path: &str) -> Option<Self> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        if names.last() == Some(&"..") {
            return None;
        }
        let text = |text: &str| CString::new(text).ok();
        let step = |end: usize| Some(Step { path: text(&names[..=end].join("/"))?, name: text(names[end])? });
        let steps = (0..names.len()).map(step).collect::<Option<Vec<_>>>()?;
        let whole = if names.is_empty() { text(".")? } else { text(&names.join("/"))? };
        Some(Self { whole, steps })
    }

    /// Opens it (`O_PATH`); ENOENT when it is not there.
    pub(crate) fn open(&self, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        beneath(root, &self.whole)
    }

    /// Opens it (`O_PATH`), and makes it and the folders on the way when missing.
    pub(crate) fn open_or_make(&self, root: BorrowedFd<'_>, make: Make) -> Result<OwnedFd, Errno> {
        match self.open(root) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let Some((last, parents)) = self.steps.split_last() else {
            return Err(Errno::NOENT);
        };
        let parent = make_folders(root, parents)?;
        let made = match make {
            Make::Folder => rustix::fs::mkdirat(&parent, &*last.name, Mode::from_raw_mode(FOLDER_MODE)),
            Make::File => make_file(parent.as_fd(), last),
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => self.open(root),
            Err(errno) => Err(errno),
        }
    }

    /// Opens its folder, made when missing, and calls `work` with it and the last name; EINVAL for the root itself.
    pub(crate) fn in_folder(
        &self,
        root: BorrowedFd<'_>,
        work: impl FnOnce(BorrowedFd<'_>, &std::ffi::CStr) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (last, parents) = self.steps.split_last().ok_or(Errno::INVAL)?;
        let folder = make_folders(root, parents)?;
        work(folder.as_fd(), &last.name)
    }
}

/// Opens the last of these folders, making what is missing. A link that points nowhere stays ENOENT.
fn make_folders(root: BorrowedFd<'_>, steps: &[Step]) -> Result<OwnedFd, Errno> {
    let Some(whole) = steps.last() else {
        return beneath(root, c".");
    };
    // Nearly always everything is there.
    match beneath(root, &whole.path) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let mut folder = beneath(root, c".")?;
    for step in steps {
        folder = match beneath(root, &step.path) {
            Err(Errno::NOENT) => match rustix::fs::mkdirat(&folder, &*step.name, Mode::from_raw_mode(FOLDER_MODE)) {
                Ok(()) | Err(Errno::EXIST) => beneath(root, &step.path)?,
                Err(errno) => return Err(errno),
            },
            other => other?,
        };
    }
    Ok(folder)
}

fn make_file(folder: BorrowedFd<'_>, step: &Step) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, &*step.name, flags, Mode::from_raw_mode(FILE_MODE)).map(drop)
}

/// Opens a path (`O_PATH`) beneath the root, links followed and kept inside.
fn beneath(root: BorrowedFd<'_>, path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES_MAX {
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::PathBuf;

    struct Root {
        path: PathBuf,
        fd: std::fs::File,
    }

    impl Root {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("orlop-exec-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            let fd = std::fs::File::open(&path).unwrap();
            Self { path, fd }
        }

        fn inode(&self, fd: OwnedFd, path: &str) -> bool {
            rustix::fs::fstat(&fd).unwrap().st_ino == std::fs::metadata(self.path.join(path)).unwrap().ino()
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }

    #[test]
    fn missing_parents_and_the_target_are_made() {
        let root = Root::new("parents");
        let fd = Target::new("/a//b/./c").unwrap().open_or_make(root.fd.as_fd(), Make::Folder).unwrap();
        assert!(root.inode(fd, "a/b/c"));
        let fd = Target::new("/a/b/file").unwrap().open_or_make(root.fd.as_fd(), Make::File).unwrap();
        assert!(root.inode(fd, "a/b/file"));
        assert!(root.path.join("a/b/file").is_file());
    }

    #[test]
    fn link_out_of_the_root_ends_inside_it() {
        let root = Root::new("links");
        std::fs::create_dir_all(root.path.join("tmp")).unwrap();
        for (link, to) in [("absolute", "/tmp"), ("relative", "../../../../tmp")] {
            symlink(to, root.path.join(link)).unwrap();
            let target = Target::new(&format!("/{link}/made")).unwrap();
            let fd = target.open_or_make(root.fd.as_fd(), Make::Folder).unwrap();
            assert!(root.inode(fd, "tmp/made"), "{link}");
        }
        assert!(!std::path::Path::new("/tmp/made").exists());
    }

    #[test]
    fn link_to_nowhere_is_not_followed_to_make_something() {
        let root = Root::new("dangling");
        symlink("/nowhere", root.path.join("link")).unwrap();
        let target = Target::new("/link/below").unwrap();
        assert_eq!(target.open_or_make(root.fd.as_fd(), Make::Folder).unwrap_err(), Errno::NOENT);
        let target = Target::new("/link").unwrap();
        assert_eq!(target.open_or_make(root.fd.as_fd(), Make::File).unwrap_err(), Errno::NOENT);
        assert!(!root.path.join("nowhere").exists());
    }

    #[test]
    fn magic_link_is_refused() {
        let proc = std::fs::File::open("/proc").unwrap();
        let target = Target::new("/self/root/tmp").unwrap();
        assert_eq!(target.open(proc.as_fd()).unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn path_that_can_not_be_a_target_is_refused() {
        assert!(Target::new("a\0b").is_none());
        assert!(Target::new("/a/..").is_none());
        let root = Root::new("self");
        assert!(root.inode(Target::new("/").unwrap().open(root.fd.as_fd()).unwrap(), "."));
    }
}

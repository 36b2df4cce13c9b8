//! Paths inside the container, resolved beneath its root. Runs in the child.
//!
//! A link may point anywhere: openat2(2) with `RESOLVE_IN_ROOT` keeps it inside, `RESOLVE_NO_MAGICLINKS` refuses those of
//! `/proc`, which lead out. What is missing is made one name at a time, in a folder that is held open, also where a link
//! points to what is not there yet: images have `/var/run -> /run` and no `/run`.

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Tries of openat2(2), which says EAGAIN when something was renamed meanwhile. Whoever renames for ever must not win time.
const TRIES_MAX: u32 = 128;
/// Links followed, and names found made by another, on the way to what has to be made: as many as the kernel follows.
const LINKS_MAX: u32 = 40;
/// Longest path, links followed included: `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4096;
/// Mode of folders that are made on the way.
const FOLDER_MODE: u32 = 0o755;
/// Mode of a file that is made to be mounted on.
const FILE_MODE: u32 = 0o644;

/// A path inside the container, checked before the clone.
#[derive(Debug)]
pub(crate) struct Target {
    /// Without a slash in front; `.` is the root.
    whole: CString,
    /// Its folder and its last name; `None` for the root and for what ends in `..`, which can't be made.
    last: Option<(CString, CString)>,
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
    /// Checks a path; `None` when it holds a null byte or is too long.
    pub(crate) fn new(path: &str) -> Option<Self> {
        if path.len() >= PATH_BYTES_MAX {
            return None;
        }
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        let joined =
            |names: &[&str]| CString::new(if names.is_empty() { ".".to_owned() } else { names.join("/") }).ok();
        let last = match names.split_last() {
            None | Some((&"..", _)) => None,
            Some((name, folder)) => Some((joined(folder)?, CString::new(*name).ok()?)),
        };
        Some(Self { whole: joined(&names)?, last })
    }

    /// Says whether it is written as a path in this folder of the root.
    pub(crate) fn is_below(&self, folder: &str) -> bool {
        let rest = self.whole.as_bytes().strip_prefix(folder.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Opens it (`O_PATH`); ENOENT when it is not there.
    pub(crate) fn open(&self, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        beneath(root, &self.whole, ResolveFlags::empty())
    }

    /// Opens it (`O_PATH`), and makes it and the folders on the way when missing.
    pub(crate) fn open_or_make(&self, root: BorrowedFd<'_>, make: Make) -> Result<OwnedFd, Errno> {
        open_or_make(root, &self.whole, make)
    }

    /// Opens a folder (`O_PATH`) that must be where it is written: a link on the way is ENOTDIR. Makes it when missing.
    pub(crate) fn open_or_make_plain(&self, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        match beneath(root, &self.whole, ResolveFlags::NO_SYMLINKS) {
            Err(Errno::NOENT) => self.open_or_make(root, Make::Folder),
            Err(Errno::LOOP) => Err(Errno::NOTDIR),
            other => other,
        }
    }

    /// Opens its folder, made when missing, and calls `work` with it and the last name; EINVAL for the root itself.
    pub(crate) fn in_folder(
        &self,
        root: BorrowedFd<'_>,
        work: impl FnOnce(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (folder, name) = self.last.as_ref().ok_or(Errno::INVAL)?;
        work(open_or_make(root, folder, Make::Folder)?.as_fd(), name)
    }
}

fn open_or_make(root: BorrowedFd<'_>, path: &CStr, make: Make) -> Result<OwnedFd, Errno> {
    // Nearly always everything is there.
    match beneath(root, path, ResolveFlags::empty()) {
        Err(Errno::NOENT) => walk(root, path, make),
        other => other,
    }
}

/// Opens a path (`O_PATH`) beneath the root, links followed and kept inside.
fn beneath(root: BorrowedFd<'_>, path: &CStr, more: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    open_beneath(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more)
}

fn open_beneath(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    for _ in 0..TRIES_MAX {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

// === making what is missing ===

/// Walks a path name by name and makes what is missing. Links are read and followed here, so that one to nowhere is made.
///
/// Each step opens the path so far beneath the root anew: whoever exchanges folders meanwhile changes what is made, and
/// never makes it outside.
fn walk(root: BorrowedFd<'_>, path: &CStr, make: Make) -> Result<OwnedFd, Errno> {
    let (mut ahead, mut done) = (Ahead::new(path)?, Done::new());
    let mut budget = LINKS_MAX;
    while let Some(name) = ahead.next() {
        if name == b".." {
            done.pop();
            continue;
        }
        let folder = beneath(root, done.path()?, ResolveFlags::empty())?;
        done.push(name)?;
        let missing = if ahead.is_empty() { make } else { Make::Folder };
        loop {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match open_beneath(root, done.path()?, flags, resolve) {
                Ok(found) if is_link(&found)? => {
                    budget = budget.checked_sub(1).ok_or(Errno::LOOP)?;
                    done.pop();
                    follow(&found, &mut ahead, &mut done)?;
                    break;
                }
                Ok(_) => break,
                Err(Errno::NOENT) => {
                    // One that another made meanwhile is looked at again: it may be a link.
                    budget = budget.checked_sub(1).ok_or(Errno::LOOP)?;
                    match create(&folder, done.name()?, missing) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Err(errno) => return Err(errno),
            }
        }
    }
    beneath(root, done.path()?, ResolveFlags::empty())
}

fn create(folder: &OwnedFd, name: &CStr, make: Make) -> Result<(), Errno> {
    match make {
        Make::Folder => rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(FOLDER_MODE)),
        Make::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(FILE_MODE)).map(drop)
        }
    }
}

fn is_link(found: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(found)?.st_mode) == FileType::Symlink)
}

/// Puts what a link says in front of what is ahead.
fn follow(link: &OwnedFd, ahead: &mut Ahead, done: &mut Done) -> Result<(), Errno> {
    // What a link of /proc says is not where it leads.
    if is_proc(link)? {
        return Err(Errno::LOOP);
    }
    let mut said = [0; PATH_BYTES_MAX];
    let length = rustix::fs::readlinkat_raw(link, c"", &mut said[..])?;
    let said = &said[..length];
    if said.first() == Some(&b'/') {
        done.clear();
    }
    ahead.prepend(said)
}

/// Says whether a descriptor is open on a proc file system.
pub(crate) fn is_proc(found: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(found)?.f_type == libc::PROC_SUPER_MAGIC)
}

/// Names still to be walked, at the end of the buffer.
struct Ahead {
    bytes: [u8; PATH_BYTES_MAX],
    start: usize,
}

/// Names walked, each with a slash behind it but the last; no links among them. Ends with a null byte.
struct Done {
    bytes: [u8; PATH_BYTES_MAX],
    len: usize,
}

// === impl Ahead ===

impl Ahead {
    fn new(path: &CStr) -> Result<Self, Errno> {
        let mut ahead = Self { bytes: [0; PATH_BYTES_MAX], start: PATH_BYTES_MAX };
        ahead.prepend(path.to_bytes())?;
        Ok(ahead)
    }

    fn prepend(&mut self, path: &[u8]) -> Result<(), Errno> {
        let start = self.start.checked_sub(path.len() + 1).ok_or(Errno::NAMETOOLONG)?;
        self.bytes[start..start + path.len()].copy_from_slice(path);
        self.bytes[start + path.len()] = b'/';
        self.start = start;
        Ok(())
    }

    fn skip(&mut self) {
        loop {
            match &self.bytes[self.start..] {
                [b'/', ..] => self.start += 1,
                [b'.', b'/', ..] => self.start += 2,
                _ => return,
            }
        }
    }

    fn is_empty(&mut self) -> bool {
        self.skip();
        self.start == PATH_BYTES_MAX
    }

    /// Takes the next name.
    fn next(&mut self) -> Option<&[u8]> {
        self.skip();
        let rest = &self.bytes[self.start..];
        let length = rest.iter().position(|byte| *byte == b'/')?;
        let start = self.start;
        self.start += length;
        Some(&self.bytes[start..start + length])
    }
}

// === impl Done ===

impl Done {
    fn new() -> Self {
        Self { bytes: [0; PATH_BYTES_MAX], len: 0 }
    }

    fn clear(&mut self) {
        self.len = 0;
    }

    fn push(&mut self, name: &[u8]) -> Result<(), Errno> {
        let start = if self.len == 0 { 0 } else { self.len + 1 };
        let end = start + name.len();
        if end >= PATH_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if start > 0 {
            self.bytes[start - 1] = b'/';
        }
        self.bytes[start..end].copy_from_slice(name);
        self.bytes[end] = 0;
        self.len = end;
        Ok(())
    }

    /// Goes up; at the root stays there.
    fn pop(&mut self) {
        self.len = self.bytes[..self.len].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.bytes[self.len] = 0;
    }

    fn path(&self) -> Result<&CStr, Errno> {
        if self.len == 0 {
            return Ok(c".");
        }
        CStr::from_bytes_with_nul(&self.bytes[..=self.len]).map_err(|_| Errno::INVAL)
    }

    /// Returns the last name.
    fn name(&self) -> Result<&CStr, Errno> {
        let start = self.bytes[..self.len].iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        CStr::from_bytes_with_nul(&self.bytes[start..=self.len]).map_err(|_| Errno::INVAL)
    }
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
    fn link_to_nowhere_is_made_where_it_points_inside_the_root() {
        let root = Root::new("dangling");
        std::fs::create_dir_all(root.path.join("var")).unwrap();
        for (link, to) in [
            ("var/run", "/run"),
            ("var/up", "../../../up"),
            ("chain", "var/run/../lock"),
            ("far", "/outside-of-all-roots/x"),
        ] {
            symlink(to, root.path.join(link)).unwrap();
        }
        for (path, made) in [
            ("/var/run/secrets/token", "run/secrets/token"),
            ("/var/up", "up"),
            ("/chain", "lock"),
            ("/far/y", "outside-of-all-roots/x/y"),
        ] {
            let fd = Target::new(path).unwrap().open_or_make(root.fd.as_fd(), Make::File).unwrap();
            assert!(root.inode(fd, made), "{path}");
            assert!(root.path.join(made).is_file(), "{path}");
        }
        assert!(!std::path::Path::new("/outside-of-all-roots").exists());
    }

    #[test]
    fn links_in_a_ring_and_links_of_proc_are_refused() {
        let root = Root::new("ring");
        symlink("b/x", root.path.join("a")).unwrap();
        symlink("a/x", root.path.join("b")).unwrap();
        symlink("/made", root.path.join("grows")).unwrap();
        let made = |path: &str| Target::new(path).unwrap().open_or_make(root.fd.as_fd(), Make::Folder);
        assert_eq!(made("/a/y").unwrap_err(), Errno::LOOP);
        assert!(made("/grows/y").is_ok());
        let proc = std::fs::File::open("/proc").unwrap();
        let target = Target::new("/self/cwd/no-such-thing/below").unwrap();
        assert_eq!(target.open_or_make(proc.as_fd(), Make::Folder).unwrap_err(), Errno::LOOP);
        assert_eq!(walk(proc.as_fd(), c"self/cwd/no-such-thing", Make::Folder).unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn folder_that_must_be_where_it_is_written_is_no_link() {
        let root = Root::new("plain");
        std::fs::create_dir_all(root.path.join("real")).unwrap();
        symlink("real", root.path.join("link")).unwrap();
        symlink("nowhere", root.path.join("dangling")).unwrap();
        let open = |path: &str| Target::new(path).unwrap().open_or_make_plain(root.fd.as_fd()).map(drop);
        assert_eq!(open("/link"), Err(Errno::NOTDIR));
        assert_eq!(open("/dangling"), Err(Errno::NOTDIR));
        assert_eq!(open("/link/below"), Err(Errno::NOTDIR));
        assert_eq!((open("/real"), open("/made")), (Ok(()), Ok(())));
        assert!(!root.path.join("nowhere").exists());
    }

    #[test]
    fn folders_exchanged_meanwhile_lead_nowhere_outside() {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use std::sync::atomic::{AtomicBool, Ordering};
        let root = Root::new("exchange");
        let outside = std::env::temp_dir().join(format!("orlop-exec-{}-outside", std::process::id()));
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::create_dir_all(root.path.join("vol/a")).unwrap();
        symlink(&outside, root.path.join("vol/b")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (a, b) = (root.path.join("vol/a"), root.path.join("vol/b"));
                    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
                }
            });
            for round in 0..2000 {
                let target = Target::new(&format!("/vol/a/x{round}/y")).unwrap();
                // Made here or there, or given up: never outside.
                let _ = target.open_or_make(root.fd.as_fd(), Make::Folder);
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        std::fs::remove_dir(&outside).unwrap();
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
        assert!(Target::new(&"/a".repeat(3000)).is_none());
        let root = Root::new("self");
        for path in ["/", "/.", "/a/..", "/.."] {
            let target = Target::new(path).unwrap();
            std::fs::create_dir_all(root.path.join("a")).unwrap();
            assert!(root.inode(target.open(root.fd.as_fd()).unwrap(), "."), "{path}");
            assert_eq!(target.in_folder(root.fd.as_fd(), |_, _| Ok(())), Err(Errno::INVAL), "{path}");
        }
    }
}

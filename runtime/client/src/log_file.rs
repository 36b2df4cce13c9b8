//! The file that a container's log goes to, opened by the daemon and passed to the shim.

use crate::error::{Error, Result};
use orlop_model::container::LogPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path};

/// Log files are readable by the node's log collectors, which run in group root.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
const FOLDER_MODE: u32 = 0o755;

/// Refuses a log path that could leave its folder.
pub(crate) fn check(log: &LogPath) -> Result<()> {
    let refuse = |why| Err(Error::Invalid(format!("log path {}: {why}", log.file.display())));
    if !log.directory.is_absolute() {
        return Err(Error::Invalid(format!("log folder {}: not an absolute path", log.directory.display())));
    }
    let mut names = log.file.components();
    if !names.all(|name| matches!(name, Component::Normal(_))) {
        return refuse("only names are allowed, no '..', and no '/' in front");
    }
    if log.file.file_name().is_none() { refuse("it is empty") } else { Ok(()) }
}

/// A log file that was not there before.
#[derive(Debug)]
pub(crate) struct Made {
    folder: OwnedFd,
    name: OsString,
    /// Which file it is: device and inode.
    identity: (u64, u64),
}

/// Opens the log for appending; makes its folders when missing. Neither the folder itself, which is the pod's, nor anything
/// below it may be a symbolic link: a container that has the node's logs as a volume could have put it there.
pub(crate) fn open(log: &LogPath) -> Result<OwnedFd> {
    Ok(open_fresh(log)?.0)
}

/// Likewise, and says whether the file was made: it can be taken back when nobody comes to write to it.
pub(crate) fn open_fresh(log: &LogPath) -> Result<(OwnedFd, Option<Made>)> {
    check(log)?;
    let path = log.directory.join(&log.file);
    let failed = |error: std::io::Error| Error::io(format!("open log {}", path.display()), error);
    std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&log.directory).map_err(failed)?;
    open_beneath(&log.directory, &log.file).map_err(|error| failed(error.into()))
}

impl Made {
    /// Deletes it, if it is still the file that its name leads to.
    pub(crate) fn unmake(&self) -> Result<()> {
        let failed = |error: Errno| Error::io(format!("delete log {}", Path::new(&self.name).display()), error);
        match rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if (found.st_dev, found.st_ino) == self.identity => {
                rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty()).map_err(failed)
            }
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn open_beneath(directory: &Path, file: &Path) -> Result<(OwnedFd, Option<Made>), Errno> {
    let folder_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open(directory, folder_flags | OFlags::NOFOLLOW, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for name in file.parent().into_iter().flat_map(Path::components) {
        let name = name.as_os_str();
        match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(FOLDER_MODE)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        folder = rustix::fs::openat2(&folder, name, folder_flags, Mode::empty(), resolve)?;
    }
    let name = file.file_name().ok_or(Errno::INVAL)?;
    // O_NONBLOCK: a pipe put there by somebody else must not hold us up.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let make = flags | OFlags::CREATE;
    let (opened, is_new) = match rustix::fs::openat2(&folder, name, make | OFlags::EXCL, FILE_MODE, resolve) {
        Ok(opened) => (opened, true),
        Err(Errno::EXIST) => (rustix::fs::openat2(&folder, name, make, FILE_MODE, resolve)?, false),
        Err(error) => return Err(error),
    };
    let found = rustix::fs::statat(&opened, "", AtFlags::EMPTY_PATH)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let identity = (found.st_dev, found.st_ino);
    let made = is_new.then(|| Made { folder, name: name.to_owned(), identity });
    Ok((opened, made))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;

    fn log(directory: &Path, file: &str) -> LogPath {
        LogPath { directory: directory.to_owned(), file: PathBuf::from(file) }
    }

    #[test]
    fn folders_are_made_and_what_is_there_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(&dir.path().join("pod"), "web/0.log");
        for line in ["one\n", "two\n"] {
            std::fs::File::from(open(&log).unwrap()).write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("pod/web/0.log")).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn only_a_file_that_was_made_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), "0.log");
        let path = dir.path().join("0.log");
        let (_, made) = open_fresh(&log).unwrap();
        assert!(open_fresh(&log).unwrap().1.is_none(), "it is there already");
        let made = made.unwrap();
        // Moved away and made anew by somebody else.
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        std::fs::write(&path, "theirs").unwrap();
        made.unmake().unwrap();
        assert!(path.exists());
        std::fs::rename(dir.path().join("0.log.1"), &path).unwrap();
        made.unmake().unwrap();
        assert!(!path.exists());
        made.unmake().unwrap();
    }

    #[test]
    fn path_that_leaves_the_folder_is_refused() {
        for bad in ["", "..", "../x", "a/../../x", "/etc/passwd", "./x/.."] {
            assert!(check(&log(Path::new("/var/log"), bad)).is_err(), "{bad}");
        }
        assert!(check(&log(Path::new("relative"), "x")).is_err());
    }

    #[test]
    fn link_is_not_followed_and_a_pipe_does_not_hold_us_up() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("x"), dir.path().join("file")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        for bad in ["out/x", "file", "pipe"] {
            assert!(open(&log(dir.path(), bad)).is_err(), "{bad}");
        }
        assert!(open(&log(&dir.path().join("out"), "x")).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

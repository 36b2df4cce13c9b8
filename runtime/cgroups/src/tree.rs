//! A cgroup and all below it: its processes, its removal.

use crate::Error;
use crate::leaf::{FOLDER_FLAGS, Folder};
use rustix::fs::{AtFlags, Dir, FileType, Mode, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

/// Deepest nesting followed below a cgroup of ours. Only a privileged container can nest; systemd in one needs about ten.
const DEPTH_MAX: usize = 128;

/// Tries to remove a folder that is busy, and the pause between them: together 2 s. The kernel needs up to some
/// milliseconds after the last process has gone.
const REMOVE_TRIES: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// Lists the processes of some folders and all below them, each once, sorted.
pub(crate) fn procs<'a>(folders: impl Iterator<Item = &'a Folder>) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for folder in folders {
        visit(folder, 0, &mut |folder| {
            let text = folder.read_if_there("cgroup.procs")?.unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.trim().parse::<u32>().ok()).filter(|pid| *pid != 0));
            Ok(())
        })?;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Removes a folder and all below it. Quiet when it is gone.
pub(crate) fn remove(folder: &Folder) -> Result<(), Error> {
    // The folders below need their own removal first; a child made meanwhile makes the parent busy, and we come again.
    let mut tries = 0;
    loop {
        match remove_once(folder, 0) {
            Err(Error::Io { source, .. }) if is_busy(&source) && tries < REMOVE_TRIES => {
                tries += 1;
                sleep(REMOVE_PAUSE);
            }
            other => return other,
        }
    }
}

/// Tries once; says whether it is gone.
pub(crate) fn try_remove(folder: &Folder) -> Result<bool, Error> {
    match remove_once(folder, 0) {
        Ok(()) => Ok(true),
        Err(Error::Io { source, .. }) if is_busy(&source) => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_once(folder: &Folder, depth: usize) -> Result<(), Error> {
    for child in children(folder, depth)? {
        remove_once(&child, depth + 1)?;
    }
    // By path and not from an open parent: the parent is the facade's client's, and may have gone first.
    match unlinkat(rustix::fs::CWD, &folder.at, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(Error::io("remove", &folder.at, e)),
    }
}

fn is_busy(error: &std::io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::BUSY.raw_os_error()) || code == Some(Errno::NOTEMPTY.raw_os_error())
}

/// Calls `each` for a folder and all below it.
fn visit(folder: &Folder, depth: usize, each: &mut dyn FnMut(&Folder) -> Result<(), Error>) -> Result<(), Error> {
    each(folder)?;
    for child in children(folder, depth)? {
        visit(&child, depth + 1, each)?;
    }
    Ok(())
}

fn children(folder: &Folder, depth: usize) -> Result<Vec<Folder>, Error> {
    let mut found = Vec::new();
    for name in child_names(&folder.fd).map_err(|e| Error::io("list", &folder.at, e))? {
        if depth >= DEPTH_MAX {
            return Err(Error::TooDeep { path: folder.at.clone(), max: DEPTH_MAX });
        }
        match openat(folder.fd.as_fd(), &name, FOLDER_FLAGS, Mode::empty()) {
            Ok(fd) => found.push(Folder { controllers: Vec::new(), fd, at: folder.at.join(name) }),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(Error::io("open", folder.at.join(name), e)),
        }
    }
    Ok(found)
}

fn child_names(fd: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    let dir = match Dir::read_from(fd) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(names),
        Err(e) => return Err(e),
    };
    for entry in dir {
        match entry {
            Ok(entry) if entry.file_type() == FileType::Directory => match entry.file_name().to_str() {
                Ok("." | "..") => {}
                // The kernel lets a cgroup have any bytes as its name; ours are ASCII, and a container's own that are not
                // UTF-8 keep their parent busy, which is then said.
                Ok(name) => names.push(name.to_owned()),
                Err(_) => {}
            },
            Ok(_) => {}
            Err(Errno::NOENT) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(names)
}

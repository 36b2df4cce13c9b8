//! Files of an image, read beneath its root. Whoever built the image chose what is there.

use crate::config::USER_FILE_BYTES_MAX;
use crate::error::{Error, Result};
use orlop_spec::user;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Tries of openat2(2) while others rename. Whoever renames for ever must not keep others' containers from starting.
const TRIES_MAX: u32 = 128;

/// Reads a small file of an image; `None` when it is not there. Only
/// a regular file, wherever links inside the root lead.
/// Bounds: CVE-2025-4437, CVE-2024-9676.
pub(crate) fn read(root: BorrowedFd<'_>, path: &str) -> Result<Option<Vec<u8>>> {
    let tried = || format!("read /{path} of the image");
    let refuse = |why: &str| Err(Error::Invalid(format!("{}: {why}", tried())));
    // Not opened for reading at once: that could wait for ever, or set off a device.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let find = || rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    // EAGAIN: something was renamed, anywhere on the node, while a `..` was followed.
    let found = (0..TRIES_MAX).map(|_| find()).find(|found| !matches!(found, Err(Errno::AGAIN)));
    let found = match found.unwrap_or(Err(Errno::AGAIN)) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::LOOP) => return refuse("its links lead nowhere"),
        Err(error) => return Err(Error::io(tried(), error)),
    };
    let failed = |error: Errno| Error::io(tried(), error);
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&found).map_err(failed)?.st_mode);
    if kind != FileType::RegularFile {
        return refuse("it is not a regular file");
    }
    // What was found is opened, and not what may have its name by now: of a running container, that may be a device.
    let opened =
        rustix::fs::open(format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty()).map_err(failed)?;
    let mut bytes = Vec::new();
    let read = File::from(opened).take(USER_FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::io(tried(), error))?;
    if bytes.len() as u64 > USER_FILE_BYTES_MAX {
        return refuse(&format!("it is larger than {} MiB", USER_FILE_BYTES_MAX / 1024 / 1024));
    }
    Ok(Some(bytes))
}

/// The files that users and groups are looked up in.
pub(crate) struct UserFiles {
    pub(crate) passwd: Option<Vec<u8>>,
    pub(crate) group: Option<Vec<u8>>,
}

impl UserFiles {
    pub(crate) fn read(root: impl AsFd) -> Result<Self> {
        Ok(Self { passwd: read(root.as_fd(), "etc/passwd")?, group: read(root.as_fd(), "etc/group")? })
    }

    pub(crate) fn as_spec(&self) -> user::UserFiles<'_> {
        user::UserFiles { passwd: self.passwd.as_deref(), group: self.group.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_and_anything_but_a_file_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("passwd"), "outside").unwrap();
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        std::fs::write(etc.join("real"), "inside").unwrap();
        symlink("/etc/real", etc.join("absolute")).unwrap();
        symlink(outside.path().join("passwd"), etc.join("away")).unwrap();
        symlink("loop", etc.join("loop")).unwrap();
        std::fs::create_dir(etc.join("folder")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, etc.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        File::create(etc.join("huge")).unwrap().set_len(USER_FILE_BYTES_MAX + 1).unwrap();
        let dir = File::open(root.path()).unwrap();
        let read = |name: &str| read(dir.as_fd(), &format!("etc/{name}"));
        for (name, expected) in [
            ("real", Some(&b"inside"[..])),
            ("absolute", Some(b"inside")),
            ("missing", None),
            ("real/below", None),
            ("away", None),
        ] {
            assert_eq!(read(name).unwrap().as_deref(), expected, "{name}");
        }
        for name in ["loop", "folder", "pipe", "huge"] {
            assert_eq!(read(name).unwrap_err().kind(), orlop_model::ErrorKind::InvalidArgument, "{name}");
        }
    }
}

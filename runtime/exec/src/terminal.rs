//! A terminal for a process. Its slave is opened in the child, in the container's own devpts; its master goes to the parent.
//!
//! What is at `/dev/pts` is the container's doing: a process in it may have mounted or linked anything there. So nothing is
//! opened before it is known to be a devpts' multiplexer, and the slave comes from the master itself (`TIOCGPTPEER`), never
//! by a name that another could take meanwhile (CVE-2025-52565).

use crate::kernel::raw;
use crate::mounts;
use crate::resolve::Target;
use orlop_sys::child::place;
use orlop_sys::seqpacket::{self, Waits};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::ffi::CStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `DEVPTS_SUPER_MAGIC`, include/uapi/linux/magic.h.
const DEVPTS_MAGIC: i64 = 0x1cd1;
/// Device numbers of a devpts' multiplexer; Documentation/admin-guide/devices.txt.
const MULTIPLEXER: (u32, u32) = (5, 2);

/// A terminal to be opened.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
    /// Where the slave is mounted too.
    pub(crate) console: Option<Target>,
}

/// Where the parent gets the master from.
#[derive(Debug)]
pub struct Master(OwnedFd);

// === in the child ===

impl Terminal {
    /// Opens it, makes it the process's own and sends the master. Returns the slave.
    pub(crate) fn open(
        &self,
        root: BorrowedFd<'_>,
        node_proc: BorrowedFd<'_>,
        parent: BorrowedFd<'_>,
    ) -> Result<OwnedFd, Errno> {
        let master = open_master(root, node_proc)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        let size = Winsize { ws_row: self.rows, ws_col: self.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size)?;
        if let Some(console) = &self.console {
            mounts::cover_file(slave.as_fd(), root, console)?;
        }
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(&slave)?;
        for number in 0..3 {
            raw(place(slave.as_fd(), number))?;
        }
        raw(seqpacket::send(parent, &[1], &[master.as_fd()]))?;
        Ok(slave)
    }
}

/// Opens a new master. It does not block: nobody who reads it waits on it.
fn open_master(root: BorrowedFd<'_>, node_proc: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let found = rustix::fs::openat2(root, c"dev/pts/ptmx", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let stat = rustix::fs::fstat(&found)?;
    let genuine = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(MULTIPLEXER.0, MULTIPLEXER.1)
        && rustix::fs::fstatfs(&found)?.f_type == DEVPTS_MAGIC;
    if !genuine {
        return Err(Errno::NODEV);
    }
    // What was looked at is opened, whatever has its name by now.
    let mut space = [0; 32];
    let path = own_path(&found, &mut space)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(node_proc, path, flags, Mode::empty())
}

/// Writes the path of an open file below the node's `/proc`; allocates nothing.
fn own_path<'a>(file: &OwnedFd, space: &'a mut [u8; 32]) -> Result<&'a CStr, Errno> {
    // The buffer starts as zeros, so that a null byte is behind what is written.
    let room = space.len() - 1;
    write!(&mut space[..room], "self/fd/{}", file.as_raw_fd()).map_err(|_| Errno::NAMETOOLONG)?;
    CStr::from_bytes_until_nul(space).map_err(|_| Errno::NAMETOOLONG)
}

/// Gives a user the terminal that it is to work on, as it may open it anew by its name. The group stays that of terminals.
pub(crate) fn give(slave: &OwnedFd, uid: u32) -> Result<(), Errno> {
    rustix::fs::fchown(slave, Some(Uid::from_raw(uid)), None)
}

// === in the parent ===

impl Master {
    /// Makes the way that it takes; the child gets the second part.
    pub(crate) fn way() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = seqpacket::pair(Waits::No)?;
        Ok((Self(ours), theirs))
    }

    /// Returns the master of a process whose program runs.
    ///
    /// # Errors
    /// `WouldBlock` or `UnexpectedEof` before that.
    pub fn take(self) -> io::Result<OwnedFd> {
        let mut received = seqpacket::recv(&self.0, &mut [0; 1])?;
        received.descriptors.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_an_open_file_leads_to_it() {
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let mut space = [0; 32];
        let path = own_path(&file, &mut space).unwrap();
        let link = std::fs::read_link(format!("/proc/{}", path.to_str().unwrap())).unwrap();
        assert_eq!(link, std::path::Path::new("/dev/null"));
    }

    #[test]
    fn what_is_no_multiplexer_is_not_opened() {
        let root = std::env::temp_dir().join(format!("orlop-exec-{}-ptmx", std::process::id()));
        std::fs::create_dir_all(root.join("dev/pts")).unwrap();
        let (folder, proc) = (std::fs::File::open(&root).unwrap(), std::fs::File::open("/proc").unwrap());
        let open = || open_master(folder.as_fd(), proc.as_fd()).map(drop);
        assert_eq!(open(), Err(Errno::NOENT));
        std::os::unix::fs::symlink("/dev/ptmx", root.join("dev/pts/ptmx")).unwrap();
        assert_eq!(open(), Err(Errno::LOOP));
        std::fs::remove_file(root.join("dev/pts/ptmx")).unwrap();
        // The same device, but in no devpts.
        let (mode, number) = (Mode::from_raw_mode(0o666), rustix::fs::makedev(5, 2));
        rustix::fs::mknodat(&folder, c"dev/pts/ptmx", FileType::CharacterDevice, mode, number).unwrap();
        assert_eq!(open(), Err(Errno::NODEV));
        std::fs::remove_dir_all(&root).unwrap();
    }
}

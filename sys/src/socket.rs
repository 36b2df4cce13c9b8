//! What the kernel knows of a connection, beside its bytes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Returns how much of what was written to a unix socket its other side has not read yet, in bytes of the kernel's own count,
/// which is above ours; 0 is nothing. unix(7), `SIOCOUTQ`.
///
/// # Errors
/// What ioctl(2) says.
pub fn unread_by_peer(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel stores an int where this one lives. `SIOCOUTQ` is `TIOCOUTQ` (include/uapi/linux/sockios.h).
    // WHY: neither nix nor rustix has it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(u32::try_from(bytes).unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_written_counts_until_it_is_read() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(ours.as_fd()).unwrap(), 0);
        ours.write_all(b"twice").unwrap();
        assert!(unread_by_peer(ours.as_fd()).unwrap() >= 5);
        theirs.read_exact(&mut [0; 3]).unwrap();
        assert!(unread_by_peer(ours.as_fd()).unwrap() >= 2);
        theirs.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(unread_by_peer(ours.as_fd()).unwrap(), 0);
        assert!(unread_by_peer(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }
}

//! The ends of pipes that archives pass through; a client that stands still for long has gone.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Longest wait for a client to send or take the next bytes. A person may look at the output page by page.
const STALL_MAX: Duration = Duration::from_secs(10 * 60);

/// Takes bytes out.
pub(super) struct Sink(pub(super) OwnedFd);

/// Brings bytes in.
pub(super) struct Source(pub(super) OwnedFd);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        patiently(self.0.as_fd(), PollFlags::OUT, || rustix::io::write(&self.0, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        patiently(self.0.as_fd(), PollFlags::IN, || rustix::io::read(&self.0, &mut *buffer))
    }
}

fn patiently(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    mut transfer: impl FnMut() -> Result<usize, Errno>,
) -> io::Result<usize> {
    let wait = Timespec::try_from(STALL_MAX).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&wait)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody took or sent anything for too long")),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match transfer() {
            Err(Errno::INTR | Errno::AGAIN) => {}
            done => return done.map_err(Into::into),
        }
    }
}

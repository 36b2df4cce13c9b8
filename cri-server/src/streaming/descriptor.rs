//! Descriptors of processes, read and written without blocking: pipes, terminals and sockets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Takes what a terminal says once nobody has its other side for the end; pty(7), tty_ldisc.
fn end_of_terminal(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(wrong) if wrong.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(0),
        result => result,
    }
}

/// A descriptor that does not block.
#[derive(Debug)]
pub(crate) struct Descriptor(AsyncFd<OwnedFd>);

/// Lets the executor tell when a descriptor is ready.
#[allow(deprecated, reason = "the new name is unsafe, since other types may lie about their number; OwnedFd does not")]
pub(crate) fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, interest)
}

impl Descriptor {
    /// Takes one over.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        watch(descriptor, Interest::READABLE | Interest::WRITABLE).map(Self)
    }

    /// Reads some bytes; 0 at the end.
    pub(crate) async fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        let read =
            self.0.async_io(Interest::READABLE, |descriptor| Ok(rustix::io::read(descriptor.as_fd(), &mut *space)?));
        end_of_terminal(read.await)
    }

    /// Reads what is there without waiting for more, also of a terminal what the kernel has not brought us yet (`n_tty_read`
    /// does so before it says that there is nothing); 0 at the end.
    pub(crate) fn read_now(&self, space: &mut [u8]) -> io::Result<usize> {
        end_of_terminal(Ok(rustix::io::retry_on_intr(|| rustix::io::read(self.0.get_ref().as_fd(), &mut *space))?))
    }

    /// Writes all of the bytes.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write =
                self.0.async_io(Interest::WRITABLE, |descriptor| Ok(rustix::io::write(descriptor.as_fd(), bytes)?));
            bytes = &bytes[write.await?..];
        }
        Ok(())
    }

    /// Ends what we send, of a socket.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.0.get_ref().as_fd(), rustix::net::Shutdown::Write)?)
    }
}

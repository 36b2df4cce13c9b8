//! Our end of a pipe or terminal, awaited.

use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor that we own and that is closed only with the watch.
#[allow(
    deprecated,
    reason = "its successor is unsafe for descriptors that may be closed meanwhile, which an owned one can't be"
)]
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// A descriptor that does not block.
#[derive(Debug)]
pub(crate) struct Pipe(AsyncFd<OwnedFd>);

impl Pipe {
    /// Takes a descriptor that does not block.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        watch(descriptor).map(Self)
    }

    /// Reads what is there; 0 at the end. Nobody at the other end of a terminal is its end.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match rustix::io::read(&self.0, &mut *buffer) {
                Ok(read) => return Ok(read),
                Err(Errno::IO) => return Ok(0),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(wrong) => return Err(wrong.into()),
            }
        }
    }

    /// Reads what is there without waiting for more, also of a terminal what the kernel has not brought us yet (`n_tty_read`
    /// does so before it says that there is nothing); 0 at the end.
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *buffer)) {
            Err(Errno::IO) => Ok(0),
            read => Ok(read?),
        }
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match rustix::io::write(&self.0, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(wrong) => return Err(wrong.into()),
            }
        }
        Ok(())
    }
}

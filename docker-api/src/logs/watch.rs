//! Hears when a file grows. inotify(7)

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::io::unix::AsyncFd;

/// Room for many events; what they say does not matter.
const EVENT_BYTES: usize = 4096;

/// A watch on one file.
#[derive(Debug)]
pub(crate) struct Watch {
    events: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Watches a file from now on.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let events = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(&events, path, WatchFlags::MODIFY | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF)?;
        Ok(Self { events: crate::stream::pipe::watch(events)? })
    }

    /// Waits until it has changed since the last call.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.events.readable().await?;
            let mut buffer = [0u8; EVENT_BYTES];
            match rustix::io::read(&self.events, &mut buffer) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(wrong) => return Err(wrong.into()),
            }
        }
    }
}

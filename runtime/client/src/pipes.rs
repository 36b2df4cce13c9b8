//! Pipes between a program and the daemon. Our end does not block; a program's does, as it expects.

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes that an attached client may be behind: what its pipe holds. The kernel takes pages only for what is in it.
const RING_BYTES: usize = 256 * 1024;

/// A pipe of which one end is sent away.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) ours: OwnedFd,
    pub(crate) theirs: OwnedFd,
}

// === impl Pipe ===

impl Pipe {
    /// Makes one for what a program writes.
    pub(crate) fn from_program() -> io::Result<Self> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        // The flag belongs to the open file, so to one end.
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok(Self { ours, theirs })
    }

    /// Makes one for what a program reads.
    pub(crate) fn to_program() -> io::Result<Self> {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok(Self { ours, theirs })
    }

    /// Makes one for a client that a shim writes to and must not wait for.
    pub(crate) fn ring() -> io::Result<Self> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where root may not have that much, a client is cut off earlier.
        let _ = fcntl_setpipe_size(theirs.as_fd(), RING_BYTES);
        Ok(Self { ours, theirs })
    }
}

/// Sends the other end of a pipe along, when there is a pipe; returns its slot and our end.
pub(crate) fn send_along(pipe: Option<Pipe>, slots: &mut Vec<OwnedFd>) -> (Option<u32>, Option<OwnedFd>) {
    match pipe {
        Some(Pipe { ours, theirs }) => {
            let slot = u32::try_from(slots.len()).unwrap_or(u32::MAX);
            slots.push(theirs);
            (Some(slot), Some(ours))
        }
        None => (None, None),
    }
}

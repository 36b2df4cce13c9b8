//! Clients that hear the output of a container beside its log.
//!
//! Each has a pipe, which is its ring: what it has not read yet. Nothing is kept for it here and nothing waits for it; one
//! whose pipe is full is let go of, and finds the end of its stream after what is in the pipe.

use orlop_wire::frame::CLIENTS_MAX;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// The writing ends of clients' pipes; they do not block.
#[derive(Debug, Default)]
pub(crate) struct Clients(Vec<OwnedFd>);

// === impl Clients ===

impl Clients {
    /// Says whether there is a place for one more. Forgets those that have left.
    pub(crate) fn has_room(&mut self) -> bool {
        self.0.retain(is_read);
        self.0.len() < CLIENTS_MAX
    }

    /// Adds a client, with what it is to hear first.
    pub(crate) fn add(&mut self, pipe: OwnedFd, first: &[u8]) {
        if takes(&pipe, first) {
            self.0.push(pipe);
        }
    }

    /// Tells them what came; lets go of those that do not take all of it.
    pub(crate) fn tell(&mut self, bytes: &[u8]) {
        self.0.retain(|pipe| takes(pipe, bytes));
    }

    /// Lets go of all: the stream has ended.
    pub(crate) fn end(&mut self) {
        self.0 = Vec::new();
    }
}

/// Writes all of it, unless there is no room or nobody left.
fn takes(pipe: &OwnedFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(pipe, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Says whether somebody still has the other end.
fn is_read(pipe: &OwnedFd) -> bool {
    let mut look = [PollFd::new(pipe, PollFlags::empty())];
    poll(&mut look, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|found| found == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::fs::File;
    use std::io::Read;

    fn read_all(pipe: OwnedFd) -> Vec<u8> {
        let mut bytes = Vec::new();
        rustix::io::ioctl_fionbio(&pipe, false).unwrap();
        File::from(pipe).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn client_that_does_not_read_is_cut_off_and_another_hears_all() {
        let mut clients = Clients::default();
        let (slow, slow_end) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let (quick, quick_end) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        clients.add(slow_end, b"first");
        clients.add(quick_end, b"");
        let mut heard = Vec::new();
        for round in 0..100_u8 {
            clients.tell(&[round; 4000]);
            let mut buffer = [0; 4000];
            assert_eq!(rustix::io::read(&quick, &mut buffer[..]).unwrap(), 4000);
            heard.extend(buffer);
        }
        assert_eq!(clients.0.len(), 1);
        let whole: Vec<u8> = (0..100).flat_map(|round| [round; 4000]).collect();
        assert!(heard == whole);
        // What is in its pipe goes on without a gap, and then ends.
        let slow = read_all(slow);
        assert!(slow.len() > 4000 && slow.starts_with(b"first") && whole.starts_with(&slow[5..]));
    }

    #[test]
    fn clients_that_left_make_room() {
        let mut clients = Clients::default();
        for _ in 0..3 * CLIENTS_MAX {
            let (_gone, end) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
            assert!(clients.has_room());
            clients.add(end, b"");
        }
        let mut stay = Vec::new();
        while clients.has_room() {
            let (client, end) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
            clients.add(end, b"");
            stay.push(client);
        }
        assert_eq!(stay.len(), CLIENTS_MAX);
    }
}

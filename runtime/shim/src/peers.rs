//! Connections of the daemon: greeting, requests in, replies and events out.
//!
//! There may be none, one, or two while a daemon takes over from another; each is by itself. Nothing here waits: what can't
//! be sent at once is queued, and a connection that does not read is closed, since it can come back and ask.

use crate::error::{Failed, Result, Tried};
use crate::journal;
use crate::poll::{Interest, Poll, Token};
use orlop_sys::{memfd, seqpacket};
use orlop_wire::frame::{Asked, Event, Hello, Reply, decode_request, encode_event, encode_reply};
use orlop_wire::packet::{DATAGRAM_BYTES_MAX, Unpacked, pack, unpack};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Messages that wait for one connection. An exit takes about 100 bytes; a daemon that leaves a thousand unread is stuck.
const QUEUE_MAX: usize = 1024;
/// Connections at once: a daemon, its successor, and someone who looks. More are closed at once.
const PEERS_MAX: usize = 16;
/// Requests taken from one connection before others have their turn.
const BURST: usize = 16;

/// The connections.
#[derive(Debug)]
pub(crate) struct Peers {
    by_number: BTreeMap<u32, Peer>,
    next: u32,
    buffer: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
struct Peer {
    socket: OwnedFd,
    greeted: bool,
    queue: VecDeque<Outgoing>,
    interest: Interest,
}

#[derive(Debug)]
struct Outgoing {
    datagram: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// Who asked, to be answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    peer: u32,
    number: u64,
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) caller: Caller,
    pub(crate) asked: Asked,
    pub(crate) slots: Vec<OwnedFd>,
}

/// What a read from a connection gave.
enum Read {
    Message(Message),
    /// The greeting, or nothing for us.
    Nothing,
    /// Nothing more now.
    Dry,
    End,
}

// === impl Peers ===

impl Peers {
    pub(crate) fn new() -> Self {
        Self { by_number: BTreeMap::new(), next: 0, buffer: vec![0; DATAGRAM_BYTES_MAX] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Takes every connection that waits. Only root may connect.
    pub(crate) fn accept(&mut self, listener: &OwnedFd, poll: &Poll) {
        loop {
            let socket = match seqpacket::accept(listener) {
                Ok(socket) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return journal::write(&format!("accept a connection: {error}")),
            };
            if self.by_number.len() >= PEERS_MAX || !seqpacket::peer(&socket).is_ok_and(|peer| peer.uid == 0) {
                journal::write("a connection is refused: too many, or not root");
                continue;
            }
            let number = self.next;
            self.next = self.next.wrapping_add(1);
            if let Err(error) = poll.add(&socket, Token::Peer(number)) {
                return journal::write(&error.to_string());
            }
            let peer = Peer { socket, greeted: false, queue: VecDeque::new(), interest: Interest::Read };
            self.by_number.insert(number, peer);
        }
    }

    /// Reads what came from a connection, a bounded number of messages.
    pub(crate) fn read(&mut self, number: u32, poll: &Poll) -> Vec<Message> {
        let mut messages = Vec::new();
        for _ in 0..BURST {
            let Some(peer) = self.by_number.get_mut(&number) else { break };
            match peer.read(number, &mut self.buffer) {
                Ok(Read::Message(message)) => messages.push(message),
                Ok(Read::Nothing) => {}
                Ok(Read::Dry) => break,
                Ok(Read::End) => self.close(number, poll),
                Err(error) => {
                    journal::write(&format!("a connection is closed: {error}"));
                    self.close(number, poll);
                }
            }
        }
        self.flush(number, poll);
        messages
    }

    /// Answers a request. Quiet when who asked is gone.
    pub(crate) fn reply(&mut self, caller: Caller, reply: &Reply, slots: Vec<OwnedFd>, poll: &Poll) {
        match encode_reply(caller.number, reply) {
            Ok(body) => self.push(caller.peer, body, slots, poll),
            Err(error) => journal::write(&format!("a reply can't be sent: {error}")),
        }
    }

    /// Reports something to one who asked.
    pub(crate) fn report_to(&mut self, caller: Caller, event: &Event, poll: &Poll) {
        match encode_event(event) {
            Ok(body) => self.push(caller.peer, body, Vec::new(), poll),
            Err(error) => journal::write(&format!("an event can't be sent: {error}")),
        }
    }

    /// Reports something to everybody.
    pub(crate) fn report(&mut self, event: &Event, poll: &Poll) {
        let numbers: Vec<u32> = self.by_number.iter().filter(|(_, peer)| peer.greeted).map(|(n, _)| *n).collect();
        for peer in numbers {
            self.report_to(Caller { peer, number: 0 }, event, poll);
        }
    }

    /// Sends what waits for a connection, as far as there is room.
    pub(crate) fn flush(&mut self, number: u32, poll: &Poll) {
        let Some(peer) = self.by_number.get_mut(&number) else { return };
        if let Err(error) = peer.flush(number, poll) {
            // Gone is the usual case: a daemon that died.
            if error.kind() != io::ErrorKind::BrokenPipe && error.kind() != io::ErrorKind::ConnectionReset {
                journal::write(&format!("a connection is closed: {error}"));
            }
            self.close(number, poll);
        }
    }

    /// Sends what waits for anybody, waiting for room for at most `each` per connection: for last words.
    pub(crate) fn flush_all(&mut self, poll: &Poll, each: std::time::Duration) {
        let numbers: Vec<u32> = self.by_number.keys().copied().collect();
        let timeout = rustix::event::Timespec { tv_sec: each.as_secs().cast_signed(), tv_nsec: 0 };
        for number in numbers {
            self.flush(number, poll);
            if let Some(peer) = self.by_number.get(&number).filter(|peer| !peer.queue.is_empty()) {
                let mut waits = [rustix::event::PollFd::new(&peer.socket, rustix::event::PollFlags::OUT)];
                let _ = rustix::event::poll(&mut waits, Some(&timeout));
                self.flush(number, poll);
            }
        }
    }

    fn push(&mut self, number: u32, body: Vec<u8>, slots: Vec<OwnedFd>, poll: &Poll) {
        let Some(peer) = self.by_number.get_mut(&number) else { return };
        let pushed = Outgoing::new(body, slots).map(|outgoing| peer.queue.push_back(outgoing));
        if let Err(error) = pushed {
            journal::write(&format!("a message can't be sent: {error}"));
        }
        if peer.queue.len() > QUEUE_MAX {
            journal::write("a connection is closed: it does not read");
            return self.close(number, poll);
        }
        self.flush(number, poll);
    }

    fn close(&mut self, number: u32, poll: &Poll) {
        if let Some(peer) = self.by_number.remove(&number) {
            poll.remove(&peer.socket);
        }
    }
}

// === impl Peer ===

impl Peer {
    fn read(&mut self, number: u32, buffer: &mut [u8]) -> Result<Read> {
        let mut received = match seqpacket::recv(&self.socket, buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Dry),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Read::End),
            Err(error) => return Err(Failed::io("receive a message", &error)),
        };
        if received.bytes == 0 {
            return Ok(Read::End);
        }
        let datagram = buffer.get(..received.bytes).unwrap_or_default();
        if !self.greeted {
            return self.greet(datagram);
        }
        let malformed = |error| Failed::refused("read a message", error, libc::EBADMSG);
        let (request_number, asked) = match unpack(datagram).map_err(malformed)? {
            Unpacked::Inline(body) => decode_request(body).map_err(malformed)?,
            Unpacked::InMemfd { bytes } => {
                let missing = || Failed::refused("read a message", "its memfd is missing", libc::EBADMSG);
                let memfd = received.descriptors.pop().ok_or_else(missing)?;
                let body = memfd::read_sealed(&memfd, bytes).tried("read a message")?;
                decode_request(&body).map_err(malformed)?
            }
        };
        let caller = Caller { peer: number, number: request_number };
        Ok(Read::Message(Message { caller, asked, slots: received.descriptors }))
    }

    /// Answers the greeting. A peer of no common version is told ours, and closed by its next message at the latest.
    fn greet(&mut self, datagram: &[u8]) -> Result<Read> {
        let refused = |error| Failed::refused("greet a connection", error, libc::EPROTO);
        let hello = Hello::decode(datagram).map_err(refused)?;
        let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
            .tried("open our own pidfd")?;
        seqpacket::send(&self.socket, &Hello::OURS.encode(), &[own.as_fd()]).tried("greet a connection")?;
        Hello::OURS.agree(&hello).map_err(refused)?;
        self.greeted = true;
        Ok(Read::Nothing)
    }

    fn flush(&mut self, number: u32, poll: &Poll) -> io::Result<()> {
        while let Some(outgoing) = self.queue.front() {
            let descriptors: Vec<BorrowedFd<'_>> = outgoing.descriptors.iter().map(AsFd::as_fd).collect();
            match seqpacket::send(&self.socket, &outgoing.datagram, &descriptors) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let wanted = if self.queue.is_empty() { Interest::Read } else { Interest::ReadAndWrite };
        if wanted != self.interest {
            self.interest = wanted;
            poll.change(&self.socket, Token::Peer(number), wanted).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

// === impl Outgoing ===

impl Outgoing {
    fn new(body: Vec<u8>, mut descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let packed = pack(body);
        if let Some(body) = packed.memfd {
            descriptors.push(memfd::sealed(&body)?);
        }
        Ok(Self { datagram: packed.datagram, descriptors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_sys::seqpacket::{Waits, connect, recv, send};
    use orlop_wire::exit::ExitStatus;

    /// Greets a connection on both sides.
    fn greeted(folder: &tempfile::TempDir, poll: &Poll) -> (Peers, OwnedFd) {
        let path = folder.path().join("test.sock");
        let listener = seqpacket::listen(&path).unwrap();
        let client = connect(&path, Waits::Yes).unwrap();
        send(&client, &Hello::OURS.encode(), &[]).unwrap();
        let mut peers = Peers::new();
        peers.accept(&listener, poll);
        assert!(peers.read(0, poll).is_empty());
        assert_eq!(recv(&client, &mut [0; 64]).unwrap().descriptors.len(), 1);
        (peers, client)
    }

    fn event(exec: u64) -> Event {
        Event::ExecExited { container: "c".to_owned(), exec, status: ExitStatus::Code(0) }
    }

    #[test]
    fn connection_that_does_not_read_its_events_is_closed() {
        let (folder, poll) = (tempfile::tempdir().unwrap(), Poll::new().unwrap());
        let (mut peers, _client) = greeted(&folder, &poll);
        for exec in 0..3 * QUEUE_MAX as u64 {
            peers.report(&event(exec), &poll);
        }
        assert!(peers.is_empty());
    }

    #[test]
    fn events_that_found_no_room_arrive_in_order_once_there_is_some() {
        let (folder, poll) = (tempfile::tempdir().unwrap(), Poll::new().unwrap());
        let (mut peers, client) = greeted(&folder, &poll);
        let count = QUEUE_MAX as u64;
        for exec in 0..count {
            peers.report(&event(exec), &poll);
        }
        let mut buffer = [0; 256];
        for exec in 0..count {
            let received = recv(&client, &mut buffer).unwrap();
            let Unpacked::Inline(body) = unpack(&buffer[..received.bytes]).unwrap() else { panic!() };
            assert_eq!(body, encode_event(&event(exec)).unwrap());
            peers.flush(0, &poll);
        }
    }

    #[test]
    fn connection_that_does_not_greet_hears_no_events() {
        let (folder, poll) = (tempfile::tempdir().unwrap(), Poll::new().unwrap());
        let path = folder.path().join("test.sock");
        let listener = seqpacket::listen(&path).unwrap();
        let client = connect(&path, Waits::No).unwrap();
        let mut peers = Peers::new();
        peers.accept(&listener, &poll);
        peers.report(&event(1), &poll);
        assert_eq!(recv(&client, &mut [0; 64]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

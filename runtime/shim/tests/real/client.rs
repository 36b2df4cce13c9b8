//! A client that waits: what the daemon does, one step at a time.

use orlop_sys::memfd;
use orlop_sys::seqpacket::{self, Waits};
use orlop_wire::frame::{Event, Heard, Hello, Reply, Request, decode_heard, encode_request};
use orlop_wire::packet::{DATAGRAM_BYTES_MAX, Unpacked, pack, unpack};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything may take in a test.
pub const WITHIN: Duration = Duration::from_secs(40);

pub struct Client {
    socket: OwnedFd,
    pub pidfd: OwnedFd,
    number: u64,
    events: VecDeque<Event>,
}

impl Client {
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = seqpacket::connect(path, Waits::Yes)?;
        seqpacket::send(&socket, &Hello::OURS.encode(), &[])?;
        let mut buffer = [0; 64];
        let mut received = seqpacket::recv(&socket, &mut buffer)?;
        let hello = Hello::decode(&buffer[..received.bytes]).map_err(io::Error::other)?;
        assert_eq!(hello.agree(&Hello::OURS), Ok(1));
        let pidfd = received.descriptors.pop().expect("the greeting carries a pidfd");
        Ok(Self { socket, pidfd, number: 0, events: VecDeque::new() })
    }

    /// Sends a request and does not wait.
    pub fn send(&mut self, request: &Request, slots: &[BorrowedFd<'_>]) -> u64 {
        self.number += 1;
        let packed = pack(encode_request(self.number, request).unwrap());
        let memfd = packed.memfd.map(|body| memfd::sealed(&body).unwrap());
        let descriptors: Vec<BorrowedFd<'_>> = slots.iter().copied().chain(memfd.as_ref().map(AsFd::as_fd)).collect();
        seqpacket::send(&self.socket, &packed.datagram, &descriptors).unwrap();
        self.number
    }

    pub fn send_raw(&self, bytes: &[u8]) {
        seqpacket::send(&self.socket, bytes, &[]).unwrap();
    }

    /// Waits for the reply to a request; events that come first are kept.
    pub fn reply_to(&mut self, asked: u64) -> (Reply, Vec<OwnedFd>) {
        let deadline = Instant::now() + WITHIN;
        loop {
            match self.hear(deadline) {
                Some((Heard::Reply { number, reply }, slots)) if number == asked => return (reply.unwrap(), slots),
                Some((Heard::Reply { number, .. }, _)) => panic!("a reply to {number}, not to {asked}"),
                Some((Heard::Event(event), _)) => self.events.push_back(event.unwrap()),
                None => panic!("no reply to {asked}"),
            }
        }
    }

    pub fn ask_with(&mut self, request: &Request, slots: &[BorrowedFd<'_>]) -> (Reply, Vec<OwnedFd>) {
        let number = self.send(request, slots);
        self.reply_to(number)
    }

    pub fn ask(&mut self, request: &Request) -> Reply {
        self.ask_with(request, &[]).0
    }

    #[track_caller]
    pub fn done(&mut self, request: &Request) {
        assert_eq!(self.ask(request), Reply::Done, "{request:?}");
    }

    pub fn event(&mut self) -> Event {
        self.event_within(WITHIN).expect("an event")
    }

    pub fn event_within(&mut self, within: Duration) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        match self.hear(Instant::now() + within)? {
            (Heard::Event(event), _) => event,
            (Heard::Reply { number, .. }, _) => panic!("a reply to {number} that nobody waits for"),
        }
    }

    /// Waits for a message; `None` at the end of the connection or the deadline.
    fn hear(&mut self, deadline: Instant) -> Option<(Heard, Vec<OwnedFd>)> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        if poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)).unwrap() == 0 {
            return None;
        }
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut received = seqpacket::recv(&self.socket, &mut buffer).ok()?;
        if received.bytes == 0 {
            return None;
        }
        let body = match unpack(&buffer[..received.bytes]).unwrap() {
            Unpacked::Inline(body) => body.to_vec(),
            Unpacked::InMemfd { bytes } => memfd::read_sealed(received.descriptors.pop().unwrap(), bytes).unwrap(),
        };
        Some((decode_heard(&body).unwrap(), received.descriptors))
    }

    /// Says whether the connection ends within the time that tests give.
    pub fn is_closed(&mut self) -> bool {
        self.hear(Instant::now() + WITHIN).is_none()
    }

    /// Waits until the server's process is gone.
    pub fn wait_gone(&self) -> bool {
        let timeout = Timespec { tv_sec: WITHIN.as_secs() as i64, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }
}

//! Waiting for whatever comes first.

use crate::error::{Result, Tried};
use rustix::event::{Timespec, epoll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Events taken at a time; more wait for the next round.
const BATCH: usize = 32;

/// Who an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The listening socket.
    Listener,
    /// Signals: a child ended.
    Signals,
    /// The connection of this number.
    Peer(u32),
    /// The report of the process of this number: it became its program or failed.
    Report(u32),
    /// Standard output of the task of this number.
    Stdout(u32),
    /// Standard error of the task of this number.
    Stderr(u32),
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    /// There is room to write; else there is something to read, or the end.
    pub(crate) writable: bool,
}

/// What is waited for on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    ReadAndWrite,
}

/// An epoll instance.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

// === impl Poll ===

impl Poll {
    pub(crate) fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).tried("make an epoll instance")?;
        Ok(Self { epoll, events: Vec::with_capacity(BATCH) })
    }

    /// Waits for `source` to have something to read, until it is taken away.
    pub(crate) fn add(&self, source: impl AsFd, token: Token) -> Result<()> {
        epoll::add(&self.epoll, source, data(token), flags(Interest::Read)).tried("wait for a descriptor")
    }

    pub(crate) fn change(&self, source: impl AsFd, token: Token, interest: Interest) -> Result<()> {
        epoll::modify(&self.epoll, source, data(token), flags(interest)).tried("wait for a descriptor")
    }

    /// Takes a source away. Closing it is not enough: a child between clone and exec holds a copy.
    pub(crate) fn remove(&self, source: impl AsFd) {
        // Quiet when it is not there.
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Waits until something happens or the deadline is reached.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<Vec<Ready>> {
        let timeout = deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            other => other.map_err(io::Error::from).tried("wait for events")?,
        };
        Ok(self.events.iter().filter_map(ready).collect())
    }
}

impl std::fmt::Debug for Poll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Poll")
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN,
        Interest::ReadAndWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
    }
}

/// Rounds up: waking too early would wait again for nothing.
fn timespec(duration: Duration) -> Timespec {
    let ms = i64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(i64::MAX);
    Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }
}

/// Kind in the upper half, number in the lower.
fn data(token: Token) -> epoll::EventData {
    let (kind, number) = match token {
        Token::Listener => (0, 0),
        Token::Signals => (1, 0),
        Token::Peer(number) => (2, number),
        Token::Report(number) => (3, number),
        Token::Stdout(number) => (4, number),
        Token::Stderr(number) => (5, number),
    };
    epoll::EventData::new_u64(kind << 32 | u64::from(number))
}

fn ready(event: &epoll::Event) -> Option<Ready> {
    let (flags, data) = (event.flags, event.data.u64());
    let number = u32::try_from(data & u64::from(u32::MAX)).ok()?;
    let token = match data >> 32 {
        0 => Token::Listener,
        1 => Token::Signals,
        2 => Token::Peer(number),
        3 => Token::Report(number),
        4 => Token::Stdout(number),
        5 => Token::Stderr(number),
        _ => return None,
    };
    Some(Ready { token, writable: flags.contains(epoll::EventFlags::OUT) })
}

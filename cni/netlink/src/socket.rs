//! One netlink socket: sends requests, reads answers, waits only so long.

use crate::error::{Error, Refusal, Result};
use crate::message::{Message, Request, attribute, i32_at, messages, text, u32_at};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SetSockOpt, SockFlag, SockProtocol, SockType, recvmsg, sendto, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longest time one call waits for the kernel. Requests wait for the node-wide network lock, which the slowest known
/// holders (namespaces with hundreds of links going away) keep for tens of milliseconds; seconds are an outage.
pub const REPLY_WAIT: Duration = Duration::from_secs(5);
/// Bytes one receive takes. The kernel fills at most 32 KiB of a dump into one answer; an answer to a single request is
/// smaller by far.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Most answers one call reads: bounds a dump of a node that has gone mad. 64 KiB each, about 40 links each.
const ANSWERS_MAX: usize = 4096;
/// How often a list is asked for again because something changed while the kernel wrote it; what the last try gave is
/// taken as it is, since on a node that busy no list is ever still.
const DUMP_TRIES: usize = 4;

// nix lacks these two; its macro for further options wraps the one unsafe call.
#[derive(Clone, Copy)]
struct ExtendedErrors;
nix::setsockopt_impl!(ExtendedErrors, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, bool, sockopt::SetBool);
#[derive(Clone, Copy)]
struct ShortErrors;
nix::setsockopt_impl!(ShortErrors, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, bool, sockopt::SetBool);

/// A netlink socket with its sequence numbers.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What the kernel said to one request.
enum Answer {
    Done,
    Refused(Refusal),
}

// === impl Socket ===

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(|source| Error::Socket { what: "open a netlink socket", source })?;
        Self::over(fd)
    }

    /// Works over a socket made elsewhere, in whatever namespace that was.
    pub(crate) fn over(fd: OwnedFd) -> Result<Self> {
        let set = |source| Error::Socket { what: "set up a netlink socket", source };
        let wait = TimeVal::milliseconds(i64::try_from(REPLY_WAIT.as_millis()).expect("a few seconds fit"));
        setsockopt(&fd, sockopt::ReceiveTimeout, &wait).map_err(set)?;
        setsockopt(&fd, sockopt::SendTimeout, &wait).map_err(set)?;
        ExtendedErrors.set(&fd, &true).map_err(set)?;
        ShortErrors.set(&fd, &true).map_err(set)?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// Sends all requests in one call and waits until each has been acknowledged. Returns the first refusal.
    ///
    /// The kernel goes on after a request that it refused, so the caller must be able to undo those behind it too.
    pub(crate) fn perform(&mut self, requests: &[Request]) -> Result<()> {
        self.perform_within(requests, Frame::None)
    }

    /// Like [`Socket::perform`], with a message before and one behind that the kernel does not acknowledge.
    pub(crate) fn perform_batch(&mut self, begin: &Request, requests: &[Request], end: &Request) -> Result<()> {
        self.perform_within(requests, Frame::Batch { begin, end })
    }

    fn perform_within(&mut self, requests: &[Request], frame: Frame<'_>) -> Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(requests.len() * 256);
        if let Frame::Batch { begin, .. } = frame {
            begin.write(self.next(), 0, &mut bytes);
        }
        let first = self.sequence.wrapping_add(1);
        for request in requests {
            request.write(self.next(), libc::NLM_F_ACK, &mut bytes);
        }
        if let Frame::Batch { end, .. } = frame {
            end.write(self.next(), 0, &mut bytes);
        }
        self.send(&bytes)?;
        self.wait_for_all(requests, first)
    }

    /// Asks for one thing: the first message of the answer that `read` makes something of.
    pub(crate) fn ask<T>(&mut self, request: &Request, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let mut found = None;
        self.exchange(request, |message| found = found.take().or_else(|| read(message.payload)))?;
        Ok(found)
    }

    /// Asks for a list: what `read` makes of each message of the answer.
    pub(crate) fn dump<T>(&mut self, request: &Request, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>> {
        let mut list = Vec::new();
        for _ in 0..DUMP_TRIES {
            list.clear();
            let mut torn = false;
            self.exchange(request, |message| {
                torn |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
                list.extend(read(message.payload));
            })?;
            if !torn {
                break;
            }
        }
        Ok(list)
    }

    /// Sends one request and hands every message of the answer to `each`.
    fn exchange(&mut self, request: &Request, mut each: impl FnMut(Message<'_>)) -> Result<()> {
        let sequence = self.next();
        let mut bytes = Vec::with_capacity(256);
        // Asking for an acknowledgement gives a single answer an end, as a dump has one.
        request.write(sequence, libc::NLM_F_ACK, &mut bytes);
        self.send(&bytes)?;
        let deadline = Instant::now() + REPLY_WAIT;
        for _ in 0..ANSWERS_MAX {
            let length = self.receive(request.what(), deadline)?;
            for message in messages(&self.buffer[..length], request.what()) {
                let message = message?;
                if message.sequence != sequence {
                    continue;
                }
                match answer(&message) {
                    None => each(message),
                    Some(Answer::Done) => return Ok(()),
                    Some(Answer::Refused(refusal)) => {
                        return Err(Error::Refused { request: request.what().to_owned(), refusal });
                    }
                }
            }
        }
        Err(Error::Garbled { request: request.what().to_owned(), what: "it does not end" })
    }

    fn wait_for_all(&mut self, requests: &[Request], first: u32) -> Result<()> {
        let deadline = Instant::now() + REPLY_WAIT;
        let mut waiting = vec![true; requests.len()];
        let mut failure: Option<(usize, Refusal)> = None;
        while let Some(next) = waiting.iter().position(|w| *w) {
            let length = self.receive(requests[next].what(), deadline)?;
            for message in messages(&self.buffer[..length], requests[next].what()) {
                let message = message?;
                let index = usize::try_from(message.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                match (answer(&message), waiting.get_mut(index)) {
                    (Some(Answer::Done), Some(waits)) => *waits = false,
                    (Some(Answer::Refused(refusal)), Some(waits)) => {
                        *waits = false;
                        if failure.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
                            failure = Some((index, refusal));
                        }
                    }
                    // Begin and end of a batch are never acknowledged: if one is refused, nothing else will be answered.
                    (Some(Answer::Refused(refusal)), None) if near(message.sequence, first, requests.len()) => {
                        let request = format!("{} and what goes with it", requests[0].what());
                        return Err(Error::Refused { request, refusal });
                    }
                    // Late answers to an earlier call that gave up waiting.
                    (Some(Answer::Done | Answer::Refused(_)) | None, _) => {}
                }
            }
        }
        match failure {
            None => Ok(()),
            Some((index, refusal)) => Err(Error::Refused { request: requests[index].what().to_owned(), refusal }),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        match sendto(self.fd.as_raw_fd(), bytes, &kernel, MsgFlags::empty()) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::Socket { what: "send to the kernel over netlink", source }),
        }
    }

    /// Receives one answer of the kernel into the buffer and returns its length.
    fn receive(&mut self, request: &str, deadline: Instant) -> Result<usize> {
        loop {
            if Instant::now() >= deadline {
                return Err(Error::Silent { request: request.to_owned(), after: REPLY_WAIT });
            }
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg::<NetlinkAddr>(self.fd.as_raw_fd(), &mut parts, None, MsgFlags::empty()) {
                Ok(received) if received.flags.contains(MsgFlags::MSG_TRUNC) => {
                    return Err(Error::Garbled { request: request.to_owned(), what: "it is larger than the buffer" });
                }
                // Only the kernel is 0; inside a pod's namespace someone else could write to this socket.
                Ok(received) if received.address.is_some_and(|from| from.pid() == 0) => return Ok(received.bytes),
                Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(source) => return Err(Error::Socket { what: "receive from the kernel over netlink", source }),
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

/// What goes around the requests of one call.
#[derive(Clone, Copy)]
enum Frame<'a> {
    None,
    Batch { begin: &'a Request, end: &'a Request },
}

/// Says whether a sequence number is that of the message just before or just behind the requests of this call.
fn near(sequence: u32, first: u32, count: usize) -> bool {
    let behind = u32::try_from(count).map(|count| first.wrapping_add(count));
    sequence == first.wrapping_sub(1) || behind.is_ok_and(|behind| sequence == behind)
}

/// Reads an acknowledgement, refusal or end of a dump; `None` for anything else.
fn answer(message: &Message<'_>) -> Option<Answer> {
    let kind = i32::from(message.kind);
    if kind != libc::NLMSG_ERROR && kind != libc::NLMSG_DONE {
        return None;
    }
    let code = i32_at(message.payload, 0).unwrap_or(0);
    if code == 0 {
        return Some(Answer::Done);
    }
    let words = words(message).filter(|words| !words.is_empty());
    Some(Answer::Refused(Refusal { errno: Errno::from_raw(code.wrapping_neg()), words }))
}

/// Finds the kernel's words in a refusal: attributes behind the error code and the header (or all) of the request.
fn words(message: &Message<'_>) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let flags = i32::from(message.flags);
    if flags & libc::NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let skip = if i32::from(message.kind) == libc::NLMSG_DONE {
        4
    } else if flags & libc::NLM_F_CAPPED != 0 {
        4 + 16
    } else {
        4 + usize::try_from(u32_at(message.payload, 4)?).ok()?.next_multiple_of(4)
    };
    attribute(message.payload.get(skip..)?, NLMSGERR_ATTR_MSG).map(text)
}

//! One connection to a server of ours: greeting, messages with descriptors, large bodies in sealed memfds.

use crate::config::HELLO_WITHIN;
use crate::error::{Error, Result};
use orlop_sys::seqpacket::{self, Waits};
use orlop_sys::{memfd, seqpacket::Received};
use orlop_wire::frame::{Hello, WireError};
use orlop_wire::packet::{DATAGRAM_BYTES_MAX, Packed, Unpacked, unpack};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use tokio::io::unix::AsyncFd;

/// A connection. One task owns it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: AsyncFd<OwnedFd>,
}

/// Where datagrams are received into, kept between them.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

/// A message ready to be sent, with its descriptors.
#[derive(Debug)]
pub(crate) struct Outgoing {
    datagram: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// A received message, with its descriptors.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The encoded message.
    pub(crate) body: Vec<u8>,
    /// Its slots.
    pub(crate) slots: Vec<OwnedFd>,
}

// === impl Socket ===

impl Socket {
    /// Connects and greets. Returns the server's pidfd too; `None` when nobody listens.
    pub(crate) async fn connect(path: &Path, tried: &str) -> Result<Option<(Self, OwnedFd)>> {
        let fd = match seqpacket::connect(path, Waits::No) {
            Ok(fd) => fd,
            Err(error) if nobody(&error) => return Ok(None),
            Err(error) => return Err(Error::io(format!("{tried}: connect to {}", path.display()), error)),
        };
        let socket = Self::new(fd).map_err(|error| Error::io(tried, error))?;
        let greeted = tokio::time::timeout(HELLO_WITHIN, socket.hello(tried)).await;
        let pidfd = greeted.map_err(|_| Error::Late { tried: format!("{tried}: greet"), bound: HELLO_WITHIN })??;
        Ok(pidfd.map(|pidfd| (socket, pidfd)))
    }

    fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: watch(fd)? })
    }

    async fn hello(&self, tried: &str) -> Result<Option<OwnedFd>> {
        let failed = |error| Error::io(format!("{tried}: greet"), error);
        let ours = Outgoing { datagram: Hello::OURS.encode(), descriptors: Vec::new() };
        match self.send(&ours).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        let Some((bytes, mut descriptors)) = self.receive_datagram(&mut Buffer::new()).await.map_err(failed)? else {
            return Ok(None);
        };
        let wire = |source| Error::Wire { tried: format!("{tried}: greet"), source };
        Hello::decode(&bytes).and_then(|peer| Hello::OURS.agree(&peer)).map_err(wire)?;
        match (descriptors.pop(), descriptors.is_empty()) {
            (Some(pidfd), true) => Ok(Some(pidfd)),
            (_, _) => Err(wire(WireError::Malformed("a greeting without one pidfd"))),
        }
    }

    /// Sends a message. May be dropped and called again with the same one: a datagram goes whole or not at all.
    pub(crate) async fn send(&self, message: &Outgoing) -> io::Result<()> {
        loop {
            let mut ready = self.fd.writable().await?;
            match ready.try_io(|fd| message.send(fd.as_fd())) {
                Ok(sent) => return sent,
                Err(_would_block) => {}
            }
        }
    }

    /// Receives a message; `None` at the end of the connection. May be dropped and called again.
    pub(crate) async fn receive(&self, buffer: &mut Buffer) -> io::Result<Option<Incoming>> {
        match self.receive_datagram(buffer).await? {
            Some((bytes, descriptors)) => Incoming::read(&bytes, descriptors).map(Some),
            None => Ok(None),
        }
    }

    async fn receive_datagram(&self, buffer: &mut Buffer) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.fd.readable().await?;
            match ready.try_io(|fd| seqpacket::recv(fd, &mut buffer.0)) {
                Ok(Ok(Received { bytes: 0, .. })) => return Ok(None),
                Ok(Ok(Received { bytes, descriptors })) => {
                    return Ok(Some((buffer.0[..bytes].to_vec(), descriptors)));
                }
                // A server that died with something unread.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

/// Lets tokio say when a descriptor is ready.
#[allow(deprecated, reason = "the unsafe successor asks that the descriptor stays the same, as an OwnedFd's does")]
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

fn nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

// === impl Buffer, Outgoing, Incoming ===

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(vec![0; DATAGRAM_BYTES_MAX])
    }
}

impl Outgoing {
    /// Makes a message ready to be sent, its body in a memfd when it is large.
    pub(crate) fn new(packed: Packed, mut slots: Vec<OwnedFd>) -> io::Result<Self> {
        if let Some(body) = packed.memfd {
            slots.push(memfd::sealed(&body)?);
        }
        Ok(Self { datagram: packed.datagram, descriptors: slots })
    }

    fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        seqpacket::send(socket, &self.datagram, &descriptors)
    }
}

impl Incoming {
    fn read(datagram: &[u8], mut descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let malformed = |error: WireError| io::Error::new(io::ErrorKind::InvalidData, error);
        let body = match unpack(datagram).map_err(malformed)? {
            Unpacked::Inline(body) => body.to_vec(),
            Unpacked::InMemfd { bytes } => {
                let missing = WireError::Malformed("a body in a memfd that is not there");
                let fd = descriptors.pop().ok_or_else(|| malformed(missing))?;
                memfd::read_sealed(&fd, bytes)?
            }
        };
        Ok(Self { body, slots: descriptors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_wire::packet::{INLINE_BYTES_MAX, pack};
    use std::os::fd::OwnedFd;

    fn pair() -> (Socket, Socket) {
        let (left, right) = seqpacket::pair(Waits::No).unwrap();
        (Socket::new(left).unwrap(), Socket::new(right).unwrap())
    }

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[tokio::test]
    async fn small_and_large_messages_arrive_with_their_slots() {
        let (left, right) = pair();
        for bytes in [1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 3_000_000] {
            let body = vec![5; bytes];
            let message = Outgoing::new(pack(body.clone()), vec![null(), null()]).unwrap();
            left.send(&message).await.unwrap();
            let received = right.receive(&mut Buffer::new()).await.unwrap().unwrap();
            assert_eq!((received.body == body, received.slots.len()), (true, 2));
        }
        drop(left);
        assert!(right.receive(&mut Buffer::new()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn body_that_could_still_change_is_refused() {
        let (left, right) = pair();
        let packed = pack(vec![5; INLINE_BYTES_MAX + 1]);
        let message = Outgoing { datagram: packed.datagram, descriptors: vec![null()] };
        left.send(&message).await.unwrap();
        assert_eq!(right.receive(&mut Buffer::new()).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn greeting_brings_the_pidfd_or_says_what_is_wrong() {
        let newer = Hello { min: 900, max: 901, features: 0 };
        for (answer, descriptors, expected) in [
            (Hello::OURS.encode(), vec![null()], true),
            (Hello::OURS.encode(), vec![], false),
            (newer.encode(), vec![null()], false),
            (b"GET / HTTP/1.1".to_vec(), vec![], false),
        ] {
            let (left, right) = pair();
            right.send(&Outgoing { datagram: answer, descriptors }).await.unwrap();
            assert_eq!(left.hello("try").await.is_ok(), expected);
        }
    }
}

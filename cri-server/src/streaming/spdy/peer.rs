//! A client for tests.

use super::connection::PIECE_BYTES_MAX;
use super::frame::tests::syn_stream;
use super::frame::{self, ResetStatus, StreamId};
use super::header_block::tests::Compressor;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Reply(u32),
    Data(u32, Vec<u8>, bool),
    Reset(u32, u32),
    Ping(u32),
    GoAway(u32),
}

/// A client.
pub(crate) struct Peer {
    socket: TcpStream,
    compressor: Compressor,
    next_id: u32,
}

impl Peer {
    /// Connects over loopback; returns the server's socket too.
    pub(crate) async fn pair() -> (Self, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Self::over(socket), listener.accept().await.unwrap().0)
    }

    /// Goes on over a socket on which SPDY has been agreed.
    pub(crate) fn over(socket: TcpStream) -> Self {
        Self { socket, compressor: Compressor::new(), next_id: 1 }
    }

    /// Opens a stream and waits until it is accepted.
    pub(crate) async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let id = self.begin(headers).await;
        assert_eq!(self.heard().await, Some(Heard::Reply(id)));
        id
    }

    /// Opens a stream.
    pub(crate) async fn begin(&mut self, headers: &[(&str, &str)]) -> u32 {
        let id = self.next_id;
        self.begin_as(id, headers).await;
        id
    }

    pub(crate) async fn begin_as(&mut self, id: u32, headers: &[(&str, &str)]) {
        self.next_id = self.next_id.max(id + 1) | 1;
        let bytes = syn_stream(id, headers, &mut self.compressor);
        self.raw(&bytes).await;
    }

    pub(crate) async fn send(&mut self, id: u32, bytes: &[u8], fin: bool) {
        self.raw(&frame::data(StreamId(id), bytes, fin)).await;
    }

    pub(crate) async fn reset(&mut self, id: u32) {
        self.raw(&frame::rst_stream(StreamId(id), ResetStatus::Cancel)).await;
    }

    pub(crate) async fn ping(&mut self, id: u32) {
        self.raw(&frame::ping(id)).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Reads one frame; `None` at the end.
    pub(crate) async fn heard(&mut self) -> Option<Heard> {
        let mut head = [0; 8];
        self.socket.read_exact(&mut head).await.ok()?;
        let number = |bytes: &[u8]| u32::from_be_bytes(*bytes.first_chunk().unwrap());
        let length = usize::try_from(number(&head[4..]) & 0xff_ffff).unwrap();
        assert!(length <= PIECE_BYTES_MAX);
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await.ok()?;
        Some(match number(&head) {
            0x8003_0002 => Heard::Reply(number(&body)),
            0x8003_0003 => Heard::Reset(number(&body), number(&body[4..])),
            0x8003_0006 => Heard::Ping(number(&body)),
            0x8003_0007 => Heard::GoAway(number(&body[4..])),
            id => {
                assert!(id < 1 << 31, "a frame that no client knows: {id:x}");
                Heard::Data(id, body, head[4] & 1 == 1)
            }
        })
    }

    /// Reads until these streams have ended; returns what came on each.
    pub(crate) async fn until_end(&mut self, ids: &[u32]) -> BTreeMap<u32, Vec<u8>> {
        let mut data: BTreeMap<u32, Vec<u8>> = ids.iter().map(|id| (*id, Vec::new())).collect();
        let mut open = ids.to_vec();
        while !open.is_empty() {
            match self.heard().await {
                Some(Heard::Data(id, bytes, fin)) => {
                    data.get_mut(&id).expect("no other stream has data").extend(bytes);
                    open.retain(|other| !(fin && *other == id));
                }
                other => panic!("{other:?} while {open:?} are open"),
            }
        }
        data
    }
}

//! The client's side of a stream: a connection taken over, or the bodies of an ordinary request.

use super::detach::DetachKeys;
use super::frame::Framing;
use crate::http::reply::{Reply, streamed, typed, whole};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

/// Bytes on their way between a body and a process.
const BUFFER_BYTES: usize = 64 << 10;

/// What a client sends.
pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// What a client gets.
pub(crate) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Both sides, once the client has them; `None` when it has gone before.
pub(crate) type Opened = Pin<Box<dyn Future<Output = Option<(Input, Output)>> + Send>>;

/// A client at the streams of a program.
pub(crate) struct Client {
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) framing: Framing,
    /// Only where there is a terminal.
    pub(crate) keys: Option<DetachKeys>,
}

/// Ends what a client gets. One that has gone needs no goodbye.
pub(crate) async fn end(output: &mut Output) {
    drop(output.shutdown().await);
}

/// Says something to a client where its stream was to be.
pub(crate) async fn say(output: &mut Output, text: &str) {
    drop(output.write_all(format!("{text}\r\n").as_bytes()).await);
}

/// Answers a request with a stream both ways. A client that asks for an upgrade gets its connection raw; another one gets
/// chunks, and sends chunks.
pub(crate) fn open(request: Request<Incoming>, media_type: &'static str) -> (Reply, Opened) {
    let (head, body) = request.into_parts();
    if head.headers.contains_key(UPGRADE) { upgrade(head, media_type) } else { open_bodies(Some(body), media_type) }
}

/// The same for a request whose body has been read: without an upgrade, nothing more can come from the client.
pub(crate) fn open_head(head: Parts, media_type: &'static str) -> (Reply, Opened) {
    if head.headers.contains_key(UPGRADE) { upgrade(head, media_type) } else { open_bodies(None, media_type) }
}

fn upgrade(head: Parts, media_type: &'static str) -> (Reply, Opened) {
    let upgrade = hyper::upgrade::on(Request::from_parts(head, ()));
    let mut reply = typed(StatusCode::SWITCHING_PROTOCOLS, media_type, whole(Bytes::new()));
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
    let opened = async move {
        let (input, output) = tokio::io::split(TokioIo::new(upgrade.await.ok()?));
        Some((Box::new(input) as Input, Box::new(output) as Output))
    };
    (reply, Box::pin(opened))
}

fn open_bodies(body: Option<Incoming>, media_type: &'static str) -> (Reply, Opened) {
    let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
    let (input, filled) = tokio::io::duplex(BUFFER_BYTES);
    let reply = typed(StatusCode::OK, media_type, streamed(pieces(theirs)));
    let opened = async move {
        // Ends with the body, or with whoever reads from it.
        if let Some(body) = body {
            tokio::spawn(fill(body, filled));
        }
        Some((Box::new(input) as Input, Box::new(ours) as Output))
    };
    (reply, Box::pin(opened))
}

/// Returns what is written at the other end, piece by piece.
fn pieces(from: DuplexStream) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    stream::unfold(from, |mut from| async move {
        let mut buffer = BytesMut::with_capacity(BUFFER_BYTES / 4);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some((buffer.freeze(), from)),
        }
    })
}

async fn fill(mut body: Incoming, mut to: DuplexStream) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(bytes) = frame.into_data()
            && to.write_all(&bytes).await.is_err()
        {
            return;
        }
    }
}

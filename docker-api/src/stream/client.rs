//! The client's side of a stream: a connection taken over, or the bodies of an ordinary request.

use super::detach::DetachKeys;
use super::frame::Framing;
use super::pipe;
use crate::http::body::Body;
use crate::http::reply::{Reply, streamed, typed, whole};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::future::Future;
use std::io::Cursor;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

/// Bytes on their way between a body and a process.
const BUFFER_BYTES: usize = 64 << 10;

/// What docker-py calls itself. It reads the head of an answer into a buffer, and forgets what of the stream came with it.
const FORGETS: &str = "docker-sdk-python/";
/// Longest wait until such a client has read the head of an answer, on a busy node too; then the stream comes all the same.
const HEAD_READ_WITHIN: Duration = Duration::from_secs(5);
/// Shortest wait: what reads at once may be a program that hands all on to the client.
const HEAD_HANDED_ON: Duration = Duration::from_millis(50);
/// Pause between two looks.
const HEAD_PAUSE: Duration = Duration::from_millis(1);

/// What a client sends.
pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// What a client gets.
pub(crate) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Comes to its end when the client has gone for good. One that only sends nothing more has not.
pub(crate) type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

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

/// Answers a request with a stream both ways. A client that asks for an upgrade gets its connection raw; another one gets
/// chunks, and sends chunks.
pub(crate) fn open(request: Request<Body>, media_type: &'static str) -> (Reply, Opened, Gone) {
    let (head, body) = request.into_parts();
    if head.headers.contains_key(UPGRADE) { upgrade(head, media_type) } else { open_bodies(body.take(), media_type) }
}

/// The same for a request whose body has been read: without an upgrade, nothing more can come from the client.
pub(crate) fn open_head(head: Parts, media_type: &'static str) -> (Reply, Opened) {
    let (reply, opened, _) =
        if head.headers.contains_key(UPGRADE) { upgrade(head, media_type) } else { open_bodies(None, media_type) };
    (reply, opened)
}

fn upgrade(head: Parts, media_type: &'static str) -> (Reply, Opened, Gone) {
    let forgets = forgets(&head.headers);
    let upgrade = hyper::upgrade::on(Request::from_parts(head, ()));
    let mut reply = typed(StatusCode::SWITCHING_PROTOCOLS, media_type, whole(Bytes::new()));
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
    let (open, is_open) = oneshot::channel();
    let opened = async move {
        // The server hands over connections of one type.
        let parts = upgrade.await.ok()?.downcast::<TokioIo<UnixStream>>().ok()?;
        let connection = parts.io.into_inner();
        if forgets {
            let read = tokio::time::timeout(HEAD_READ_WITHIN, until_read(&connection));
            drop(tokio::join!(read, tokio::time::sleep(HEAD_HANDED_ON)));
        }
        // Nobody may want to know when it ends.
        drop(open.send(connection.as_fd().try_clone_to_owned().ok()?));
        let (input, output) = connection.into_split();
        // What came with the head of the request was read with it.
        let input = Cursor::new(parts.read_buf).chain(input);
        Some((Box::new(input) as Input, Box::new(output) as Output))
    };
    let gone = async move {
        // Else it never was open.
        if let Ok(connection) = is_open.await {
            gone(connection).await;
        }
    };
    (reply, Box::pin(opened), Box::pin(gone))
}

/// Says whether a client loses what of a stream comes together with the head.
fn forgets(headers: &HeaderMap) -> bool {
    headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(FORGETS.as_bytes()))
}

/// Waits until a client has read all that was sent. A connection that can't tell has nobody to wait for.
async fn until_read(connection: &UnixStream) {
    while orlop_sys::socket::unread_by_peer(connection.as_fd()).is_ok_and(|unread| unread > 0) {
        tokio::time::sleep(HEAD_PAUSE).await;
    }
}

/// Waits until both directions of a connection are closed; unix(7), poll(2).
async fn gone(connection: OwnedFd) {
    let Ok(connection) = pipe::watch(connection) else { return std::future::pending().await };
    loop {
        // Woken by changes alone. Not by the end of what the client sends, which would be there at every look from then on.
        let Ok(mut ready) = connection.writable().await else { return };
        let mut look = [PollFd::new(&connection, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut look, Some(&now)).is_ok_and(|found| found > 0) {
            return;
        }
        ready.clear_ready();
    }
}

fn open_bodies(body: Option<Incoming>, media_type: &'static str) -> (Reply, Opened, Gone) {
    let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
    let (input, filled) = tokio::io::duplex(BUFFER_BYTES);
    let reply = typed(StatusCode::OK, media_type, streamed(pieces(theirs)));
    let (mut back, output) = tokio::io::split(ours);
    let opened = async move {
        // Ends with the body, or with whoever reads from it.
        if let Some(body) = body {
            tokio::spawn(fill(body, filled));
        }
        Some((Box::new(input) as Input, Box::new(output) as Output))
    };
    // Nothing ever comes back but the end, when the answer is dropped.
    let gone = async move { drop(back.read(&mut [0; 1]).await) };
    (reply, Box::pin(opened), Box::pin(gone))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_is_waited_for_has_read_all() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"head").await.unwrap();
        let mut read = tokio::spawn(async move {
            until_read(&ours).await;
            ours
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut read).await.is_err(), "nothing is read yet");
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        // Nor is one waited for that has gone.
        let mut ours = read.await.unwrap();
        ours.write_all(b"more").await.unwrap();
        drop(theirs);
        until_read(&ours).await;
    }

    #[test]
    fn only_a_client_that_is_known_to_forget_is_waited_for() {
        for (agent, waits) in [("docker-sdk-python/6.1.3", true), ("Docker-Client/28.2.2 (linux)", false), ("", false)]
        {
            let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(agent))]);
            assert_eq!(forgets(&headers), waits, "{agent}");
        }
        assert!(!forgets(&HeaderMap::new()));
    }
}

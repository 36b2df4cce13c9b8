//! One client's connection: its streams, read and written, until one side has enough.
//!
//! Memory is bounded whoever stalls. What a client sends waits in its stream's pipe of [`STREAM_BYTES_MAX`]; is that full, the
//! connection is not read on. What it does not take waits in a queue of [`QUEUED_FRAMES_MAX`] frames; is that full, who
//! produces waits. So one connection holds at most `STREAMS_MAX * STREAM_BYTES_MAX + QUEUED_FRAMES_MAX * PIECE_BYTES_MAX`.

use super::frame::{self, Broken, Decoder, Event, GoAwayStatus, ResetStatus, StreamId};
use super::header_block::{Headers, Writer};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, Interest, Ready};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Most streams of a connection: a command has five, and two belong to each connection forwarded to a port.
pub(crate) const STREAMS_MAX: usize = 512;
/// Most bytes of one stream that were received and not taken. As much as a pipe of the kernel holds by half.
pub(crate) const STREAM_BYTES_MAX: usize = 32 << 10;
/// Most bytes of one frame that we send.
pub(crate) const PIECE_BYTES_MAX: usize = 32 << 10;
/// Most frames that wait for the client to take them.
const QUEUED_FRAMES_MAX: usize = 4;
/// How much is read at a time.
const READ_BYTES: usize = 16 << 10;
/// How often a client that we do not read from is sent a word. If it has gone, its last words may not even fit into our
/// socket's buffer, so that its end does not arrive either; but its kernel answers that nobody is there.
const PROBE: Duration = Duration::from_secs(1);
/// Number of the pings for it: even ones are ours.
const PROBE_ID: u32 = 2;
/// How long a client may take to close its side once all is said. To close before it does would destroy what it has not read.
const LINGER: Duration = Duration::from_secs(2);

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// All was said.
    #[error("done")]
    Done,
    /// The client went.
    #[error("the client went")]
    Gone,
    /// Nothing was sent or taken for long.
    #[error("nothing was sent or taken for {0:?}")]
    Idle(Duration),
    /// The client can't be understood.
    #[error("the client can't be understood: {0}")]
    Broken(#[from] Broken),
    /// The connection could not be taken over.
    #[error("use the connection: {0}")]
    Io(#[from] io::Error),
}

/// The client has gone: what is sent reaches nobody.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client went")]
pub(crate) struct Gone;

/// A client and the streams that it opens.
#[derive(Debug)]
pub(crate) struct Client {
    streams: mpsc::Receiver<Stream>,
}

/// A stream that a client opened and that was accepted.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Which.
    pub(crate) id: StreamId,
    /// What for.
    pub(crate) headers: Headers,
    /// What the client sends, to its end. Dropped, all that is to come is passed over.
    pub(crate) incoming: DuplexStream,
    /// Comes when the client gives the stream up: it takes no more either.
    pub(crate) given_up: oneshot::Receiver<()>,
    /// What we send.
    pub(crate) outgoing: Outgoing,
}

/// Our side of a stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    id: StreamId,
    outbox: Outbox,
    /// Lets the reader know that somebody cares for this stream.
    _alive: Arc<()>,
}

/// Frames on their way to the client.
#[derive(Clone, Debug)]
struct Outbox(mpsc::Sender<Said>);

#[derive(Debug)]
enum Said {
    Frame(Vec<u8>),
    /// The last one.
    Last(Vec<u8>),
}

/// Serves a connection with a handler, of which only streams with headers that `accept` accepts are heard. `received` was read
/// from the socket already. The handler is dropped when the client goes; when it returns, the connection is ended in order.
pub(crate) async fn serve<Handled: Future<Output = ()>>(
    socket: TcpStream,
    received: Bytes,
    idle_max: Duration,
    accept: impl Fn(&Headers) -> bool,
    handler: impl FnOnce(Client) -> Handled,
) -> End {
    let hang_up = match HangUp::of(&socket) {
        Ok(hang_up) => hang_up,
        Err(wrong) => return End::Io(wrong),
    };
    let (mut read_half, write_half) = socket.into_split();
    let (said, to_say) = mpsc::channel(QUEUED_FRAMES_MAX);
    let (opened, streams) = mpsc::channel(STREAMS_MAX);
    let outbox = Outbox(said);
    let seen = Seen::default();
    let desk = Desk::new(opened, outbox.clone(), &seen, &hang_up, accept);
    let end = {
        let work = async {
            handler(Client { streams }).await;
            drop(outbox.last(frame::go_away(seen.last(), GoAwayStatus::Ok)).await);
            pending::<Infallible>().await
        };
        let mut writer = std::pin::pin!(write(write_half, to_say, &seen));
        let end = tokio::select! {
            ended = &mut writer => if ended.is_ok() { End::Done } else { End::Gone },
            end = read(&mut read_half, received, desk, &seen) => end,
            () = seen.idle(idle_max) => End::Idle(idle_max),
            never = work => match never {},
        };
        if let End::Broken(_) = end {
            let complain = async {
                drop(outbox.last(frame::go_away(seen.last(), GoAwayStatus::ProtocolError)).await);
                drop(writer.await);
            };
            drop(timeout(LINGER, complain).await);
        }
        end
    };
    if let End::Done | End::Broken(_) = end {
        drop(timeout(LINGER, discard(&mut read_half)).await);
    }
    end
}

// === impl Client ===

impl Client {
    /// Waits for the next stream; `None` when the client has gone.
    pub(crate) async fn next_stream(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Sends bytes, and returns when they are on their way.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), Gone> {
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            self.outbox.frame(frame::data(self.id, piece, false)).await?;
        }
        Ok(())
    }

    /// Says that no more comes.
    pub(crate) async fn finish(self) -> Result<(), Gone> {
        self.outbox.frame(frame::data(self.id, b"", true)).await
    }

    /// Gives the stream up.
    pub(crate) async fn reset(self, status: ResetStatus) -> Result<(), Gone> {
        self.outbox.frame(frame::rst_stream(self.id, status)).await
    }
}

impl Outbox {
    async fn frame(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.0.send(Said::Frame(bytes)).await.map_err(|_| Gone)
    }

    async fn last(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.0.send(Said::Last(bytes)).await.map_err(|_| Gone)
    }
}

/// Writes what is to be said, one frame after the other; to be cancelled is to break the frame at hand.
async fn write(mut half: OwnedWriteHalf, mut to_say: mpsc::Receiver<Said>, seen: &Seen) -> io::Result<()> {
    while let Some(said) = to_say.recv().await {
        let (Said::Frame(bytes) | Said::Last(bytes)) = &said;
        half.write_all(bytes).await?;
        seen.activity();
        if let Said::Last(_) = said {
            break;
        }
    }
    half.shutdown().await
}

// === reading ===

async fn read<A: Fn(&Headers) -> bool>(
    half: &mut OwnedReadHalf,
    received: Bytes,
    mut desk: Desk<'_, A>,
    seen: &Seen,
) -> End {
    let (mut decoder, mut bytes) = (Decoder::new(), BytesMut::from(received));
    loop {
        loop {
            match decoder.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    if desk.take(event).await == Err(Gone) {
                        return End::Gone;
                    }
                }
                Err(broken) => return End::Broken(broken),
            }
        }
        bytes.reserve(READ_BYTES);
        match half.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return End::Gone,
            Ok(_) => seen.activity(),
        }
    }
}

/// Reads until the client closes.
async fn discard(half: &mut OwnedReadHalf) {
    let mut space = vec![0; READ_BYTES];
    while half.read(&mut space).await.is_ok_and(|count| count > 0) {}
}

/// Where what the client says is handed on.
struct Desk<'a, A> {
    streams: HashMap<StreamId, Inbox>,
    opened: mpsc::Sender<Stream>,
    outbox: Outbox,
    replies: Writer,
    seen: &'a Seen,
    hang_up: &'a HangUp,
    accept: A,
}

/// The client's side of a stream.
struct Inbox {
    /// Where its bytes go; `None` once it has sent all, or nobody wants more.
    pipe: Option<DuplexStream>,
    given_up: oneshot::Sender<()>,
    alive: Weak<()>,
}

impl<'a, A: Fn(&Headers) -> bool> Desk<'a, A> {
    fn new(opened: mpsc::Sender<Stream>, outbox: Outbox, seen: &'a Seen, hang_up: &'a HangUp, accept: A) -> Self {
        Self { streams: HashMap::new(), opened, outbox, replies: Writer::default(), seen, hang_up, accept }
    }

    async fn take(&mut self, event: Event) -> Result<(), Gone> {
        match event {
            Event::Opened { id, headers, fin } => self.open(id, headers, fin).await,
            Event::Data { id, bytes, fin } => self.data(id, &bytes, fin).await,
            Event::Reset { id } => {
                if let Some(inbox) = self.streams.remove(&id) {
                    // Nobody may care any more.
                    let _ = inbox.given_up.send(());
                }
                Ok(())
            }
            // Odd numbers are the client's own; others would answer what we never asked.
            Event::Ping { id } if id % 2 == 1 => self.outbox.frame(frame::ping(id)).await,
            Event::Ping { .. } => Ok(()),
            // Clients say it when they close.
            Event::GoAway => Err(Gone),
        }
    }

    async fn open(&mut self, id: StreamId, headers: Headers, fin: bool) -> Result<(), Gone> {
        if id.0.is_multiple_of(2) || id <= self.seen.last() || !(self.accept)(&headers) {
            return self.outbox.frame(frame::rst_stream(id, ResetStatus::ProtocolError)).await;
        }
        self.seen.opened(id);
        if self.streams.len() >= STREAMS_MAX {
            self.streams.retain(|_, inbox| inbox.alive.strong_count() > 0);
        }
        let (alive, (ours, theirs), (give_up, given_up)) =
            (Arc::new(()), tokio::io::duplex(STREAM_BYTES_MAX), oneshot::channel());
        let inbox = Inbox { pipe: (!fin).then_some(ours), given_up: give_up, alive: Arc::downgrade(&alive) };
        let outgoing = Outgoing { id, outbox: self.outbox.clone(), _alive: alive };
        let stream = Stream { id, headers, incoming: theirs, given_up, outgoing };
        // Full, or nobody takes streams any more.
        if self.streams.len() >= STREAMS_MAX || self.opened.try_send(stream).is_err() {
            return self.outbox.frame(frame::rst_stream(id, ResetStatus::RefusedStream)).await;
        }
        self.streams.insert(id, inbox);
        let reply = frame::syn_reply(id, &mut self.replies);
        self.outbox.frame(reply).await
    }

    async fn data(&mut self, id: StreamId, bytes: &[u8], fin: bool) -> Result<(), Gone> {
        let Some(inbox) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some(pipe) = &mut inbox.pipe else { return Ok(()) };
        let written = {
            let mut write = std::pin::pin!(pipe.write_all(bytes));
            loop {
                tokio::select! {
                    biased;
                    written = &mut write => break written,
                    // It is full, and nobody but the socket can say that the client has gone.
                    () = self.hang_up.wait() => return Err(Gone),
                    () = sleep(PROBE) => self.outbox.frame(frame::ping(PROBE_ID)).await?,
                }
            }
        };
        if fin || written.is_err() {
            inbox.pipe = None;
        }
        Ok(())
    }
}

// === what was seen ===

/// When something last happened, and which stream was last opened.
#[derive(Debug)]
struct Seen {
    activity: Mutex<Instant>,
    last: AtomicU32,
}

impl Default for Seen {
    fn default() -> Self {
        Self { activity: Mutex::new(Instant::now()), last: AtomicU32::new(0) }
    }
}

impl Seen {
    fn activity(&self) {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn opened(&self, id: StreamId) {
        self.last.store(id.0, Ordering::Relaxed);
    }

    fn last(&self) -> StreamId {
        StreamId(self.last.load(Ordering::Relaxed))
    }

    /// Returns when nothing has happened for so long.
    async fn idle(&self, max: Duration) {
        loop {
            let due = *self.activity.lock().unwrap_or_else(PoisonError::into_inner) + max;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

/// Sees that the client has closed, while nobody reads what it sent before.
struct HangUp(AsyncFd<OwnedFd>);

impl HangUp {
    fn of(socket: &TcpStream) -> io::Result<Self> {
        // A registration of its own: what is cleared here must not hide data from the reader.
        let socket = socket.as_fd().try_clone_to_owned()?;
        super::super::descriptor::watch(socket, Interest::READABLE).map(Self)
    }

    async fn wait(&self) {
        while let Ok(mut guard) = self.0.ready(Interest::READABLE).await {
            if guard.ready().is_read_closed() {
                return;
            }
            guard.clear_ready_matching(Ready::READABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::{Heard, Peer};
    use super::*;
    use tokio::task::JoinHandle;

    const IDLE: Duration = Duration::from_secs(60);

    /// Serves one connection with a handler; returns its client.
    async fn served<F: Future<Output = ()> + Send + 'static>(
        idle: Duration,
        handler: impl FnOnce(Client) -> F + Send + 'static,
    ) -> (Peer, JoinHandle<End>) {
        let (peer, socket) = Peer::pair().await;
        let accept = |headers: &Headers| headers.get("streamtype").is_some();
        (peer, tokio::spawn(serve(socket, Bytes::new(), idle, accept, handler)))
    }

    /// Says everything again on every stream.
    async fn echo(mut client: Client) {
        while let Some(mut stream) = client.next_stream().await {
            tokio::spawn(async move {
                let mut space = vec![0; 1000];
                while let Ok(count @ 1..) = stream.incoming.read(&mut space).await {
                    if stream.outgoing.send(&space[..count]).await.is_err() {
                        return;
                    }
                }
                drop(stream.outgoing.finish().await);
            });
        }
    }

    #[tokio::test]
    async fn what_is_sent_on_a_stream_comes_back_on_it_and_ends_when_it_ended() {
        let (mut peer, served) = served(IDLE, echo).await;
        let (one, two) = (peer.open(&[("streamtype", "a")]).await, peer.open(&[("streamtype", "b")]).await);
        peer.send(one, b"first", false).await;
        peer.send(two, b"second", true).await;
        peer.send(one, b"", true).await;
        assert_eq!(peer.until_end(&[one, two]).await, [(one, b"first".to_vec()), (two, b"second".to_vec())].into());
        peer.ping(7).await;
        assert_eq!(peer.heard().await, Some(Heard::Ping(7)));
        drop(peer);
        assert!(matches!(served.await.unwrap(), End::Gone));
    }

    #[tokio::test]
    async fn streams_that_can_not_be_are_reset_and_others_go_on() {
        let (mut peer, _served) = served(IDLE, echo).await;
        let refused = peer.begin(&[("other", "x")]).await;
        assert_eq!(peer.heard().await, Some(Heard::Reset(refused, ResetStatus::ProtocolError as u32)));
        let good = peer.open(&[("streamtype", "a")]).await;
        // Used before, and one of the server's numbers.
        for bad in [good, 2] {
            peer.begin_as(bad, &[("streamtype", "a")]).await;
            assert_eq!(peer.heard().await, Some(Heard::Reset(bad, ResetStatus::ProtocolError as u32)));
        }
        peer.send(good, b"still there", true).await;
        assert_eq!(peer.until_end(&[good]).await[&good], b"still there");
    }

    #[tokio::test]
    async fn more_streams_than_allowed_are_refused_until_some_are_done_with() {
        let (hold, held) = mpsc::unbounded_channel();
        let (mut peer, _served) = served(IDLE, async move |mut client: Client| {
            while let Some(stream) = client.next_stream().await {
                hold.send(stream).unwrap();
            }
        })
        .await;
        for _ in 0..STREAMS_MAX {
            peer.open(&[("streamtype", "a")]).await;
        }
        let refused = peer.begin(&[("streamtype", "a")]).await;
        assert_eq!(peer.heard().await, Some(Heard::Reset(refused, ResetStatus::RefusedStream as u32)));
        let mut held = held;
        drop(held.recv().await);
        peer.open(&[("streamtype", "a")]).await;
    }

    #[tokio::test]
    async fn a_client_that_can_not_be_understood_is_told_and_let_go() {
        let (mut peer, served) = served(IDLE, echo).await;
        peer.raw(b"\xffGET / HTTP/1.1\r\n\r\n").await;
        assert_eq!(peer.heard().await, Some(Heard::GoAway(GoAwayStatus::ProtocolError as u32)));
        assert_eq!(peer.heard().await, None);
        drop(peer);
        assert!(matches!(served.await.unwrap(), End::Broken(_)));
    }

    #[tokio::test]
    async fn what_was_said_arrives_whole_before_the_end() {
        let (mut peer, served) = served(IDLE, async |mut client: Client| {
            let stream = client.next_stream().await.unwrap();
            stream.outgoing.send(&vec![7; 300_000]).await.unwrap();
            stream.outgoing.finish().await.unwrap();
        })
        .await;
        let id = peer.open(&[("streamtype", "a")]).await;
        // Left unread by us, so that a careless close would reset the connection.
        peer.send(id, b"unread", false).await;
        assert_eq!(peer.until_end(&[id]).await[&id], vec![7; 300_000]);
        assert_eq!(peer.heard().await, Some(Heard::GoAway(GoAwayStatus::Ok as u32)));
        assert_eq!(peer.heard().await, None);
        drop(peer);
        assert!(matches!(served.await.unwrap(), End::Done));
    }

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_though_nobody_reads_what_it_sent() {
        let (mut peer, served) = served(IDLE, async |mut client: Client| {
            let _unread = client.next_stream().await;
            pending::<()>().await;
        })
        .await;
        let id = peer.open(&[("streamtype", "a")]).await;
        // More than the pipe, and less than the sockets between hold.
        peer.send(id, &vec![1; STREAM_BYTES_MAX * 4], false).await;
        drop(peer);
        assert!(matches!(served.await.unwrap(), End::Gone));
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_holds_up_who_sends() {
        let (count, mut counted) = mpsc::unbounded_channel();
        let (mut peer, served) = served(IDLE, async move |mut client: Client| {
            let stream = client.next_stream().await.unwrap();
            while stream.outgoing.send(&[0; PIECE_BYTES_MAX]).await.is_ok() {
                count.send(()).unwrap();
            }
        })
        .await;
        peer.open(&[("streamtype", "a")]).await;
        let mut pieces = 0;
        while timeout(Duration::from_millis(300), counted.recv()).await.is_ok_and(|sent| sent.is_some()) {
            pieces += 1;
            assert!(pieces < 2000, "64 MB are underway and nobody takes them");
        }
        drop(peer);
        assert!(matches!(served.await.unwrap(), End::Gone));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_happens_is_ended() {
        let (mut peer, served) = served(Duration::from_secs(3600), echo).await;
        peer.open(&[("streamtype", "a")]).await;
        assert!(matches!(served.await.unwrap(), End::Idle(_)));
        assert_eq!(peer.heard().await, None);
    }

    #[tokio::test]
    async fn a_stream_given_up_is_heard_of() {
        let (tell, told) = oneshot::channel();
        let (mut peer, _served) = served(IDLE, async move |mut client: Client| {
            let stream = client.next_stream().await.unwrap();
            tell.send(stream.given_up.await).unwrap();
        })
        .await;
        let id = peer.open(&[("streamtype", "a")]).await;
        peer.reset(id).await;
        assert_eq!(told.await.unwrap(), Ok(()));
    }
}

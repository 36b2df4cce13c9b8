//! A program run beside a container's own, its streams carried to a client and back.

use super::client::{Client, Input, Output};
use super::detach::{DetachKeys, Passed};
use super::frame::Framing;
use super::pipe::Pipe;
use crate::logs::line::Stream;
use bytes::{Buf, Bytes};
use orlop_model::error::Result;
use orlop_model::ports::{ExecEnded, OpenExec, internal};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes copied at once.
const COPY_BYTES: usize = 32 << 10;
/// How long output is waited for when the program has ended and something that it left holds its streams open.
const SILENCE: Duration = Duration::from_millis(250);
/// Longest that a client may take nothing at all when its program has ended, and then it is given up. A person may read on for
/// long before turning a page.
const STALLED_MAX: Duration = Duration::from_secs(60 * 60);

/// What came of it.
pub(crate) struct Carried {
    /// Exit status.
    pub(crate) code: i32,
    /// The client's side, to be ended; `None` without a client, or when it has gone.
    pub(crate) output: Option<Output>,
}

/// Carries streams until the program has ended. A client that leaves does not end it.
pub(crate) async fn carry(open: OpenExec, client: Option<Client>) -> Result<Carried> {
    let OpenExec { streams, ended, .. } = open;
    let pipe =
        |end: Option<_>| end.map(Pipe::new).transpose().map_err(|wrong| internal(format!("watch a stream: {wrong}")));
    let (stdin, stdout, stderr) = (pipe(streams.stdin)?, pipe(streams.stdout)?, pipe(streams.stderr)?);
    let (input, output, framing, keys) = match client {
        Some(Client { input, output, framing, keys }) => (Some(input), Some(output), framing, keys),
        None => (None, None, Framing::Raw, None),
    };
    // Dropped when its sender has no more to say: the program reads the end.
    let mut takes = tokio::spawn(take(input, stdin, keys));
    let mut is_taking = true;
    let mut gives = Gives { stdout, stderr, output, framing, piece: Bytes::new() };
    let mut ended = ended;
    let ended: ExecEnded = loop {
        tokio::select! {
            ended = &mut ended => break ended?,
            taken = &mut takes, if is_taking => {
                is_taking = false;
                if matches!(taken, Ok(Taken::Detached)) {
                    gives.leave().await;
                }
            }
            more = gives.step() => if !more {
                break ended.await?;
            },
        }
    };
    gives.rest().await;
    takes.abort();
    if let Some(why) = &ended.never_started {
        gives.say(&format!("OCI runtime exec failed: exec failed: unable to start container process: {why}\r\n")).await;
    }
    Ok(Carried { code: ended.exit_code, output: gives.output })
}

/// What a program writes, on its way to a client.
struct Gives {
    stdout: Option<Pipe>,
    stderr: Option<Pipe>,
    output: Option<Output>,
    framing: Framing,
    /// What was read and is not with the client yet: a step may be dropped at any time, and nothing may be lost by that.
    piece: Bytes,
}

impl Gives {
    /// Hands on what comes next; false when both streams have ended. May be dropped, and called again.
    async fn step(&mut self) -> bool {
        self.hand_on().await;
        let more = self.read().await;
        self.hand_on().await;
        more
    }

    /// Hands on what an ended program has left in its streams, also to a slow client.
    async fn rest(&mut self) {
        loop {
            loop {
                let before = self.piece.remaining();
                if tokio::time::timeout(STALLED_MAX, self.hand_on()).await.is_ok() {
                    break;
                }
                if self.piece.remaining() == before {
                    self.output = None;
                }
            }
            let more = match tokio::time::timeout(SILENCE, self.read()).await {
                Ok(more) => more,
                // The kernel brings a terminal's last words by the way, unless somebody reads.
                Err(_) => self.read_now(),
            };
            if !more {
                return;
            }
        }
    }

    /// Reads the next piece; false when both streams have ended. May be dropped.
    async fn read(&mut self) -> bool {
        if self.stdout.is_none() && self.stderr.is_none() {
            return false;
        }
        let (mut out, mut err) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
        let (stream, read) = tokio::select! {
            read = read(self.stdout.as_ref(), &mut out) => (Stream::Stdout, read),
            read = read(self.stderr.as_ref(), &mut err) => (Stream::Stderr, read),
        };
        let (end, buffer) = match stream {
            Stream::Stdout => (&mut self.stdout, out),
            Stream::Stderr => (&mut self.stderr, err),
        };
        match read {
            0 => *end = None,
            read => self.piece = self.framing.frame(stream, &buffer[..read]),
        }
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Reads a piece that is there; false when there is none.
    fn read_now(&mut self) -> bool {
        let mut buffer = vec![0; COPY_BYTES];
        let found =
            [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)].into_iter().find_map(|(stream, pipe)| {
                let read = pipe.as_ref()?.read_now(&mut buffer).ok().filter(|read| *read > 0)?;
                Some((stream, read))
            });
        let Some((stream, read)) = found else { return false };
        self.piece = self.framing.frame(stream, &buffer[..read]);
        true
    }

    /// Sends the piece. A client that has gone is forgotten; the program is read on, so that it never waits. May be dropped.
    async fn hand_on(&mut self) {
        let Self { output, piece, .. } = self;
        let Some(client) = output else { return piece.clear() };
        let sent = async {
            while piece.has_remaining() {
                if client.write_buf(piece).await? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            client.flush().await
        };
        if sent.await.is_err() {
            self.output = None;
            self.piece.clear();
        }
    }

    /// Lets the client go; the program goes on without it.
    async fn leave(&mut self) {
        if let Some(mut output) = self.output.take() {
            super::client::end(&mut output).await;
        }
    }

    async fn say(&mut self, text: &str) {
        self.piece = self.framing.frame(Stream::Stdout, text.as_bytes());
        self.hand_on().await;
    }
}

async fn read(pipe: Option<&Pipe>, buffer: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Why no more is taken from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// It has ended its side, or nobody reads it any more.
    All,
    /// It left by the keys.
    Detached,
}

/// Takes what the client sends, to its end or to the keys.
async fn take(input: Option<Input>, stdin: Option<Pipe>, mut keys: Option<DetachKeys>) -> Taken {
    let (Some(mut input), Some(stdin)) = (input, stdin) else { return Taken::All };
    let mut buffer = vec![0; COPY_BYTES];
    while let Ok(read @ 1..) = input.read(&mut buffer).await {
        let (bytes, left) = match keys.as_mut().map(|keys| keys.pass(&buffer[..read])) {
            None => (buffer[..read].to_vec(), None),
            Some(Passed::On(bytes)) => (bytes, None),
            Some(Passed::Detached(bytes)) => (bytes, Some(Taken::Detached)),
        };
        let written = stdin.write_all(&bytes).await;
        if let Some(left) = left {
            return left;
        }
        if written.is_err() {
            return Taken::All;
        }
    }
    Taken::All
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::streams::Streams;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::os::fd::OwnedFd;
    use tokio::io::DuplexStream;
    use tokio::sync::oneshot;

    /// Less than a piece, so that a client is always behind.
    const IN_FLIGHT: usize = 1000;
    /// Fits into a pipe, and is several pieces.
    const OUTPUT_BYTES: usize = 60_000;

    #[tokio::test(start_paused = true)]
    async fn streams_that_have_ended_are_not_waited_for() {
        let mut gives = Gives { stdout: None, stderr: None, output: None, framing: Framing::Raw, piece: Bytes::new() };
        assert_eq!(tokio::time::timeout(SILENCE, gives.step()).await, Ok(false));
    }

    /// A program that has said something, and ends when told to; what it left behind keeps its output open.
    struct Said {
        open: OpenExec,
        end: oneshot::Sender<ExecEnded>,
        bytes: Vec<u8>,
        _left: OwnedFd,
    }

    const ENDED: ExecEnded = ExecEnded { exit_code: 3, never_started: None };

    fn said() -> Said {
        let (stdout, left) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let bytes: Vec<u8> = (0..OUTPUT_BYTES).map(|at| (at % 251) as u8).collect();
        assert_eq!(rustix::io::write(&left, &bytes), Ok(OUTPUT_BYTES));
        let (end, ended) = oneshot::channel();
        let ended = Box::pin(async move { Ok(ended.await.unwrap()) });
        let open = OpenExec { pid: 1, streams: Streams { stdin: None, stdout: Some(stdout), stderr: None }, ended };
        Said { open, end, bytes, _left: left }
    }

    fn client(output: DuplexStream) -> Client {
        Client { input: Box::new(tokio::io::empty()), output: Box::new(output), framing: Framing::Raw, keys: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let said = said();
        let (_takes_nothing, output) = tokio::io::duplex(IN_FLIGHT);
        said.end.send(ENDED).unwrap();
        let carried = carry(said.open, Some(client(output))).await.unwrap();
        assert!(carried.code == 3 && carried.output.is_none());
    }

    /// Its program has ended before, and then it takes its time.
    #[tokio::test]
    async fn a_client_slower_than_its_program_hears_all_of_it() {
        let said = said();
        let (mut hears, output) = tokio::io::duplex(IN_FLIGHT);
        let carried = tokio::spawn(carry(said.open, Some(client(output))));
        let mut heard = vec![0; IN_FLIGHT];
        hears.read_exact(&mut heard).await.unwrap();
        said.end.send(ENDED).unwrap();
        tokio::time::sleep(2 * SILENCE).await;
        let rest = tokio::spawn(async move {
            hears.read_to_end(&mut heard).await.unwrap();
            heard
        });
        let carried = carried.await.unwrap().unwrap();
        assert_eq!(carried.code, 3);
        drop(carried);
        assert!(rest.await.unwrap() == said.bytes, "something was lost or came twice");
    }
}

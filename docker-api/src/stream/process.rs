//! A program run beside a container's own, its streams carried to a client and back.

use super::client::{Client, Input, Output};
use super::detach::{DetachKeys, Passed};
use super::frame::Framing;
use super::pipe::Pipe;
use crate::logs::line::Stream;
use orlop_model::error::Result;
use orlop_model::ports::{ExecEnded, OpenExec, internal};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes copied at once.
const COPY_BYTES: usize = 32 << 10;
/// How long output is waited for when the program has ended and something that it left holds its streams open.
const SILENCE: Duration = Duration::from_millis(250);

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
    let mut gives = Gives { stdout, stderr, output, framing };
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
    while tokio::time::timeout(SILENCE, gives.step()).await.unwrap_or(false) {}
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
}

impl Gives {
    /// Hands on what comes next; false when both streams have ended.
    async fn step(&mut self) -> bool {
        if self.stdout.is_none() && self.stderr.is_none() {
            return false;
        }
        let (mut out, mut err) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
        let (stream, read) = tokio::select! {
            read = read(self.stdout.as_ref(), &mut out) => (Stream::Stdout, read),
            read = read(self.stderr.as_ref(), &mut err) => (Stream::Stderr, read),
            else => return false,
        };
        let (end, buffer) = match stream {
            Stream::Stdout => (&mut self.stdout, out),
            Stream::Stderr => (&mut self.stderr, err),
        };
        match read {
            0 => *end = None,
            read => {
                let piece = self.framing.frame(stream, &buffer[..read]);
                self.send(&piece).await;
            }
        }
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// A client that has gone is forgotten; the program is read on, so that it never waits.
    async fn send(&mut self, piece: &[u8]) {
        let Some(output) = &mut self.output else { return };
        let sent = async {
            output.write_all(piece).await?;
            output.flush().await
        };
        if sent.await.is_err() {
            self.output = None;
        }
    }

    /// Lets the client go; the program goes on without it.
    async fn leave(&mut self) {
        if let Some(mut output) = self.output.take() {
            super::client::end(&mut output).await;
        }
    }

    async fn say(&mut self, text: &str) {
        let piece = self.framing.frame(Stream::Stdout, text.as_bytes());
        self.send(&piece).await;
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

    #[tokio::test(start_paused = true)]
    async fn streams_that_have_ended_are_not_waited_for() {
        let mut gives = Gives { stdout: None, stderr: None, output: None, framing: Framing::Raw };
        assert_eq!(tokio::time::timeout(SILENCE, gives.step()).await, Ok(false));
    }
}

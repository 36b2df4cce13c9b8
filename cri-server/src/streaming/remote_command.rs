//! Exec and attach: a command's streams, copied between its descriptors and the client.
//!
//! The order at the end matters: output first, each stream with its own end, then how the command ended. Clients read the
//! verdict only when both outputs have ended.

use super::descriptor::Descriptor;
use super::negotiate::Protocol;
use super::spdy::{Client, End, Headers, Outgoing};
use super::terminal_size::Sizes;
use super::verdict::Verdict;
use super::work::{CloseStdin, Command, Open, Opened, Resize, Terminal};
use super::{IDLE_MAX, STREAMS_WITHIN, spdy};
use bytes::Bytes;
use orlop_model::streams::{Streams, WantedStreams};
use std::convert::Infallible;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

/// How much is copied at a time.
const COPY_BYTES: usize = 16 << 10;
/// How long output may be silent, after the program's end, until there is no more of it. What the program wrote lies ready
/// then, also a terminal's, for who reads it. Programs it left behind may keep the output open for good; nobody waits for
/// them.
const SILENCE: Duration = Duration::from_millis(100);

/// What a stream is for; the value of the header `streamtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Carries the verdict.
    Error,
    Stdin,
    Stdout,
    Stderr,
    /// Carries sizes of the terminal.
    Resize,
}

/// The streams that a client must open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected(Vec<Purpose>);

/// The streams that a client has opened.
#[derive(Debug, Default)]
struct Ends {
    error: Option<Outgoing>,
    /// Kept to its end, so that what comes is not passed over.
    stdin: Option<DuplexStream>,
    stdout: Option<Outgoing>,
    stderr: Option<Outgoing>,
    resize: Option<DuplexStream>,
}

/// Serves a client of a command, to the end of one of them.
pub(crate) async fn serve(command: Command, protocol: Protocol, socket: TcpStream, received: Bytes) -> End {
    let Command { container: _, wanted, terminal, open, close_stdin } = command;
    let expected = Expected::of(wanted, terminal, protocol);
    let accept = |headers: &Headers| Purpose::of(headers).is_some_and(|purpose| expected.0.contains(&purpose));
    let closing = close_stdin.clone();
    let handle = |client| handle(client, &expected, protocol, open, closing);
    let end = spdy::serve(socket, received, IDLE_MAX, accept, handle).await;
    if let Some(close) = close_stdin {
        closed(&close).await;
    }
    end
}

async fn handle(mut client: Client, expected: &Expected, protocol: Protocol, open: Open, close: Option<CloseStdin>) {
    let mut ends = Ends::default();
    let verdict = match timeout(STREAMS_WITHIN, ends.collect(&mut client, expected)).await {
        // No more are taken.
        Ok(true) => {
            drop(client);
            match open().await {
                Ok(opened) => run(opened, &mut ends, close).await,
                Err(failure) => Verdict::Failed(failure.message),
            }
        }
        Ok(false) => return,
        Err(_) => Verdict::Failed(format!("not all streams were opened within {STREAMS_WITHIN:?}")),
    };
    let Ends { error, stdin: _, stdout, stderr, resize: _ } = ends;
    for output in [stdout, stderr].into_iter().flatten() {
        drop(output.finish().await);
    }
    if let Some(error) = error {
        let text = verdict.text(protocol);
        // One that has gone hears nothing.
        if error.send(text.as_bytes()).await.is_ok() {
            drop(error.finish().await);
        }
    }
}

/// Copies until the command has ended and its output too.
async fn run(opened: Opened, ends: &mut Ends, close: Option<CloseStdin>) -> Verdict {
    let Opened { streams: Streams { stdin, stdout, stderr }, resize, ended } = opened;
    let (over, seen) = watch::channel(false);
    let end = async {
        let Some(ended) = ended else { return Verdict::Success };
        let verdict = Verdict::of(ended.await);
        over.send_replace(true);
        verdict
    };
    let outputs = async {
        tokio::join!(
            copy_out(stdout, ends.stdout.take(), seen.clone()),
            copy_out(stderr, ends.stderr.take(), seen.clone()),
        )
    };
    let inputs = async {
        tokio::join!(copy_in(ends.stdin.take(), stdin, close), follow_size(ends.resize.take(), resize));
        pending::<Infallible>().await
    };
    tokio::select! {
        (verdict, _) = async { tokio::join!(end, outputs) } => verdict,
        never = inputs => match never {},
    }
}

/// Copies output to its end, or until the program is over and it is silent.
async fn copy_out(from: Option<OwnedFd>, to: Option<Outgoing>, mut over: watch::Receiver<bool>) {
    if let Some(from) = from.map(Descriptor::new).and_then(|from| from.inspect_err(unusable).ok()) {
        let mut space = vec![0; COPY_BYTES];
        loop {
            let read = if *over.borrow_and_update() {
                match timeout(SILENCE, from.read(&mut space)).await {
                    Ok(read) => read,
                    Err(_) => from.read_now(&mut space),
                }
            } else {
                tokio::select! {
                    read = from.read(&mut space) => read,
                    Ok(()) = over.changed() => continue,
                }
            };
            let Ok(count @ 1..) = read else { break };
            // What nobody wants is taken all the same, so that the program goes on.
            if let Some(to) = &to
                && to.send(&space[..count]).await.is_err()
            {
                return;
            }
        }
    }
    if let Some(to) = to {
        drop(to.finish().await);
    }
}

/// Copies standard input to its end.
async fn copy_in(from: Option<DuplexStream>, to: Option<OwnedFd>, close: Option<CloseStdin>) {
    let Some(mut from) = from else { return };
    if let Some(to) = to.map(Descriptor::new).and_then(|to| to.inspect_err(unusable).ok()) {
        let mut space = vec![0; COPY_BYTES];
        while let Ok(count @ 1..) = from.read(&mut space).await {
            // Nobody reads it any more: what is to come is passed over.
            if to.write_all(&space[..count]).await.is_err() {
                return;
            }
        }
    }
    if let Some(close) = close {
        closed(&close).await;
    }
}

/// Gives the terminal the size that the client's has.
async fn follow_size(from: Option<DuplexStream>, resize: Resize) {
    let Some(mut from) = from else { return };
    let (mut sizes, mut space) = (Sizes::default(), [0; 256]);
    while let Ok(count @ 1..) = from.read(&mut space).await {
        match sizes.take(&space[..count]) {
            Ok(None) => {}
            Ok(Some(size)) => {
                if let Err(failure) = resize(size).await {
                    debug!(error = %failure, ?size, "the terminal keeps its size");
                }
            }
            Err(wrong) => {
                debug!(error = %wrong, "the terminal keeps its size");
                return;
            }
        }
    }
}

async fn closed(close: &CloseStdin) {
    if let Err(failure) = close().await {
        debug!(error = %failure, "standard input is not closed; the container may have ended");
    }
}

fn unusable(wrong: &std::io::Error) {
    debug!(error = %wrong, "a stream of the process can't be used");
}

// === impl Purpose ===

impl Purpose {
    fn of(headers: &Headers) -> Option<Self> {
        Some(match headers.get("streamtype")? {
            "error" => Self::Error,
            "stdin" => Self::Stdin,
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            "resize" => Self::Resize,
            _ => return None,
        })
    }
}

impl Expected {
    fn of(wanted: WantedStreams, terminal: Terminal, protocol: Protocol) -> Self {
        let resize = terminal == Terminal::Yes && protocol.has_sizes();
        let purposes = [
            (Purpose::Error, true),
            (Purpose::Stdin, wanted.stdin),
            (Purpose::Stdout, wanted.stdout),
            (Purpose::Stderr, wanted.stderr),
            (Purpose::Resize, resize),
        ];
        Self(purposes.into_iter().filter(|(_, wanted)| *wanted).map(|(purpose, _)| purpose).collect())
    }
}

impl Ends {
    /// Waits until all that are expected are open; false when the client goes.
    async fn collect(&mut self, client: &mut Client, expected: &Expected) -> bool {
        while !expected.0.iter().all(|purpose| self.has(*purpose)) {
            let Some(stream) = client.next_stream().await else { return false };
            // One that comes twice takes the place of the first.
            match Purpose::of(&stream.headers).expect("others are not accepted") {
                Purpose::Error => self.error = Some(stream.outgoing),
                Purpose::Stdin => self.stdin = Some(stream.incoming),
                Purpose::Stdout => self.stdout = Some(stream.outgoing),
                Purpose::Stderr => self.stderr = Some(stream.outgoing),
                Purpose::Resize => self.resize = Some(stream.incoming),
            }
        }
        true
    }

    fn has(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Error => self.error.is_some(),
            Purpose::Stdin => self.stdin.is_some(),
            Purpose::Stdout => self.stdout.is_some(),
            Purpose::Stderr => self.stderr.is_some(),
            Purpose::Resize => self.resize.is_some(),
        }
    }
}

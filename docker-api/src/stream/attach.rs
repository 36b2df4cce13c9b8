//! A client at the streams of a container, from before its start to the end of its run.
//!
//! Nothing is lost: what was written before the client had its share, or faster than it reads, is in the container's log, and is
//! read from there.

use super::client::{Gone, Input, Opened, Output};
use super::detach::{DetachKeys, Passed};
use super::frame::Framing;
use super::pipe::Pipe;
use crate::life::Life;
use crate::logs::file::Streams;
use crate::logs::follow::Follow;
use crate::logs::line::{Line, Stream};
use crate::logs::watch::Watch;
use orlop_model::Timestamp;
use orlop_model::container::{LogPath, Stdin};
use orlop_model::streams::{Attached, OutputBytes, WantedStreams};
use orlop_usecases::Facade;
use std::fs::File;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::debug;

/// Bytes copied at once.
const COPY_BYTES: usize = 32 << 10;
/// How long a program may take to read what a client has sent that is gone.
const REST_WITHIN: Duration = Duration::from_secs(30);
/// How much earlier than a run's start its first line may be stamped: both come from one clock, read one after the other.
const STAMP_SLACK: Duration = Duration::from_millis(50);

/// What a client wants of a container's streams.
pub(crate) struct Session {
    pub(crate) facade: Facade,
    pub(crate) wanted: Streams,
    /// To send standard input.
    pub(crate) stdin: bool,
    pub(crate) framing: Framing,
    /// What was written before.
    pub(crate) logs: bool,
    /// What is written from now on.
    pub(crate) stream: bool,
    /// Only where there is a terminal.
    pub(crate) detach: Option<DetachKeys>,
    /// Its log, opened and watched before the client is answered: it may be gone a moment after the container's end.
    pub(crate) log: Option<OpenLog>,
    /// What becomes of standard input when a client ends it.
    pub(crate) stdin_mode: Stdin,
    pub(crate) life: Life,
    /// The client's end: what runs may be silent for ever.
    pub(crate) gone: Gone,
}

/// A log opened and watched.
#[derive(Debug)]
pub(crate) struct OpenLog {
    file: File,
    watch: Watch,
    /// Its length when it was opened.
    bytes: u64,
}

impl OpenLog {
    /// Opens the log of a container; `None` when it has none.
    pub(crate) fn open(path: Option<&LogPath>) -> io::Result<Option<Self>> {
        let Some(log) = path else { return Ok(None) };
        let path = log.directory.join(&log.file);
        let watch = Watch::new(&path)?;
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Some(Self { file, watch, bytes }))
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// With the container's run, or with the client.
    Ended,
    /// By the keys.
    Detached,
}

impl Session {
    /// Serves the client to the end.
    pub(crate) async fn run(mut self, opened: Opened) -> Left {
        let Some((input, mut output)) = opened.await else { return Left::Ended };
        let left = match self.serve(input, &mut output).await {
            Ok(left) => left,
            Err(wrong) => {
                debug!(error = %wrong, "an attached client has gone");
                Left::Ended
            }
        };
        // A client that has gone needs no goodbye.
        drop(output.shutdown().await);
        left
    }

    async fn serve(&mut self, input: Input, output: &mut Output) -> io::Result<Left> {
        let mut gone = std::mem::replace(&mut self.gone, Box::pin(std::future::pending()));
        let begun = tokio::select! {
            // First: what runs already is given what the client sent, though that has gone by now.
            biased;
            begun = self.until_it_runs(output) => begun?,
            () = &mut gone => None,
        };
        match begun {
            Some((sent, begin)) => self.follow(input, output, sent, begin, gone).await,
            None => Ok(Left::Ended),
        }
    }

    /// Sends what was there, and waits for a run where none is under way; `None` where none is to be followed.
    async fn until_it_runs(&mut self, output: &mut Output) -> io::Result<Option<(Sent, Begin)>> {
        let mut sent = Sent::new(self.wanted, self.framing);
        if !self.stream || self.life.started().is_none() {
            // What was there, and where that of the next run begins.
            let at = self.log.as_ref().map_or(0, |log| log.bytes);
            if self.logs {
                self.send_log(output, &mut sent, at).await?;
            }
            if !self.stream || !self.life.next_run().await {
                return Ok(None);
            }
            sent = Sent::new(self.wanted, self.framing);
            return Ok(Some((sent, Begin::At(at))));
        }
        let begin = match (self.logs, self.life.started()) {
            (true, Some(started)) => Begin::All { run: started },
            (true, None) => Begin::At(0),
            (false, started) => Begin::Now { run: started },
        };
        Ok(Some((sent, begin)))
    }

    /// Sends the log up to this byte.
    async fn send_log(&mut self, output: &mut Output, sent: &mut Sent, bytes: u64) -> io::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let mut log = Follow::new(log.file.try_clone()?, 0, None).up_to(bytes);
        let mut pieces = Vec::new();
        while log.next(&mut self.life, |line| sent.whole(&line, &mut pieces)).await? {
            output.write_all(&pieces).await?;
            pieces.clear();
        }
        output.flush().await
    }

    /// Sends what the run writes, and takes what the client sends.
    async fn follow(
        &mut self,
        input: Input,
        output: &mut Output,
        mut sent: Sent,
        begin: Begin,
        gone: Gone,
    ) -> io::Result<Left> {
        let Some(id) = self.life.view().map(|view| view.asked.id.clone()) else { return Ok(Left::Ended) };
        let wanted = WantedStreams { stdin: self.stdin, stdout: self.wanted.stdout, stderr: self.wanted.stderr };
        // It may have ended at once: then all of it is in the log. A part that can't give a share leaves that too.
        let live = crate::seam::attach(&self.facade, &id, wanted).await;
        let (live, from) = match live {
            Ok(Attached { streams, from, now }) => (Some(streams), Some((from, now))),
            Err(failure) => {
                debug!(container = %id, error = %failure, "no share in the streams: all comes from the log");
                (None, None)
            }
        };
        let (stdin, stdout, stderr) = match live {
            Some(streams) => {
                let pipe = |end: Option<_>| end.map(Pipe::new).transpose();
                (pipe(streams.stdin)?, pipe(streams.stdout)?, pipe(streams.stderr)?)
            }
            None => (None, None, None),
        };
        let takes = take_input(input, stdin, self.detach.take());
        let closes = Closes { facade: self.facade.clone(), id, mode: self.stdin_mode };
        let gives = async {
            tokio::select! {
                given = self.give(output, &mut sent, begin, from, [stdout, stderr]) => given,
                () = gone => Err(io::ErrorKind::BrokenPipe.into()),
            }
        };
        let mut takes = std::pin::pin!(takes);
        let mut gives = std::pin::pin!(gives);
        let given = tokio::select! {
            given = &mut gives => given,
            taken = &mut takes => {
                if taken == Left::Detached {
                    return Ok(Left::Detached);
                }
                closes.close().await;
                return gives.await.map(|()| Left::Ended);
            }
        };
        if given.is_err() {
            // What it sent before it went is taken all the same.
            let rest = async {
                if takes.await == Left::Ended {
                    closes.close().await;
                }
            };
            drop(tokio::time::timeout(REST_WITHIN, rest).await);
        }
        given.map(|()| Left::Ended)
    }

    async fn give(
        &mut self,
        output: &mut Output,
        sent: &mut Sent,
        begin: Begin,
        share: Option<(OutputBytes, OutputBytes)>,
        live: [Option<Pipe>; 2],
    ) -> io::Result<()> {
        let is_live = share.is_some();
        let (at, run) = match begin {
            Begin::At(at) => (at, None),
            Begin::All { run } => (0, Some(run)),
            // Without a share in the streams, what comes is read from the end of the log on.
            Begin::Now { .. } if !is_live => (self.log.as_ref().map_or(0, |log| log.bytes), None),
            Begin::Now { run } => (0, run),
        };
        let mut log = self.log.take().map(|log| Follow::new(log.file, at, Some(log.watch)));
        sent.run = run.map(|run| Timestamp(run.0 - i64::try_from(STAMP_SLACK.as_nanos()).unwrap_or_default()));
        match begin {
            Begin::All { .. } => sent.earlier = true,
            Begin::Now { .. } => sent.skip_to(share.map(|(_, now)| now).unwrap_or_default()),
            Begin::At(_) => {}
        }
        if let Some((from, _)) = share {
            if let Some(log) = log.as_mut().filter(|_| !matches!(begin, Begin::Now { .. })) {
                self.catch_up(log, output, sent, from).await?;
            }
            copy_live(live, output, sent, from).await?;
        }
        // What the client was too slow for, or all of it.
        if let Some(log) = &mut log {
            let mut pieces = Vec::new();
            while log.next(&mut self.life, |line| sent.line(&line, &mut pieces)).await? {
                output.write_all(&pieces).await?;
                output.flush().await?;
                pieces.clear();
            }
        }
        while self.life.runs() {
            self.life.changed().await;
        }
        Ok(())
    }

    /// Sends what the log has of the run up to where the streams begin.
    async fn catch_up(
        &mut self,
        log: &mut Follow,
        output: &mut Output,
        sent: &mut Sent,
        from: OutputBytes,
    ) -> io::Result<()> {
        let mut pieces = Vec::new();
        while !sent.has_seen(from) && log.next(&mut self.life, |line| sent.line(&line, &mut pieces)).await? {
            output.write_all(&pieces).await?;
            pieces.clear();
        }
        output.flush().await
    }
}

/// Where in the log a client begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    /// There: the run begins at this byte.
    At(u64),
    /// At its beginning; the run that is on began then.
    All { run: Timestamp },
    /// Now; the run began then, where that is known.
    Now { run: Option<Timestamp> },
}

/// Copies what comes by the streams, but for what was sent from the log already.
async fn copy_live(live: [Option<Pipe>; 2], output: &mut Output, sent: &mut Sent, from: OutputBytes) -> io::Result<()> {
    let [mut stdout, mut stderr] = live;
    let mut at = [from.stdout, from.stderr];
    let (mut out, mut err) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
    while stdout.is_some() || stderr.is_some() {
        let (stream, read) = tokio::select! {
            read = read(stdout.as_ref(), &mut out) => (Stream::Stdout, read?),
            read = read(stderr.as_ref(), &mut err) => (Stream::Stderr, read?),
        };
        let (end, buffer, at) = match stream {
            Stream::Stdout => (&mut stdout, &out, &mut at[0]),
            Stream::Stderr => (&mut stderr, &err, &mut at[1]),
        };
        if read == 0 {
            *end = None;
            continue;
        }
        let mut pieces = Vec::new();
        sent.live(stream, *at, &buffer[..read], &mut pieces);
        *at += read as u64;
        output.write_all(&pieces).await?;
        output.flush().await?;
    }
    Ok(())
}

async fn read(pipe: Option<&Pipe>, buffer: &mut [u8]) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read(buffer).await,
        None => std::future::pending().await,
    }
}

/// Takes what the client sends, to its end or to the keys.
async fn take_input(mut input: Input, stdin: Option<Pipe>, mut detach: Option<DetachKeys>) -> Left {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = match input.read(&mut buffer).await {
            Ok(0) | Err(_) => return Left::Ended,
            Ok(read) => &buffer[..read],
        };
        let (bytes, left) = match detach.as_mut().map(|keys| keys.pass(read)) {
            None => (read.to_vec(), None),
            Some(Passed::On(bytes)) => (bytes, None),
            Some(Passed::Detached(bytes)) => (bytes, Some(Left::Detached)),
        };
        if let Some(stdin) = &stdin
            && stdin.write_all(&bytes).await.is_err()
        {
            // Nobody reads it any more; the client's own end is still waited for.
            drop(tokio::io::copy(&mut input, &mut tokio::io::sink()).await);
            return Left::Ended;
        }
        if let Some(left) = left {
            return left;
        }
    }
}

/// Ends standard input with the first client, where that was asked for.
struct Closes {
    facade: Facade,
    id: orlop_model::ContainerId,
    mode: Stdin,
}

impl Closes {
    async fn close(&self) {
        match self.mode {
            Stdin::Null | Stdin::Open => {}
            Stdin::Once => {
                if let Err(failure) = crate::seam::close_stdin(&self.facade, &self.id).await {
                    debug!(container = %self.id, error = %failure, "standard input could not be closed");
                }
            }
        }
    }
}

/// What of a run's output has been sent: every byte once, whether it came from the log or by a stream.
#[derive(Debug)]
struct Sent {
    wanted: Streams,
    framing: Framing,
    /// When the run began: earlier lines of the log are not of it.
    run: Option<Timestamp>,
    /// Whether earlier lines are sent too.
    earlier: bool,
    /// Bytes of the run that the log has passed by, of each stream.
    seen: [u64; 2],
    /// Bytes of the run that were sent, of each stream.
    sent: [u64; 2],
}

impl Sent {
    fn new(wanted: Streams, framing: Framing) -> Self {
        Self { wanted, framing, run: None, earlier: false, seen: [0; 2], sent: [0; 2] }
    }

    /// Counts as sent what the client does not want to hear.
    fn skip_to(&mut self, from: OutputBytes) {
        self.sent = [from.stdout, from.stderr];
    }

    /// Says whether the log has passed by all that is before the streams.
    fn has_seen(&self, from: OutputBytes) -> bool {
        let [stdout, stderr] = self.seen;
        (!self.wanted.stdout || stdout >= from.stdout) && (!self.wanted.stderr || stderr >= from.stderr)
    }

    fn at(stream: Stream) -> usize {
        match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        }
    }

    /// Sends a line whatever run it is of.
    fn whole(&mut self, line: &Line<'_>, out: &mut Vec<u8>) {
        if self.wanted.wants(line.stream) {
            out.extend_from_slice(&self.framing.frame(line.stream, &line.bytes()));
        }
    }

    /// Sends what of a line was not sent yet.
    fn line(&mut self, line: &Line<'_>, out: &mut Vec<u8>) {
        if self.run.is_some_and(|run| line.at < run) {
            if self.earlier {
                self.whole(line, out);
            }
            return;
        }
        let at = Self::at(line.stream);
        let begins = self.seen[at];
        self.seen[at] += line.written();
        self.rest(line.stream, begins, &line.bytes(), out);
    }

    /// Sends what of a piece was not sent yet.
    fn live(&mut self, stream: Stream, begins: u64, bytes: &[u8], out: &mut Vec<u8>) {
        self.rest(stream, begins, bytes, out);
    }

    fn rest(&mut self, stream: Stream, begins: u64, bytes: &[u8], out: &mut Vec<u8>) {
        let sent = &mut self.sent[Self::at(stream)];
        let skip = usize::try_from(sent.saturating_sub(begins)).unwrap_or(usize::MAX).min(bytes.len());
        let rest = &bytes[skip..];
        if rest.is_empty() {
            return;
        }
        *sent = begins + bytes.len() as u64;
        if self.wanted.wants(stream) {
            out.extend_from_slice(&self.framing.frame(stream, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Streams = Streams { stdout: true, stderr: true };

    fn line(text: &str) -> String {
        format!("1970-01-01T00:00:09.000000000Z {text}")
    }

    #[test]
    fn every_byte_is_sent_once_from_the_log_or_by_the_stream() {
        let mut sent = Sent::new(BOTH, Framing::Raw);
        let mut out = Vec::new();
        let log = [line("stdout F one"), line("stdout P tw"), line("stdout F o"), line("stdout F three")];
        for text in &log[..2] {
            sent.line(&Line::parse(text.as_bytes()).unwrap(), &mut out);
        }
        assert!(
            sent.has_seen(OutputBytes { stdout: 4, stderr: 0 }) && !sent.has_seen(OutputBytes { stdout: 7, stderr: 0 })
        );
        // The stream begins within what the log has given already, and ends early.
        sent.live(Stream::Stdout, 4, b"two\nth", &mut out);
        for text in &log[2..] {
            sent.line(&Line::parse(text.as_bytes()).unwrap(), &mut out);
        }
        assert_eq!(String::from_utf8(out).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn lines_of_earlier_runs_are_sent_only_when_asked_for() {
        for (earlier, expected) in [(true, "old\nnew\n"), (false, "new\n")] {
            let mut sent = Sent::new(BOTH, Framing::Raw);
            (sent.run, sent.earlier) = (Some(Timestamp(8_000_000_000)), earlier);
            let mut out = Vec::new();
            for text in ["1970-01-01T00:00:01.000000000Z stdout F old", &line("stdout F new")] {
                sent.line(&Line::parse(text.as_bytes()).unwrap(), &mut out);
            }
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(sent.sent, [4, 0]);
        }
    }
}

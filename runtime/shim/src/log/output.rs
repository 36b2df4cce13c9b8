//! The output of one container: to its log first, then to clients that are attached.

use super::clients::Clients;
use super::lines::Lines;
use super::sink::Sink;
use super::source::{Read, Source, Terminal};
use crate::clock::Stamp;
use crate::error::{Result, Tried};
use crate::poll::{Poll, Token};
use orlop_wire::frame::Console;
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, OwnedFd};

/// Bytes read at once: what a pipe holds by default.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// Bytes of log lines gathered before they are written. Empty lines grow by forty times, so that this bounds memory.
const BATCH_BYTES: usize = 64 * 1024;
/// Input cut at a time: at worst all line breaks, which make a line of some 45 bytes each.
const CUT_BYTES: usize = BATCH_BYTES / 32;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Standard output, all output of a terminal.
    Stdout,
    Stderr,
}

/// Output of one container.
#[derive(Debug)]
pub(crate) struct Output {
    console: Console,
    stdout: Stream,
    stderr: Stream,
    sink: Sink,
}

/// One stream.
#[derive(Debug)]
struct Stream {
    /// `None` once it has ended, or before there is a terminal.
    source: Option<Source>,
    lines: Lines,
    /// Bytes that came so far.
    bytes: u64,
    clients: Clients,
}

/// The ends that the container gets.
#[derive(Debug)]
pub(crate) struct WriteEnds {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

// === impl Output ===

impl Output {
    /// Makes output that comes from nowhere yet.
    pub(crate) fn new(console: Console, log: Option<OwnedFd>, line_bytes_max: u32) -> Self {
        let part = usize::try_from(line_bytes_max).unwrap_or(usize::MAX);
        let stream =
            |name| Stream { source: None, lines: Lines::new(name, part), bytes: 0, clients: Clients::default() };
        Self { console, stdout: stream("stdout"), stderr: stream("stderr"), sink: Sink::new(log) }
    }

    /// Makes the pipes of the task of this number, and waits for them.
    pub(crate) fn open_pipes(&mut self, number: u32, poll: &Poll) -> Result<WriteEnds> {
        let (stdout, stdout_end) = make_pipe()?;
        let (stderr, stderr_end) = make_pipe()?;
        poll.add(&stdout, Token::Stdout(number))?;
        poll.add(&stderr, Token::Stderr(number))?;
        self.stdout.source = Some(Source::Pipe(stdout));
        self.stderr.source = Some(Source::Pipe(stderr));
        Ok(WriteEnds { stdout: stdout_end, stderr: stderr_end })
    }

    /// Takes the terminal of the task of this number, and waits for it.
    pub(crate) fn take_terminal(&mut self, master: OwnedFd, number: u32, poll: &Poll) -> Result<()> {
        poll.add(&master, Token::Stdout(number))?;
        self.stdout.source = Some(Source::Terminal(Terminal::new(master)));
        Ok(())
    }

    /// Returns its terminal, while it has one.
    pub(crate) fn terminal(&mut self) -> Option<&mut Terminal> {
        match &mut self.stdout.source {
            Some(Source::Terminal(terminal)) => Some(terminal),
            Some(Source::Pipe(_)) | None => None,
        }
    }

    pub(crate) fn console(&self) -> Console {
        self.console
    }

    /// Says whether both streams have ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.stdout.source.is_none() && self.stderr.source.is_none()
    }

    /// Reads once; writes what came to the log, then to clients.
    pub(crate) fn read(&mut self, which: Which, buffer: &mut [u8], poll: &Poll) {
        let (stream, sink) = self.stream(which);
        let Some(source) = &mut stream.source else { return };
        match source.read(buffer) {
            Read::Bytes(bytes) => stream.take(&buffer[..bytes], sink),
            Read::Dry => {}
            Read::End => self.close(which, poll),
        }
    }

    /// Ends a stream: what it left without a line break is written.
    fn close(&mut self, which: Which, poll: &Poll) {
        let (stream, sink) = self.stream(which);
        if let Some(source) = stream.source.take() {
            poll.remove(&source);
            let mut log = Vec::new();
            stream.lines.end(Stamp::now(), &mut log);
            sink.append(&log);
            stream.clients.end();
        }
    }

    /// Ends both streams, though someone may still hold the other end: reads what is there and no more.
    pub(crate) fn give_up(&mut self, buffer: &mut [u8], poll: &Poll) {
        /// Reads for each stream: a pipe holds a megabyte at most unless root made it larger.
        const READS_MAX: usize = 16;
        for which in [Which::Stdout, Which::Stderr] {
            for _ in 0..READS_MAX {
                self.read(which, buffer, poll);
            }
            self.close(which, poll);
        }
    }

    /// Writes to another file from now on.
    pub(crate) fn reopen(&mut self, log: OwnedFd) {
        self.sink.replace(log);
    }

    // === clients ===

    /// Says whether one more client may hear it.
    pub(crate) fn has_room(&mut self) -> bool {
        self.stdout.clients.has_room() && self.stderr.clients.has_room()
    }

    /// Lets a client hear a stream, from the first byte that is not in the log yet. One that has ended is one without bytes.
    pub(crate) fn attach(&mut self, which: Which, pipe: OwnedFd) {
        let (stream, _) = self.stream(which);
        if stream.source.is_some() {
            stream.clients.add(pipe, stream.lines.carried());
        }
    }

    /// Returns how many bytes of a stream came so far.
    pub(crate) fn came(&mut self, which: Which) -> u64 {
        self.stream(which).0.bytes
    }

    /// Returns how many bytes of a stream were written to the log.
    pub(crate) fn logged(&mut self, which: Which) -> u64 {
        let (stream, _) = self.stream(which);
        stream.bytes - if stream.source.is_some() { stream.lines.carried().len() as u64 } else { 0 }
    }

    fn stream(&mut self, which: Which) -> (&mut Stream, &mut Sink) {
        match which {
            Which::Stdout => (&mut self.stdout, &mut self.sink),
            Which::Stderr => (&mut self.stderr, &mut self.sink),
        }
    }
}

// === impl Stream ===

impl Stream {
    fn take(&mut self, bytes: &[u8], sink: &mut Sink) {
        self.bytes += bytes.len() as u64;
        let stamp = Text::of(Stamp::now());
        let mut log = Vec::with_capacity(bytes.len() + bytes.len() / 2);
        for piece in bytes.chunks(CUT_BYTES) {
            self.lines.push(piece, &stamp, &mut log);
            if log.len() >= BATCH_BYTES {
                sink.append(&log);
                log.clear();
            }
        }
        sink.append(&log);
        self.clients.tell(bytes);
    }
}

fn make_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (pipe, end) = pipe_with(PipeFlags::CLOEXEC).tried("make a pipe")?;
    // Only our end does not wait; the container's is a pipe like any other.
    rustix::io::ioctl_fionbio(pipe.as_fd(), true).tried("make a pipe")?;
    Ok((pipe, end))
}

/// A stamp made text once for all lines of a batch.
struct Text(String);

impl Text {
    fn of(stamp: Stamp) -> Self {
        Self(stamp.to_string())
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

//! The pipes of one container, and the log they go to.

use super::lines::Lines;
use super::sink::Sink;
use crate::clock::Stamp;
use crate::error::{Result, Tried};
use crate::poll::{Poll, Token};
use rustix::io::Errno;
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
    Stdout,
    Stderr,
}

/// Output of one container.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    sink: Sink,
}

/// A pipe that is still open.
#[derive(Debug)]
struct Stream {
    pipe: OwnedFd,
    lines: Lines,
}

/// The ends that the container gets.
#[derive(Debug)]
pub(crate) struct WriteEnds {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

// === impl Output ===

impl Output {
    /// Makes the pipes of the task of this number, and waits for them.
    pub(crate) fn new(
        number: u32,
        log: Option<OwnedFd>,
        line_bytes_max: u32,
        poll: &Poll,
    ) -> Result<(Self, WriteEnds)> {
        let part = usize::try_from(line_bytes_max).unwrap_or(usize::MAX);
        let (stdout, stdout_end) = Stream::new(Lines::new("stdout", part))?;
        let (stderr, stderr_end) = Stream::new(Lines::new("stderr", part))?;
        poll.add(&stdout.pipe, Token::Stdout(number))?;
        poll.add(&stderr.pipe, Token::Stderr(number))?;
        let output = Self { stdout: Some(stdout), stderr: Some(stderr), sink: Sink::new(log) };
        Ok((output, WriteEnds { stdout: stdout_end, stderr: stderr_end }))
    }

    /// Says whether both pipes have ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Reads once and writes what came.
    pub(crate) fn read(&mut self, which: Which, buffer: &mut [u8], poll: &Poll) {
        let slot = match which {
            Which::Stdout => &mut self.stdout,
            Which::Stderr => &mut self.stderr,
        };
        let Some(stream) = slot else { return };
        match rustix::io::read(&stream.pipe, &mut *buffer) {
            Ok(0) => self.close(which, poll),
            Ok(bytes) => stream.log(&buffer[..bytes], &mut self.sink),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A pipe has no other errors; were there one, waiting for it for ever would spin.
            Err(_) => self.close(which, poll),
        }
    }

    /// Ends a stream: what it left without a line break is written.
    fn close(&mut self, which: Which, poll: &Poll) {
        let slot = match which {
            Which::Stdout => &mut self.stdout,
            Which::Stderr => &mut self.stderr,
        };
        if let Some(mut stream) = slot.take() {
            poll.remove(&stream.pipe);
            let mut log = Vec::new();
            stream.lines.end(Stamp::now(), &mut log);
            self.sink.append(&log);
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
}

// === impl Stream ===

impl Stream {
    fn new(lines: Lines) -> Result<(Self, OwnedFd)> {
        let (pipe, end) = pipe_with(PipeFlags::CLOEXEC).tried("make a pipe")?;
        // Only our end does not wait; the container's is a pipe like any other.
        rustix::io::ioctl_fionbio(pipe.as_fd(), true).tried("make a pipe")?;
        Ok((Self { pipe, lines }, end))
    }

    fn log(&mut self, bytes: &[u8], sink: &mut Sink) {
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
    }
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

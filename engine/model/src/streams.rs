//! Standard streams of processes in the hands of the daemon. Descriptors travel; bytes never pass the core.

use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// Standard streams of a process, our ends of them; none blocks. What nobody wanted is `None`.
///
/// With a terminal there is no standard error: all output comes by `stdout`, which for an exec is the terminal itself.
/// `stdin` of a terminal is that terminal too, and must only be written to: who reads takes output from others.
#[derive(Debug, Default)]
pub struct Streams {
    /// Takes what the process reads.
    pub stdin: Option<OwnedFd>,
    /// Gives what it writes.
    pub stdout: Option<OwnedFd>,
    /// Gives what it writes as errors.
    pub stderr: Option<OwnedFd>,
}

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedStreams {
    /// To send standard input.
    pub stdin: bool,
    /// To hear standard output.
    pub stdout: bool,
    /// To hear standard error.
    pub stderr: bool,
}

/// Size of a terminal, in characters; ioctl_tty(2) `TIOCSWINSZ`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

impl TerminalSize {
    /// Says whether nobody gave a size.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// How many bytes of each output something concerns, counted from a container's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputBytes {
    /// Standard output; all output of a terminal.
    pub stdout: u64,
    /// Standard error.
    pub stderr: u64,
}

/// A client's share in the streams of a running container.
///
/// What comes by the streams begins right after `from`: all before it is in the container's log already. A client that
/// falls behind by more than a pipe holds finds the end of its stream early, and nothing else is held up by it: it may go
/// on from the log, at `from` and what it has read since. The same end means that the container has closed its output.
#[derive(Debug)]
pub struct Attached {
    /// The streams.
    pub streams: Streams,
    /// Where they begin.
    pub from: OutputBytes,
    /// What had come when the client did. What is between the two is a line that has not ended, such as a prompt: it comes by
    /// the streams first, and is skipped by who wants to hear only what is new.
    pub now: OutputBytes,
}

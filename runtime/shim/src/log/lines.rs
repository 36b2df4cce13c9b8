//! Cutting a stream of bytes into log lines. Pure.
//!
//! ```text
//! 2026-11-22T04:16:00.123456789Z stdout F a whole line, or the last part of one
//! 2026-11-22T04:16:00.123456789Z stdout P a part of a line: more follows, or the stream ended without a line break
//! ```

use std::fmt::Display;
use std::io::Write;

/// Cuts one stream. What has no line break yet is carried over to the next bytes.
#[derive(Debug)]
pub(crate) struct Lines {
    stream: &'static str,
    part_bytes_max: usize,
    carried: Vec<u8>,
}

/// Tag of a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Full,
    Part,
}

// === impl Lines ===

impl Lines {
    /// Cuts lines of the stream of this name into parts of at most `part_bytes_max`, at least one byte.
    pub(crate) fn new(stream: &'static str, part_bytes_max: usize) -> Self {
        Self { stream, part_bytes_max: part_bytes_max.max(1), carried: Vec::new() }
    }

    /// Returns what came and is in no log line yet.
    pub(crate) fn carried(&self) -> &[u8] {
        &self.carried
    }

    /// Appends the log lines of `bytes` to `log`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], stamp: impl Display + Copy, log: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = self.part_bytes_max - self.carried.len();
            // A line break right behind a full part still belongs to it.
            let window = &bytes[..bytes.len().min(room + 1)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.write(Tag::Full, &bytes[..end], stamp, log);
                bytes = &bytes[end + 1..];
            } else if window.len() > room {
                self.write(Tag::Part, &bytes[..room], stamp, log);
                bytes = &bytes[room..];
            } else {
                self.carried.extend_from_slice(bytes);
                return;
            }
        }
    }

    /// Appends what is left at the end of the stream.
    pub(crate) fn end(&mut self, stamp: impl Display + Copy, log: &mut Vec<u8>) {
        if !self.carried.is_empty() {
            self.write(Tag::Part, &[], stamp, log);
        }
    }

    fn write(&mut self, tag: Tag, last: &[u8], stamp: impl Display + Copy, log: &mut Vec<u8>) {
        let tag = match tag {
            Tag::Full => 'F',
            Tag::Part => 'P',
        };
        // Writing to memory does not fail.
        let _ = write!(log, "{stamp} {} {tag} ", self.stream);
        log.extend_from_slice(&self.carried);
        log.extend_from_slice(last);
        log.push(b'\n');
        // Most programs write whole lines; the space of a long one is given back.
        self.carried = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes pieces and the end; returns the log, with `T` for the stamp.
    fn log(part_bytes_max: usize, pieces: &[&str]) -> String {
        let mut lines = Lines::new("stdout", part_bytes_max);
        let mut log = Vec::new();
        for piece in pieces {
            lines.push(piece.as_bytes(), "T", &mut log);
        }
        lines.end("T", &mut log);
        String::from_utf8(log).unwrap()
    }

    #[test]
    fn streams_are_cut_as_the_kubelet_expects() {
        let cases: [(&[&str], &str); 11] = [
            (&[], ""),
            (&["\n"], "T stdout F \n"),
            (&["a\nbc\n"], "T stdout F a\nT stdout F bc\n"),
            (&["a", "b", "\n"], "T stdout F ab\n"),
            (&["no end"], "T stdout P no e\nT stdout P nd\n"),
            (&["abcd\n"], "T stdout F abcd\n"),
            (&["abcd", "\n"], "T stdout F abcd\n"),
            (&["abcde\n"], "T stdout P abcd\nT stdout F e\n"),
            (&["abcd", "e", "\n"], "T stdout P abcd\nT stdout F e\n"),
            (&["abcdefghi\nj"], "T stdout P abcd\nT stdout P efgh\nT stdout F i\nT stdout P j\n"),
            (&["ab", "cdefgh\n"], "T stdout P abcd\nT stdout F efgh\n"),
        ];
        for (pieces, expected) in cases {
            assert_eq!(log(4, pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn how_a_stream_is_cut_into_pieces_does_not_matter() {
        let text = "one\n\nthree three three\nfour four\n\n\nlast without end";
        let whole = log(7, &[text]);
        for size in 1..text.len() {
            let pieces: Vec<&str> =
                (0..text.len()).step_by(size).map(|at| &text[at..text.len().min(at + size)]).collect();
            assert_eq!(log(7, &pieces), whole, "pieces of {size}");
        }
    }
}

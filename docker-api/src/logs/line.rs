//! One line of a log file: `time stream tag content`. Pure.

use crate::time::parse_rfc3339;
use orlop_model::Timestamp;

/// Longest head of a line: the time, the stream, the tag and the spaces between them.
pub(crate) const HEAD_BYTES_MAX: usize = 64;

/// A line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// When it was written.
    pub(crate) at: Timestamp,
    /// By which stream.
    pub(crate) stream: Stream,
    /// Whether its end was a line break.
    pub(crate) end: End,
    /// What was written, without the line break.
    pub(crate) content: &'a [u8],
}

/// A stream of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a line break.
    Break,
    /// More of it follows, or the stream ended.
    Open,
}

impl<'a> Line<'a> {
    /// Reads a line without its line break. `None` for one that is torn, or of another writer.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let at = parse_rfc3339(std::str::from_utf8(parts.next()?).ok()?)?;
        let stream = match parts.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let end = match parts.next()? {
            b"F" => End::Break,
            b"P" => End::Open,
            _ => return None,
        };
        Some(Self { at, stream, end, content: parts.next()? })
    }

    /// Returns how many bytes the program wrote for it.
    pub(crate) fn written(&self) -> u64 {
        let broken = match self.end {
            End::Break => 1,
            End::Open => 0,
        };
        self.content.len() as u64 + broken
    }

    /// Returns what the program wrote.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.content.to_vec();
        if self.end == End::Break {
            bytes.push(b'\n');
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_as_the_shim_writes_them() {
        let line = Line::parse(b"1970-01-01T00:00:01.000000000Z stderr F two words").unwrap();
        assert_eq!((line.at, line.stream, line.end), (Timestamp(1_000_000_000), Stream::Stderr, End::Break));
        assert_eq!((line.bytes(), line.written()), (b"two words\n".to_vec(), 10));
        let part = Line::parse(b"1970-01-01T00:00:01.0Z stdout P ").unwrap();
        assert_eq!((part.end, part.bytes(), part.written()), (End::Open, Vec::new(), 0));
        for torn in [
            "",
            "1970-01-01T00:00:01Z",
            "1970-01-01T00:00:01Z stdout",
            "x stdout F a",
            "1970-01-01T00:00:01Z other F a",
        ] {
            assert_eq!(Line::parse(torn.as_bytes()), None, "{torn}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Line::parse(&bytes);
        }
    }
}

//! Several streams on one connection: eight bytes before each piece say which and how long. Pure.

use crate::logs::line::Stream;
use bytes::{BufMut, Bytes, BytesMut};

/// How output is written to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As it is: a terminal has one stream.
    Raw,
    /// In frames.
    Multiplexed,
}

/// What frames made by us say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stdout = 1,
    Stderr = 2,
}

impl Framing {
    /// Returns the framing of a container or an exec.
    pub(crate) fn of(tty: bool) -> Self {
        if tty { Self::Raw } else { Self::Multiplexed }
    }

    /// Returns a piece of output as the client gets it.
    pub(crate) fn frame(self, stream: Stream, bytes: &[u8]) -> Bytes {
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        match self {
            Self::Raw => Bytes::copy_from_slice(bytes),
            Self::Multiplexed => {
                let mut framed = BytesMut::with_capacity(8 + bytes.len());
                framed.put_slice(&[kind as u8, 0, 0, 0]);
                framed.put_u32(u32::try_from(bytes.len()).expect("pieces are as long as a buffer"));
                framed.put_slice(bytes);
                framed.freeze()
            }
        }
    }

    /// Returns the media type, which was always that of raw streams before 1.42.
    pub(crate) fn media_type(self, version: crate::http::version::Version) -> &'static str {
        match self {
            Self::Multiplexed if version >= crate::http::version::Version::v1(42) => {
                "application/vnd.docker.multiplexed-stream"
            }
            Self::Multiplexed | Self::Raw => "application/vnd.docker.raw-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_stream_and_length() {
        let framed = Framing::Multiplexed.frame(Stream::Stderr, b"abc");
        assert_eq!(&framed[..], b"\x02\0\0\0\0\0\0\x03abc");
        assert_eq!(&Framing::Raw.frame(Stream::Stdout, b"abc")[..], b"abc");
    }
}

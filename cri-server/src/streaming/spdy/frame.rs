//! Frames: pure, apart from all IO. Bytes come in pieces of any size; data goes on in pieces too, so that no frame is ever
//! held as a whole but a short one of control.

use super::header_block::{Headers, Reader, Unreadable, Writer};
use bytes::{Buf, Bytes, BytesMut};

/// Length of what every frame begins with.
const HEAD_BYTES: usize = 8;
/// Longest frame of control. Clients of the CRI send less than a hundred bytes.
pub(crate) const CONTROL_BYTES_MAX: usize = 16 << 10;
/// Longest data that one frame can carry: its length has 24 bits.
const DATA_BYTES_MAX: usize = (1 << 24) - 1;
/// The version in every frame of control: 3.1 is 3 there.
const VERSION: u16 = 3;
/// Marks a frame of control.
const CONTROL_BIT: u32 = 1 << 31;
/// The flag by which a side says that it sends no more on a stream.
const FLAG_FIN: u8 = 1;

/// A stream's number: odd when the client opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u32);

/// What a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It opens a stream.
    Opened {
        /// Which.
        id: StreamId,
        /// What for.
        headers: Headers,
        /// Whether it sends nothing on it.
        fin: bool,
    },
    /// It sends data, some or all of a frame's.
    Data {
        /// On which stream.
        id: StreamId,
        /// What.
        bytes: Bytes,
        /// Whether it sends no more on it.
        fin: bool,
    },
    /// It gives a stream up, both ways.
    Reset {
        /// Which.
        id: StreamId,
    },
    /// It wants to hear this number again.
    Ping {
        /// Which.
        id: u32,
    },
    /// It opens no more streams.
    GoAway,
}

/// Why a client can't be understood any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// A frame of another protocol.
    #[error("a frame of version {0}, and not of {VERSION}")]
    Version(u16),
    /// A frame of control that is too long to be one.
    #[error("a frame of control of {0} bytes; {CONTROL_BYTES_MAX} are allowed")]
    Long(usize),
    /// A frame of control that is too short for what it is.
    #[error("a frame of control of type {0} that is cut short")]
    Short(u16),
    /// Stream 0 is no stream.
    #[error("a frame for stream 0")]
    NoStream,
    /// Its headers.
    #[error(transparent)]
    Headers(#[from] Unreadable),
}

/// Why a stream is given up; SPDY Protocol, Draft 3.1, 2.6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ResetStatus {
    /// It breaks the rules.
    ProtocolError = 1,
    /// There are too many.
    RefusedStream = 3,
    /// It is not wanted any more.
    Cancel = 5,
}

/// How a connection ends; SPDY Protocol, Draft 3.1, 2.6.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum GoAwayStatus {
    /// All is done.
    Ok = 0,
    /// The other side could not be understood.
    ProtocolError = 1,
}

/// Makes events of bytes.
///
/// ```text
/// Head ──control──▶ Control ──whole──▶ Head
///   └────data─────▶ Data ───all of it──▶ Head
/// ```
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    headers: Reader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between frames.
    Head,
    /// In a frame of control.
    Control { kind: u16, flags: u8, length: usize },
    /// In a frame of data.
    Data { id: StreamId, left: usize, fin: bool },
}

// === impl Decoder ===

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { state: State::Head, headers: Reader::new() }
    }

    /// Takes the next event from the bytes; `None` when more bytes are needed. Not to be asked again once it is broken.
    pub(crate) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, Broken> {
        loop {
            match self.state {
                State::Head => {
                    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
                    self.state = head_of(*head)?;
                    bytes.advance(HEAD_BYTES);
                    if let State::Data { id, left: 0, fin } = self.state {
                        self.state = State::Head;
                        // Neither data nor an end: nothing to tell.
                        if fin {
                            return Ok(Some(Event::Data { id, bytes: Bytes::new(), fin }));
                        }
                    }
                }
                State::Control { kind, flags, length } => {
                    if bytes.len() < length {
                        return Ok(None);
                    }
                    let body = bytes.split_to(length);
                    self.state = State::Head;
                    if let Some(event) = self.control(kind, flags, &body)? {
                        return Ok(Some(event));
                    }
                }
                State::Data { id, left, fin } => {
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    let piece = bytes.split_to(left.min(bytes.len())).freeze();
                    let left = left - piece.len();
                    self.state = if left == 0 { State::Head } else { State::Data { id, left, fin } };
                    return Ok(Some(Event::Data { id, bytes: piece, fin: fin && left == 0 }));
                }
            }
        }
    }

    /// Understands a whole frame of control; `None` for one that asks for nothing.
    fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> Result<Option<Event>, Broken> {
        let number = |at: usize| {
            let bytes = body.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(Broken::Short(kind))
        };
        let rest = |at: usize| body.get(at..).ok_or(Broken::Short(kind));
        Ok(match kind {
            kind::SYN_STREAM => {
                let id = stream(number(0)?)?;
                let headers = self.headers.read(rest(10)?)?;
                Some(Event::Opened { id, headers, fin: flags & FLAG_FIN != 0 })
            }
            // We open no streams and want no late headers, but what is compressed must be read: the next block leans on it.
            kind::SYN_REPLY | kind::HEADERS => {
                self.headers.read(rest(4)?)?;
                None
            }
            kind::RST_STREAM => {
                number(4)?;
                Some(Event::Reset { id: stream(number(0)?)? })
            }
            kind::PING => Some(Event::Ping { id: number(0)? }),
            kind::GOAWAY => Some(Event::GoAway),
            // SETTINGS and WINDOW_UPDATE bind nobody here; what is unknown is to be passed over.
            _ => None,
        })
    }
}

/// Types of frames of control; SPDY Protocol, Draft 3.1, 2.6.
mod kind {
    pub(super) const SYN_STREAM: u16 = 1;
    pub(super) const SYN_REPLY: u16 = 2;
    pub(super) const RST_STREAM: u16 = 3;
    pub(super) const PING: u16 = 6;
    pub(super) const GOAWAY: u16 = 7;
    pub(super) const HEADERS: u16 = 8;
}

fn head_of(head: [u8; HEAD_BYTES]) -> Result<State, Broken> {
    let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let (flags, length) = (head[4], u32::from_be_bytes([0, head[5], head[6], head[7]]));
    let length = usize::try_from(length).expect("24 bits fit");
    if first & CONTROL_BIT == 0 {
        return Ok(State::Data { id: stream(first)?, left: length, fin: flags & FLAG_FIN != 0 });
    }
    let [_, _, high, low] = first.to_be_bytes();
    let version = u16::from_be_bytes([head[0] & 0x7f, head[1]]);
    if version != VERSION {
        return Err(Broken::Version(version));
    }
    if length > CONTROL_BYTES_MAX {
        return Err(Broken::Long(length));
    }
    Ok(State::Control { kind: u16::from_be_bytes([high, low]), flags, length })
}

/// Returns a stream's number, whose highest bit means nothing.
fn stream(number: u32) -> Result<StreamId, Broken> {
    match number & !CONTROL_BIT {
        0 => Err(Broken::NoStream),
        id => Ok(StreamId(id)),
    }
}

// === what we say ===

/// Accepts a stream.
pub(crate) fn syn_reply(id: StreamId, headers: &mut Writer) -> Vec<u8> {
    let mut body = id.0.to_be_bytes().to_vec();
    body.extend(headers.empty());
    control(kind::SYN_REPLY, &body)
}

/// Gives a stream up, both ways.
pub(crate) fn rst_stream(id: StreamId, status: ResetStatus) -> Vec<u8> {
    control(kind::RST_STREAM, &[id.0.to_be_bytes(), (status as u32).to_be_bytes()].concat())
}

/// Says a number again.
pub(crate) fn ping(id: u32) -> Vec<u8> {
    control(kind::PING, &id.to_be_bytes())
}

/// Ends the connection; `last` is the last stream that was accepted.
pub(crate) fn go_away(last: StreamId, status: GoAwayStatus) -> Vec<u8> {
    control(kind::GOAWAY, &[last.0.to_be_bytes(), (status as u32).to_be_bytes()].concat())
}

/// Sends data, and with `fin` the end.
///
/// # Panics
/// When the data is longer than a frame can say.
pub(crate) fn data(id: StreamId, bytes: &[u8], fin: bool) -> Vec<u8> {
    assert!(bytes.len() <= DATA_BYTES_MAX, "a frame can't carry {} bytes", bytes.len());
    frame(id.0, if fin { FLAG_FIN } else { 0 }, bytes)
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    frame(CONTROL_BIT | u32::from(VERSION) << 16 | u32::from(kind), 0, body)
}

fn frame(first: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("checked by who calls");
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.extend(first.to_be_bytes());
    frame.extend((u32::from(flags) << 24 | length).to_be_bytes());
    frame.extend(body);
    frame
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::header_block::tests::Compressor;
    use super::*;
    use proptest::prelude::*;

    /// Opens a stream, as a client does.
    pub(crate) fn syn_stream(id: u32, headers: &[(&str, &str)], compressor: &mut Compressor) -> Vec<u8> {
        let mut body = [id.to_be_bytes(), [0; 4]].concat();
        // Priority and slot.
        body.extend([0, 0]);
        body.extend(compressor.block(headers));
        control(kind::SYN_STREAM, &body)
    }

    fn decode(bytes: &[u8]) -> (Vec<Event>, Result<(), Broken>) {
        let (mut decoder, mut bytes, mut events) = (Decoder::new(), BytesMut::from(bytes), Vec::new());
        loop {
            match decoder.next(&mut bytes) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, Ok(())),
                Err(broken) => return (events, Err(broken)),
            }
        }
    }

    /// What the Go library that all clients are made with writes: streams 1 and 3 with a header each, data, an end, a ping.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/data/spdy-client.bin");

    #[test]
    fn a_real_clients_bytes_are_understood() {
        let headers = |kind: &str| Headers::from([("streamtype", kind)]);
        let data = |text: &'static str, fin| Event::Data { id: StreamId(3), bytes: text.into(), fin };
        let expected = vec![
            Event::Opened { id: StreamId(1), headers: headers("error"), fin: false },
            Event::Opened { id: StreamId(3), headers: headers("stdin"), fin: false },
            data("hello", false),
            data("", true),
            Event::Reset { id: StreamId(1) },
            Event::Ping { id: 1 },
            Event::GoAway,
        ];
        assert_eq!(decode(GOLDEN), (expected, Ok(())));
    }

    #[test]
    fn what_we_say_is_byte_for_byte_what_the_draft_says() {
        for (frame, expected) in [
            (rst_stream(StreamId(5), ResetStatus::Cancel), "8003000300000008 00000005 00000005"),
            (ping(3), "8003000600000004 00000003"),
            (go_away(StreamId(7), GoAwayStatus::Ok), "8003000700000008 00000007 00000000"),
            (data(StreamId(3), b"hi", false), "0000000300000002 6869"),
            (data(StreamId(3), b"", true), "0000000301000000"),
            (
                syn_reply(StreamId(1), &mut Writer::default()),
                "8003000200000018 00000001 7820e3c6a7c2 000400fbff00000000 000000ffff",
            ),
        ] {
            let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected.replace(' ', ""));
        }
    }

    #[test]
    fn what_can_not_be_a_frame_ends_the_connection() {
        for (bytes, broken) in [
            (&[0x80, 2, 0, 1, 0, 0, 0, 0][..], Broken::Version(2)),
            // A line of HTTP.
            (b"\xffGET / HTTP/1.1", Broken::Version(0x7f47)),
            (&[0x80, 3, 0, 1, 0, 0, 0x40, 1], Broken::Long(CONTROL_BYTES_MAX + 1)),
            (&[0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0], Broken::Short(1)),
            (&[0x80, 3, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1], Broken::Short(3)),
            (&[0x80, 3, 0, 6, 0, 0, 0, 0], Broken::Short(6)),
            (&[0, 0, 0, 0, 0, 0, 0, 1, 65], Broken::NoStream),
            (&[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1], Broken::NoStream),
            (
                &[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 65, 65],
                Broken::Headers(Unreadable::Compression),
            ),
        ] {
            assert_eq!(decode(bytes), (Vec::new(), Err(broken)), "{bytes:?}");
        }
    }

    #[test]
    fn frames_that_ask_for_nothing_are_passed_over_but_keep_the_compression() {
        let mut compressor = Compressor::new();
        let mut bytes = control(4, &[0; 12]);
        bytes.extend(control(9, &[0; 8]));
        bytes.extend(control(999, b"?"));
        let mut late = 1u32.to_be_bytes().to_vec();
        late.extend(compressor.block(&[("streamtype", "data")]));
        bytes.extend(control(kind::HEADERS, &late));
        bytes.extend(data(StreamId(1), b"", false));
        bytes.extend(syn_stream(1, &[("streamtype", "data")], &mut compressor));
        let opened = Event::Opened { id: StreamId(1), headers: Headers::from([("streamtype", "data")]), fin: false };
        assert_eq!(decode(&bytes), (vec![opened], Ok(())));
    }

    /// Joins pieces of data, as a stream's reader sees them.
    fn joined(events: Vec<Event>) -> Vec<Event> {
        let mut joined: Vec<Event> = Vec::new();
        for event in events {
            match (joined.last_mut(), event) {
                (Some(Event::Data { id, bytes, fin }), Event::Data { id: other, bytes: more, fin: end })
                    if *id == other && !*fin =>
                {
                    *bytes = [&bytes[..], &more[..]].concat().into();
                    *fin = end;
                }
                (_, event) => joined.push(event),
            }
        }
        joined
    }

    #[derive(Clone, Debug)]
    enum Said {
        Syn(u32, String),
        Data(u32, Vec<u8>, bool),
        Ping(u32),
        Rst(u32),
    }

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![
            (1u32..99, "[a-z]{0,12}").prop_map(|(id, value)| Said::Syn(id, value)),
            (1u32..99, prop::collection::vec(any::<u8>(), 0..50), any::<bool>())
                .prop_map(|(id, bytes, fin)| Said::Data(id, bytes, fin)),
            any::<u32>().prop_map(Said::Ping),
            (1u32..99).prop_map(Said::Rst),
        ]
    }

    fn encoded(said: &[Said]) -> Vec<u8> {
        let mut compressor = Compressor::new();
        said.iter()
            .flat_map(|said| match said {
                Said::Syn(id, value) => syn_stream(*id, &[("streamtype", value)], &mut compressor),
                Said::Data(id, bytes, fin) => data(StreamId(*id), bytes, *fin),
                Said::Ping(id) => ping(*id),
                Said::Rst(id) => rst_stream(StreamId(*id), ResetStatus::Cancel),
            })
            .collect()
    }

    fn expected(said: &[Said]) -> Vec<Event> {
        let events = said.iter().filter_map(|said| match said.clone() {
            Said::Syn(id, value) => {
                let headers = Headers::from([("streamtype", value.as_str())]);
                Some(Event::Opened { id: StreamId(id), headers, fin: false })
            }
            Said::Data(_, bytes, false) if bytes.is_empty() => None,
            Said::Data(id, bytes, fin) => Some(Event::Data { id: StreamId(id), bytes: bytes.into(), fin }),
            Said::Ping(id) => Some(Event::Ping { id }),
            Said::Rst(id) => Some(Event::Reset { id: StreamId(id) }),
        });
        joined(events.collect())
    }

    proptest! {
        #[test]
        fn frames_survive_the_round_trip_in_pieces_of_any_size(
            said in prop::collection::vec(said(), 0..20),
            sizes in prop::collection::vec(1usize..40, 1..20),
        ) {
            let encoded = encoded(&said);
            let (mut decoder, mut bytes, mut events) = (Decoder::new(), BytesMut::new(), Vec::new());
            let mut rest = &encoded[..];
            for size in sizes.iter().cycle() {
                let (piece, others) = rest.split_at((*size).min(rest.len()));
                rest = others;
                bytes.extend_from_slice(piece);
                while let Some(event) = decoder.next(&mut bytes).unwrap() {
                    events.push(event);
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(bytes.is_empty());
            prop_assert_eq!(joined(events), expected(&said));
        }

        #[test]
        fn hostile_bytes_never_panic_and_never_wait_for_more_than_a_control_frame(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            spoilt in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            drop(decode(&bytes));
            // Bytes that are almost right go deeper.
            let mut near = encoded(&[Said::Syn(1, "stdin".into()), Said::Data(1, vec![7; 9], true), Said::Rst(1)]);
            let at = spoilt.index(near.len());
            near[at] = value;
            let (mut decoder, mut bytes) = (Decoder::new(), BytesMut::from(&near[..]));
            while let Ok(Some(_)) = decoder.next(&mut bytes) {}
            if let State::Control { length, .. } = decoder.state {
                prop_assert!(length <= CONTROL_BYTES_MAX);
            }
        }
    }
}

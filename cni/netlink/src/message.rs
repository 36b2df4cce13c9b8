//! Netlink messages: written into a buffer, read out of one. netlink(7).

use crate::error::{Error, Result};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// Set in the type of an attribute that holds attributes. Route messages predate it and ignore it; nf_tables asks for it.
const NESTED: u16 = 0x8000;
/// The bits of an attribute's type that are its type.
const TYPE_MASK: u16 = 0x3fff;

/// One message to the kernel, and what it asks for in words, for the error that may come of it.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    what: String,
}

// === impl Request ===

impl Request {
    /// Begins a message of type `kind`; `fixed` is the structure that precedes the attributes.
    pub(crate) fn new(what: impl Into<String>, kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).expect("flags of a netlink header have 16 bits");
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        pad(&mut bytes);
        Self { bytes, what: what.into() }
    }

    /// Adds an attribute.
    pub(crate) fn put(mut self, kind: u16, value: &[u8]) -> Self {
        put(&mut self.bytes, kind, value);
        self
    }

    /// Adds an attribute of 32 bits in the byte order of this machine.
    pub(crate) fn put_u32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Adds an attribute of 32 bits in network byte order, as nf_tables wants its numbers.
    pub(crate) fn put_be32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds a string, ended by a zero byte.
    pub(crate) fn put_text(mut self, kind: u16, text: &str) -> Self {
        put_text(&mut self.bytes, kind, text);
        self
    }

    /// Adds attributes inside an attribute.
    pub(crate) fn put_nested(mut self, kind: u16, inner: Nest) -> Self {
        put(&mut self.bytes, kind | NESTED, &inner.0);
        self
    }

    /// Returns what the message asks for.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Appends the finished message to `out`. `extra_flags` are added to its own.
    pub(crate) fn write(&self, sequence: u32, extra_flags: i32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let length = u32::try_from(self.bytes.len()).expect("a request is far below 4 GiB");
        out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        let own = u16::from_ne_bytes([out[start + 6], out[start + 7]]);
        let flags = own | u16::try_from(extra_flags).expect("flags of a netlink header have 16 bits");
        out[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        out[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        pad(out);
    }
}

/// Attributes that go inside an attribute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nest(Vec<u8>);

impl Nest {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Begins with a structure instead of an attribute, as the peer of a veth pair does.
    pub(crate) fn after(fixed: &[u8]) -> Self {
        let mut bytes = fixed.to_vec();
        pad(&mut bytes);
        Self(bytes)
    }

    pub(crate) fn put(mut self, kind: u16, value: &[u8]) -> Self {
        put(&mut self.0, kind, value);
        self
    }

    pub(crate) fn put_u32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    pub(crate) fn put_be32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_be_bytes())
    }

    pub(crate) fn put_text(mut self, kind: u16, text: &str) -> Self {
        put_text(&mut self.0, kind, text);
        self
    }

    pub(crate) fn put_nested(mut self, kind: u16, inner: Nest) -> Self {
        put(&mut self.0, kind | NESTED, &inner.0);
        self
    }
}

fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).expect("an attribute of ours is far below 64 KiB");
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    pad(bytes);
}

fn put_text(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    let mut value = Vec::with_capacity(text.len() + 1);
    value.extend_from_slice(text.as_bytes());
    value.push(0);
    put(bytes, kind, &value);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

// === Reading ===

/// One message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub payload: &'a [u8],
}

/// Splits what one receive returned into messages. Stops with an error at the first that does not fit.
pub(crate) fn messages<'a>(mut bytes: &'a [u8], request: &'a str) -> impl Iterator<Item = Result<Message<'a>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some((message, rest)) = split_message(bytes) else {
            bytes = &[];
            return Some(Err(Error::Garbled { request: request.to_owned(), what: "a message is cut short" }));
        };
        bytes = rest;
        Some(Ok(message))
    })
}

fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let payload = bytes.get(HEADER..length)?;
    let message = Message { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, sequence: u32_at(bytes, 8)?, payload };
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or(&[])))
}

/// Walks over the attributes in `bytes`; what does not fit ends the walk.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(ATTRIBUTE_HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// Finds the first attribute of a type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Reads a string up to its zero byte; bytes that are not UTF-8 are replaced, since names are only compared and shown.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            values in proptest::collection::vec((1u16..0x3fff, proptest::collection::vec(any::<u8>(), 0..70)), 0..8),
            sequence: u32,
        ) {
            let mut request = Request::new("test", 16, libc::NLM_F_ACK, &[7; 16]);
            for (kind, value) in &values {
                request = request.put(*kind, value);
            }
            let mut bytes = Vec::new();
            request.write(sequence, 0, &mut bytes);
            request.write(sequence.wrapping_add(1), libc::NLM_F_EXCL, &mut bytes);
            let read: Vec<_> = messages(&bytes, "test").collect::<Result<_>>().unwrap();
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!((read[0].kind, read[0].sequence), (16, sequence));
            prop_assert_eq!(i32::from(read[1].flags), libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_EXCL);
            let seen: Vec<_> = attributes(&read[1].payload[16..]).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(seen, values);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read: Vec<_> = messages(&bytes, "test").collect();
            let seen: usize = read.iter().flatten().map(|message| attributes(message.payload).count()).sum();
            prop_assert!(seen <= bytes.len());
        }
    }
}

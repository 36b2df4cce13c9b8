//! How an encoded message fits a datagram.
//!
//! ```text
//! 0  body              the message, at most INLINE_BYTES_MAX
//! 1  length (u32 LE)   the message is in a sealed memfd, the last descriptor of the datagram, behind the slots
//! ```
//! The first datagram each way is a bare [`Hello`](crate::frame::Hello) instead. Invariant: the slots of a message are the
//! first descriptors of its datagram, in order; whoever receives checks that every slot it uses is there, and closes
//! those it does not.

use crate::frame::{BODY_BYTES_MAX, WireError};

/// Bytes of a message that travel in the datagram itself. A socket's send buffer is 208 KiB by default and holds a few.
pub const INLINE_BYTES_MAX: usize = 48 * 1024;
/// Size of the buffer that a datagram is received into; a longer one is malformed (`MSG_TRUNC`).
pub const DATAGRAM_BYTES_MAX: usize = INLINE_BYTES_MAX + 1;
/// Descriptors of one datagram: the slots and a body's memfd. The kernel's `SCM_MAX_FD`.
pub const DESCRIPTORS_MAX: usize = crate::frame::SLOTS_MAX + 1;

const INLINE: u8 = 0;
const IN_MEMFD: u8 = 1;

/// A message ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The bytes of the datagram.
    pub datagram: Vec<u8>,
    /// What goes into a memfd (`F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE`), appended to the slots.
    pub memfd: Option<Vec<u8>>,
}

/// Where the message of a received datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpacked<'a> {
    /// Here.
    Inline(&'a [u8]),
    /// In the last descriptor. Check its seals before reading: who can still shrink it can end its reader.
    InMemfd {
        /// Length of the message.
        bytes: usize,
    },
}

/// Chooses how a message travels.
#[must_use]
pub fn pack(body: Vec<u8>) -> Packed {
    let (tag, content) = if body.len() <= INLINE_BYTES_MAX {
        (INLINE, body.as_slice())
    } else {
        let length = u32::try_from(body.len()).expect("a body has at most BODY_BYTES_MAX bytes");
        let datagram = [&[IN_MEMFD][..], &length.to_le_bytes()].concat();
        return Packed { datagram, memfd: Some(body) };
    };
    Packed { datagram: [&[tag], content].concat(), memfd: None }
}

/// Finds the message of a datagram.
pub fn unpack(datagram: &[u8]) -> Result<Unpacked<'_>, WireError> {
    match datagram.split_first() {
        Some((&INLINE, body)) if body.len() <= INLINE_BYTES_MAX => Ok(Unpacked::Inline(body)),
        Some((&IN_MEMFD, length)) => {
            let length: [u8; 4] = length.try_into().map_err(|_| WireError::Malformed("no length of its memfd"))?;
            let bytes = u32::from_le_bytes(length) as usize;
            if bytes > BODY_BYTES_MAX { Err(WireError::TooLarge(bytes)) } else { Ok(Unpacked::InMemfd { bytes }) }
        }
        Some(_) | None => Err(WireError::Malformed("a datagram of no known form")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_travels_inline_up_to_the_bound_and_in_a_memfd_beyond() {
        for (bytes, inline) in
            [(0, true), (INLINE_BYTES_MAX, true), (INLINE_BYTES_MAX + 1, false), (BODY_BYTES_MAX, false)]
        {
            let body = vec![7; bytes];
            let packed = pack(body.clone());
            assert!(packed.datagram.len() <= DATAGRAM_BYTES_MAX);
            match unpack(&packed.datagram).unwrap() {
                Unpacked::Inline(found) => assert!(inline && found == body && packed.memfd.is_none()),
                Unpacked::InMemfd { bytes: said } => assert!(!inline && said == bytes && packed.memfd == Some(body)),
            }
        }
    }

    #[test]
    fn datagram_of_another_form_is_refused() {
        let too_large = [&[IN_MEMFD][..], &u32::MAX.to_le_bytes()].concat();
        for bad in [&[][..], &[2], &[IN_MEMFD], &[IN_MEMFD, 0, 0, 0], &[IN_MEMFD, 0, 0, 0, 0, 0], &too_large] {
            assert!(unpack(bad).is_err(), "{bad:?}");
        }
        assert!(unpack(&vec![INLINE; DATAGRAM_BYTES_MAX + 1]).is_err());
    }
}

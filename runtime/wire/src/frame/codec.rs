//! Messages as bytes. Those of a newer side are told from broken ones: who meets one that it does not know says so.

use super::{Asked, BODY_BYTES_MAX, EVENTS, Event, Heard, REPLIES, REQUESTS, Reply, Request, WireError};
use serde::{Deserialize, Serialize};

/// Tags of what a server sends.
const REPLY: u8 = 0;
const EVENT: u8 = 1;

/// Encodes a request.
pub fn encode_request(number: u64, request: &Request) -> Result<Vec<u8>, WireError> {
    encode(&(number, request))
}

/// Encodes a reply.
pub fn encode_reply(number: u64, reply: &Reply) -> Result<Vec<u8>, WireError> {
    encode(&(REPLY, number, reply))
}

/// Encodes an event.
pub fn encode_event(event: &Event) -> Result<Vec<u8>, WireError> {
    encode(&(EVENT, event))
}

/// Decodes what a client sent, as far as its number: without one there is nobody to answer, and the connection ends.
pub fn decode_request(body: &[u8]) -> Result<(u64, Asked), WireError> {
    let (number, rest) = take::<u64>(body)?;
    Ok((number, decode(rest, REQUESTS).ok().flatten().map_or(Asked::Unknown, Asked::Known)))
}

/// Decodes what a server sent.
pub fn decode_heard(body: &[u8]) -> Result<Heard, WireError> {
    let (tag, rest) = take::<u8>(body)?;
    match tag {
        REPLY => {
            let (number, rest) = take::<u64>(rest)?;
            Ok(Heard::Reply { number, reply: decode(rest, REPLIES)? })
        }
        EVENT => Ok(Heard::Event(decode(rest, EVENTS)?)),
        _ => Err(WireError::Malformed("neither a reply nor an event")),
    }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_stdvec(message).map_err(|_| WireError::Unencodable)?;
    if bytes.len() > BODY_BYTES_MAX { Err(WireError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

/// Decodes an enum that takes all of `body`; `None` when its variant is beyond the `known` ones.
fn decode<'a, T: Deserialize<'a>>(body: &'a [u8], known: u32) -> Result<Option<T>, WireError> {
    let (tag, _) = take::<u32>(body)?;
    if tag >= known {
        return Ok(None);
    }
    let (message, rest) = take(body)?;
    if rest.is_empty() { Ok(Some(message)) } else { Err(WireError::Malformed("bytes behind its end")) }
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), WireError> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(WireError::TooLarge(bytes.len()));
    }
    postcard::take_from_bytes(bytes).map_err(|_| WireError::Malformed("cut short or a value out of range"))
}

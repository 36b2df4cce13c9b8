//! SPDY/3.1, the server's side, as far as the clients of the CRI use it: they open streams, and both sides send data.
//!
//! Bytes become frames in `frame` and `header_block`, which are pure; sockets are in `connection`. There is no flow control:
//! the only clients, all made with one Go library, know none. What is not read in time holds up its connection instead.
//! Source: SPDY Protocol, Draft 3.1 (chromium.org).

mod connection;
mod dictionary;
mod frame;
mod header_block;
#[cfg(test)]
pub(crate) mod peer;

pub(crate) use connection::{Client, End, Gone, Outgoing, Stream, serve};
pub(crate) use frame::{ResetStatus, StreamId};
pub(crate) use header_block::Headers;

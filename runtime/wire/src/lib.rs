//! The shim protocol: what travels between daemon, spawner and shims.
//!
//! `SOCK_SEQPACKET` frames with numbered descriptor slots. Pure: encodes and decodes, never touches a socket.
//! [`frame`] is the place to start: its messages and their encoding. [`packet`] says how an encoded message fits a
//! datagram, [`exit`] what a shim leaves on disk, [`plan`] what a fresh process does before it becomes a container's
//! program. Bytes of a peer are never trusted: decoding returns an error, and allocates no more than it was given.

pub mod exit;
pub mod frame;
pub mod packet;
pub mod plan;

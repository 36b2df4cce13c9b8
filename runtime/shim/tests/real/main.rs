//! Drives the real spawner and shims over their real sockets, with plans written by hand.
//!
//! Needs root. Every node of these tests has a run folder and a cgroup of its own and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "the whole crate is a test; the lint knows only test functions")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else comes is a failure")]

mod client;
mod containers;
mod execs;
mod lives;
mod node;
mod plans;
mod propagation;
mod sandboxes;
mod streams;

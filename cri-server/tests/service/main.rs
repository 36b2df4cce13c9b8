//! The whole facade over a real socket, on a simulated node: what a client sends and what it gets back.

#![allow(clippy::unwrap_used, reason = "a test that can't go on may panic")]

mod events;
mod images;
mod life;
mod requests;
mod served;

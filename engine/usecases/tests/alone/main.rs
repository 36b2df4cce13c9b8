//! Containers alone: created, started, ended and removed as one with their sandbox, over in-memory ports.
#![allow(clippy::unwrap_used, reason = "tests")]

mod life;
mod news;
mod restarts;
mod steps;
mod stops;
#[path = "../support/mod.rs"]
mod support;

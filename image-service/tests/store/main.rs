//! The image store against Debian's docker-registry and the kernel's overlayfs.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should say so at once, in its helpers too")]

mod bench;
mod containers;
mod contract;
mod crash;
mod files;
mod hostile;
mod left;
mod pulls;
mod servers;
mod speed;
mod token_server;
mod tokens;

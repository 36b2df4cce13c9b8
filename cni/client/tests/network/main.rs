//! The built-in network against the kernel, in network namespaces of the tests' own.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod contract;
mod ground;
mod life;
mod measure;
mod named;
mod ports;
mod ports_life;
mod recovery;
mod traffic;

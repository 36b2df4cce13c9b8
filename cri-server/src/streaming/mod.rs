//! The streaming server: exec, attach and port-forward, for which the CRI only hands out URLs.
//!
//! A request over the CRI leaves [`work::Work`] under a one-time token; whoever comes over HTTP with the token, within a
//! minute, has its connection upgraded to SPDY/3.1 and the work done on it. Start at [`Streaming`].
//!
//! Always: a token is good once; what one connection holds in memory is bounded, whichever side stalls (`spdy::connection`);
//! a client that goes takes its command along. There is no login: the token is the proof, and the address is the host's own.

mod descriptor;
mod negotiate;
mod pairs;
mod port_forward;
mod remote_command;
mod server;
mod spdy;
mod terminal_size;
#[cfg(test)]
mod tests;
mod tokens;
mod verdict;
pub(crate) mod work;

pub(crate) use server::Streaming;

use std::time::Duration;

/// How long nothing may be sent or taken; as long as kubelets allow.
const IDLE_MAX: Duration = Duration::from_secs(4 * 3600);
/// How long a client may take to open the streams that belong together.
const STREAMS_WITHIN: Duration = Duration::from_secs(30);

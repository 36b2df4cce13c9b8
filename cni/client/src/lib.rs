//! CNI runtime side: the Network port.
//!
//! [`DefaultNetwork`] is the built-in network: loopback, bridge, host-local addresses, masquerade and host ports, all
//! in-process over netlink and nf_tables. One named thread does the work, since the kernel does one change of links at a time anyway and a
//! single owner needs no lock; the port's methods hand it jobs and wait, each with its own bound.
//! [`Networks`] puts several of them together, of which a sandbox may name one.
//! The thread stays in the network namespace in which the network was made; what happens inside a pod goes over the socket
//! that the shim made there.
//!
//! Invariant: an address is reserved on disk before a link has it, and given back only when nothing passes over that link; a
//! host port is on disk before it leads anywhere, and until it leads nowhere.

mod asked_ports;
mod config;
mod default_network;
mod error;
mod host_ports;
mod moments;
mod networks;
mod node;
mod worker;

pub use config::{Config, Nat};
pub use default_network::{DefaultNetwork, Ended};
pub use error::Error;
pub use networks::Networks;

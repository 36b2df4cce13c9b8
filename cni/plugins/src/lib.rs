//! Built-in CNI plugins as functions: loopback, bridge, host-local, masquerade, and portmap ([`host_ports`]).
//!
//! Each does one plugin's work over sockets and folders that the caller gives; none knows sandboxes, records or settings
//! files. What is inside a pod's network namespace is done over a socket made there.
//! Start at [`bridge::plug`] and [`host_local::Pool`].
//!
//! Invariant: everything may be done twice; the second time is quiet.

pub mod bridge;
mod error;
pub mod host_local;
pub mod host_ports;
pub mod loopback;
pub mod masquerade;
mod seen;
mod sysctl;

pub use error::{Error, Result};
pub use seen::Seen;

//! The Runtime port over spawner and shims.
//!
//! [`Client`] implements [`orlop_model::ports::Runtime`]; it decides nothing about what a container may do (that is
//! `orlop-spec` and `orlop-plan`) and runs nothing (that is the shim). Start at [`Client::new`]; a sandbox's life is in
//! `sandbox`, a container's in `start`, `container`, `update`, `exec` and `attach`, connections in `peer` and `shims`.
//!
//! What always holds: every wait has a named bound (`config`); nothing that somebody else's file system or process does
//! holds up more than the request it belongs to; everything may be done twice; what is on disk in the run folder is enough
//! to take a sandbox away without its shim.

mod attach;
mod blocking;
mod cgroup;
mod client;
mod config;
mod connect;
mod container;
mod error;
mod etc;
mod exec;
mod folders;
mod host;
mod inside;
mod log_file;
mod other;
mod peer;
mod pipes;
mod prepare;
mod reopen;
mod rootfs;
mod sandbox;
mod shims;
mod socket;
mod spawner;
mod start;
mod update;
mod usage;

pub use client::Client;
pub use config::{Config, LOG_LINE_BYTES_MAX};
pub use error::Error;

//! Sandbox, container, image config and facts of the node to an OCI spec, as a pure function.
//!
//! Here is decided what a container sees by default: its mounts, devices, capabilities, hidden paths, environment. Nothing
//! here does IO; who a user name is, is found by [`user::resolve`] in bytes that the caller read. Start at [`container`].
//!
//! Invariant: everything that comes from an image is checked before it reaches the spec, and nothing of it reaches the
//! node's side (mount sources, cgroup paths, sysctls).

mod command;
mod confine;
mod container;
mod environment;
mod error;
mod filesystems;
pub mod inputs;
mod signal;
pub mod user;
mod users;

pub use container::{container, exec, resources, sandbox_sysctl_defaults, sandbox_sysctls};
pub use error::SpecError;
pub use filesystems::SHM_BYTES_MAX;
pub use inputs::{HostFacts, Inputs, NodeDevice, SandboxFiles};
pub use signal::stop_signal;
pub use user::{ResolvedUser, UserFiles};

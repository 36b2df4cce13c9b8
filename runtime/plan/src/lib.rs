//! OCI spec to plan, as a pure function.
//!
//! [`oci`] holds our types for `config.json`; [`compile`] turns one into the flat list of operations that a fresh process
//! runs; [`seccomp`] turns a profile into a filter. Nothing here does IO, reads a clock or knows the node but by the facts
//! it is given. Start at [`compile::container`].
//!
//! Invariant: operations are ordered so that none needs a privilege that an earlier one dropped.

pub mod capability;
pub mod compile;
mod mounts;
pub mod oci;
pub mod path;
pub mod rlimit;
pub mod seccomp;
pub mod sysctl;

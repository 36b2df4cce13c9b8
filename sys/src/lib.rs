//! Kernel calls that need unsafe, wrapped: owned descriptors in, errors out.
//!
//! The only crate of the project that says `unsafe`. Where rustix or nix have a safe call, use theirs; here is only what
//! they lack, and the few compositions that more than one crate needs ([`seqpacket`], [`memfd`], [`remove_tree`]). No policy, no logging.
//! Functions of [`child`] and [`mount`] allocate nothing and take no lock, so that a process fresh from [`clone::spawn`]
//! may call them.

pub mod bpf;
pub mod child;
pub mod clone;
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod mountns;
pub mod netns;
pub mod process;
pub mod remove_tree;
pub mod seqpacket;
pub mod socket;
pub mod title;
pub mod users;

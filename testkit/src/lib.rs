//! What tests stand on: private network namespaces, cgroups, registries, daemons, and the guard that finds leaks.
//!
//! Not for production code: everything here may panic, since a test that can't go on should say so at once. Start at
//! [`Guard`], made first in every test of the whole daemon, then [`Node`], a daemon under test. What always holds: every
//! wait has a deadline, every process is ended by its id, and a test that fails leaves the machine as it was.

pub mod client;
pub mod debian;
pub mod debian_tree;
pub mod docker;
pub mod ground;
pub mod guard;
pub mod host_lock;
pub mod image_builder;
pub mod lab;
pub mod local_registry;
pub mod mark;
pub mod node;
pub mod pod;
pub mod program;
pub mod registry;
pub mod scratch;
pub mod shelf;
pub mod skip;
pub mod tree;
pub mod wait;

pub use client::{Client, Code, Status};
pub use ground::Ground;
pub use guard::Guard;
pub use lab::Lab;
pub use node::Node;
pub use pod::Pod;
pub use scratch::Scratch;
pub use tree::Tree;
pub use wait::{wait_for, wait_until};

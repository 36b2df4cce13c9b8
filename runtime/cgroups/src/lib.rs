//! Control groups: v1, hybrid and v2, behind one leaf.
//!
//! For making, limiting, freezing, killing, reading and removing the cgroup of a container or sandbox. Not for deciding
//! which limits apply: a caller turns [`limits::Limits`] into writes with [`limits::writes`] (pure) and hands them to
//! [`Leaf::write`], or to [`Leaf::write_all`] where processes run already. Start at [`Hierarchies::detect`], then [`Leaf::create`].
//!
//! Invariants: nothing here touches the root of a hierarchy but for enabling v2 controllers; every wait is bounded; every
//! verb may be repeated, and is quiet about what is gone already. Device rules are files of v1; on v2 they are a program that
//! [`devices::program`] makes (pure) and [`Leaf::set_device_program`] attaches.

mod apply;
pub mod devices;
mod error;
mod freeze;
mod hierarchies;
mod kill;
mod leaf;
pub mod limits;
mod path;
mod tree;
pub mod usage;

pub use error::Error;
pub use hierarchies::{Hierarchies, Hierarchy, Layout, Mode};
pub use kill::Killing;
pub use leaf::{Leaf, remove_tree};
pub use path::CgroupPath;

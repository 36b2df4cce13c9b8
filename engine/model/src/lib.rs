//! What a node does, as pure data and functions.
//!
//! Ids, specs, states, `step`, `reconcile`, error kinds and the ports the core needs. Nothing here does IO, reads a clock
//! or knows a protocol; [`sandbox_state::step`] and [`container_state::step`] are the place to start.
//!
//! Invariant: an object leaves only through `Removing`, a failed creation too.

pub mod alone;
pub mod container;
pub mod container_state;
pub mod effect;
pub mod error;
pub mod files;
pub mod id;
pub mod image;
pub mod image_removal;
pub mod ports;
pub mod pull;
pub mod reconcile;
pub mod record;
pub mod reference;
pub mod sandbox;
pub mod sandbox_state;
pub mod streams;
pub mod time;
pub mod update;
pub mod usage;

pub use error::{ErrorKind, Failure};
pub use id::{ContainerId, Digest, ImageId, Namespace, NaturalKey, ObjectId, SandboxId};
pub use time::Timestamp;

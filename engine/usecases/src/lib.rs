//! Operations, drivers and recovery over the ports.
//!
//! One driver per sandbox owns its state and that of its containers; a [`Facade`] asks it and waits for what it wants. Time,
//! randomness, tasks and blocking work come in through the ports, so that a seed replays a run.
//! Start at [`Engine::start`], then [`Facade`].
//!
//! Always: a state is recorded before its effect is performed; an object has at most one effect under way; what is listed
//! is a snapshot and waits for nothing.

mod annex;
mod cell;
mod changes;
mod driver;
mod engine;
mod exec;
mod facade;
mod files;
mod images;
mod metrics;
mod moment;
mod perform;
mod reading;
mod recover;
mod registry;
mod reopen;
mod running;
mod signal;
mod stage;
mod stages;
mod stir;
mod sweep;
mod usage;
mod wanted;
mod write;

pub use annex::Annexed;
pub use changes::{Change, Changes, News};
pub use engine::{Engine, Policy};
pub use facade::{Changed, CreateAlone, CreateContainer, Difference, Facade, Health, RunSandbox};
pub use recover::Recovered;
pub use registry::{ContainerView, SandboxView};
pub use stir::{Snapshot, Stirs};
pub use usage::{ContainerUsage, SandboxUsage};

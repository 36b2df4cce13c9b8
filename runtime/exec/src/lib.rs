//! Runs a plan in a fresh process.
//!
//! Two halves. [`Prepared::new`] turns a plan and its descriptors into C strings and lists; it may allocate and runs in the
//! shim. [`Prepared::launch`] clones; the child then makes raw calls only and allocates nothing. A step that fails comes
//! back as a [`Failure`] on a pipe that execve(2) closes: an empty pipe means that the program runs.
//! Not here: which steps and in which order (the planner's), cgroups (the shim makes the leaf, the child only enters).
//!
//! Invariants: paths inside the container are resolved by openat2(2) beneath its root and mounted on by descriptor, never
//! by path; no descriptor but 0, 1 and 2 survives into the program.

mod child;
mod hollow;
mod init;
mod kernel;
mod launch;
mod mounts;
mod prepare;
mod report;
mod resolve;
mod sources;
mod terminal;

pub use hollow::{Hollow, be_alone_in};
pub use kernel::set_sysctl;
pub use launch::Launched;
pub use prepare::{Prepared, Refused, Surroundings};
pub use report::{Failure, Outcome, Report, Stage};
pub use terminal::Master;

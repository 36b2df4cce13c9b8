//! Records on disk.

use super::Answer;
use crate::container_state::ContainerState;
use crate::error::Result;
use crate::id::{ContainerId, SandboxId};
use crate::record::{ContainerAsked, Loaded, SandboxAsked};
use crate::sandbox_state::SandboxState;

/// Records on disk, two for each object.
pub trait Records: Send + Sync {
    /// Loads everything. A record that can't be read is set aside and named, never fatal.
    fn load(&self) -> Answer<'_, Result<Loaded>>;

    /// Writes what was asked for, before anything is done.
    fn put_sandbox<'a>(&'a self, asked: &'a SandboxAsked) -> Answer<'a, Result<()>>;

    /// Writes what is.
    fn put_sandbox_state<'a>(&'a self, id: &'a SandboxId, state: &'a SandboxState) -> Answer<'a, Result<()>>;

    /// Deletes both records. Quiet when they are not there.
    fn forget_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<()>>;

    /// Writes what was asked for, before anything is done.
    fn put_container<'a>(&'a self, asked: &'a ContainerAsked) -> Answer<'a, Result<()>>;

    /// Writes what is.
    fn put_container_state<'a>(&'a self, id: &'a ContainerId, state: &'a ContainerState) -> Answer<'a, Result<()>>;

    /// Deletes both records. Quiet when they are not there.
    fn forget_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, Result<()>>;
}

//! Networks of sandboxes.

use super::{Answer, NetworkNamespace};
use crate::error::Result;
use crate::id::SandboxId;
use crate::sandbox::SandboxSpec;
use crate::sandbox_state::Attachment;
use crate::usage::InterfaceUsage;

/// Networks of sandboxes.
pub trait Network: Send + Sync {
    /// Attaches a sandbox to its networks. Detaches what was attached when one fails.
    fn attach<'a>(
        &'a self,
        id: &'a SandboxId,
        spec: &'a SandboxSpec,
        namespace: NetworkNamespace,
    ) -> Answer<'a, Result<Vec<Attachment>>>;

    /// Detaches a sandbox from its networks and gives its addresses back. Works when the namespace is gone.
    fn detach<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<()>>;

    /// Says what passed over the interfaces of sandboxes, in this order, that of the default network first. One that is not
    /// attached has none.
    fn usage<'a>(&'a self, ids: &'a [SandboxId]) -> Answer<'a, Result<Vec<Vec<InterfaceUsage>>>>;

    /// Lists every sandbox that holds an address, for recovery.
    fn leftovers(&self) -> Answer<'_, Result<Vec<SandboxId>>>;

    /// Says whether sandboxes can be attached now; a failure says what is missing.
    fn ready(&self) -> Answer<'_, Result<()>>;
}

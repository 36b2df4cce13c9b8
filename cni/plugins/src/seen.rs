//! What was last seen of nf_tables, so that nobody looks again while nothing has changed.

use crate::error::{Error, Result};
use orlop_netlink::nft::NftSocket;

/// A state of all tables of the node, in which ours was seen whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u32);

// === impl Seen ===

impl Seen {
    /// Returns the state of now.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn now(nft: &mut NftSocket) -> Result<Self> {
        nft.generation().map(Self).map_err(Error::netlink("ask for the state of nf_tables"))
    }

    /// Returns the state behind one change of our own: `None` when others have changed something too. Only after a change,
    /// or one of others would be taken for it.
    #[must_use]
    pub(crate) fn after_own_change(self, nft: &mut NftSocket) -> Option<Self> {
        // The kernel counts every transaction, and leaves 0 out.
        let next = self.0.checked_add(1).unwrap_or(1);
        Self::now(nft).ok().filter(|now| now.0 == next)
    }
}

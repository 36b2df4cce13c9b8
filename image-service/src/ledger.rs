//! What is on disk and who needs it, in memory.
//!
//! One lock guards it together with the moves into and out of `layers/` and `content/`, so that a layer is never moved away
//! under someone who just began to need it. The lock is held for renames, never while data is written or flushed.

use crate::record::{ContainerRecord, LayerRecord};
use orlop_model::{ContainerId, Digest};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Layers, content, and their users other than images.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Layers in `layers/`.
    pub(crate) layers: HashMap<Digest, Arc<LayerRecord>>,
    /// Bytes of the files in `content/`.
    pub(crate) content: HashMap<Digest, u64>,
    /// How many pulls under way need a layer or content.
    pub(crate) leases: HashMap<Digest, usize>,
    /// Writable layers.
    pub(crate) containers: BTreeMap<ContainerId, Arc<ContainerRecord>>,
    /// Writable layers with a record that can't be read; only good for dropping.
    pub(crate) damaged: BTreeSet<ContainerId>,
}

// === impl Ledger ===

impl Ledger {
    /// Returns whether a pull or a writable layer needs something.
    pub(crate) fn needs(&self, digest: &Digest) -> bool {
        self.leases.contains_key(digest) || self.containers.values().any(|container| container.stack.contains(digest))
    }

    pub(crate) fn lease(&mut self, digest: &Digest) {
        *self.leases.entry(digest.clone()).or_default() += 1;
    }

    pub(crate) fn end_lease(&mut self, digest: &Digest) {
        if let Some(count) = self.leases.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                self.leases.remove(digest);
            }
        }
    }
}

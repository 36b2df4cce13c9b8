//! What writable layers take on disk, counted beside those who ask.
//!
//! A container decides how many files its layer has, so counting has no bound of its own. It goes on in the background; who
//! asks waits for it a little, and is then told what was counted last.

use crate::measure::measure;
use crate::store::Shared;
use futures_util::future::join_all;
use orlop_model::usage::LayerUsage;
use orlop_model::{ContainerId, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// A figure younger than this is told again: a kubelet asks every ten seconds, and others beside it.
const FRESH: Duration = Duration::from_secs(8);
/// How long who asks waits for a new one.
const PATIENCE: Duration = Duration::from_millis(500);
/// Layers counted at once: pods need the disk too.
const AT_ONCE: usize = 2;

/// The last count of each writable layer that was asked about, and those under way.
pub(crate) struct LayerUsages {
    counts: Mutex<HashMap<ContainerId, Count>>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Count {
    last: Option<(LayerUsage, Instant)>,
    under_way: bool,
}

// === impl LayerUsages ===

impl Default for LayerUsages {
    fn default() -> Self {
        Self { counts: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl LayerUsages {
    /// Forgets a layer that is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.lock().remove(id);
    }

    /// Returns the last count; `None` when there is none yet.
    fn last(&self, id: &ContainerId) -> Option<LayerUsage> {
        self.lock().get(id).and_then(|count| count.last.as_ref()).map(|(usage, _)| usage.clone())
    }

    /// Says whether the caller is to count a layer now: nobody does, and what was counted last is old.
    fn begin(&self, id: &ContainerId) -> bool {
        let mut counts = self.lock();
        let count = counts.entry(id.clone()).or_default();
        let fresh = count.last.as_ref().is_some_and(|(_, at)| at.elapsed() < FRESH);
        let begin = !fresh && !count.under_way;
        count.under_way |= begin;
        begin
    }

    fn end(&self, id: &ContainerId, counted: Option<LayerUsage>) {
        // One that was forgotten meanwhile stays so.
        if let Some(count) = self.lock().get_mut(id) {
            count.under_way = false;
            count.last = counted.map(|usage| (usage, Instant::now())).or(count.last.take());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Shared ===

impl Shared {
    /// Says what writable layers take; `None` where there is none, or none counted yet.
    pub(crate) async fn layer_usage(self: &Arc<Self>, ids: &[ContainerId]) -> Vec<Option<LayerUsage>> {
        let known = |id: &&ContainerId| self.ledger().containers.contains_key(*id);
        let counts = ids.iter().filter(known).filter(|id| self.usages.begin(id)).map(|id| {
            let (shared, id) = (Arc::clone(self), id.clone());
            tokio::spawn(async move { shared.count(&id).await })
        });
        let counts = join_all(counts.collect::<Vec<_>>());
        // What is not counted by then is counted on: the tasks are not ours to wait for.
        let _ = tokio::time::timeout(PATIENCE, counts).await;
        ids.iter().map(|id| self.usages.last(id)).collect()
    }

    async fn count(self: Arc<Self>, id: &ContainerId) {
        let place = Arc::clone(&self.usages.places).acquire_owned().await.expect("the semaphore is never closed");
        let (shared, layer) = (Arc::clone(&self), id.clone());
        let counted = tokio::task::spawn_blocking(move || {
            let _place = place;
            let counted = measure(&shared.disk.container(&layer).join("upper"));
            counted.inspect_err(|error| tracing::debug!(container = %layer, %error, "its layer can't be counted")).ok()
        });
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let usage = counted.await.ok().flatten().map(|size| LayerUsage {
            at: Timestamp(i64::try_from(at).unwrap_or(i64::MAX)),
            mountpoint: self.disk.root().to_owned(),
            bytes: size.bytes,
            inodes: size.inodes,
        });
        self.usages.end(id, usage);
        // Dropped while it was counted, or just before.
        if !self.ledger().containers.contains_key(id) {
            self.usages.forget(id);
        }
    }
}

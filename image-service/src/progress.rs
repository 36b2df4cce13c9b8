//! How far pulls and their layers are, for those who wait.

use crate::flights::Boarded;
use orlop_model::Digest;
use orlop_model::ports::PullListener;
use orlop_model::pull::{LayerProgress, LayerStage, PullProgress, TELL_PAUSE};
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::time::MissedTickBehavior;

/// How far a layer is; shared by all pulls that wait for it.
pub(crate) struct Gauge(Mutex<LayerStage>);

/// How far a pull is.
#[derive(Default)]
pub(crate) struct PullBoard {
    /// Its layers, once they are known.
    layers: OnceLock<Vec<BoardLayer>>,
}

/// A layer of a pull.
pub(crate) struct BoardLayer {
    pub(crate) blob: Digest,
    /// `None` for one that was here before.
    pub(crate) gauge: Option<Arc<Gauge>>,
}

// === impl Gauge ===

impl Default for Gauge {
    fn default() -> Self {
        Self(Mutex::new(LayerStage::Waiting))
    }
}

impl Gauge {
    pub(crate) fn set(&self, stage: LayerStage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn get(&self) -> LayerStage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl PullBoard ===

impl PullBoard {
    /// Says what is to be fetched. Once.
    pub(crate) fn begin(&self, layers: Vec<BoardLayer>) {
        // A second list would be that of the same manifest.
        let _ = self.layers.set(layers);
    }

    fn progress(&self) -> PullProgress {
        let stage = |layer: &BoardLayer| layer.gauge.as_ref().map_or(LayerStage::Present, |gauge| gauge.get());
        let layers = self.layers.get().into_iter().flatten();
        let layers = layers.map(|layer| LayerProgress { blob: layer.blob.clone(), stage: stage(layer) });
        PullProgress { layers: layers.collect() }
    }
}

/// Waits for the end of a pull and tells a listener how far it is meanwhile. Looked at rather than sent: what a slow
/// listener misses costs nothing.
pub(crate) async fn tell_until_end<K: Eq + Hash, T: Clone>(
    pull: &mut Boarded<K, T, PullBoard>,
    listener: &dyn PullListener,
) -> Option<T> {
    let board = Arc::clone(pull.board());
    let mut told = PullProgress::default();
    let mut tell = || {
        let progress = board.progress();
        if progress != told {
            listener.hear(&progress);
            told = progress;
        }
    };
    let mut pause = tokio::time::interval(TELL_PAUSE);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        tokio::select! {
            end = pull.end() => break end,
            _ = pause.tick() => tell(),
        }
    };
    tell();
    end
}

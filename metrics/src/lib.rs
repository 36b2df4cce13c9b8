//! The Prometheus endpoint: what the parts of the node count, over HTTP.
//!
//! It counts nothing but the process itself: each part owns its counters and hands them over. Start at [`Metrics::new`],
//! then [`serve`]. Always: what is asked here changes nothing; connections, bytes and time are bounded; no label has values
//! that a client, an image or a pod chooses.

mod process;
mod server;

pub use server::{Bounds, Listener, serve};

use prometheus::core::Collector;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

/// What one part of the node counts.
pub type Part = Vec<Box<dyn Collector>>;

/// Everything that is shown. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Begins with what is known of the program itself: its version, and its process.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let metrics = Self { registry: Registry::new() };
        metrics.add(vec![build_info(version), Box::new(process::ProcessMetrics::new())]);
        metrics
    }

    /// Shows what a part counts.
    ///
    /// # Panics
    /// When a name is there already: a fault of the program, which every start would show.
    pub fn add(&self, part: Part) {
        for collector in part {
            self.registry.register(collector).expect("each part has names of its own");
        }
    }

    /// Returns everything in the text format of Prometheus.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn build_info(version: &str) -> Box<dyn Collector> {
    let opts = Opts::new("orlop_build_info", "What is running; always 1.");
    let info = IntGaugeVec::new(opts, &["version", "arch"]).expect("the names keep to the rules");
    info.with_label_values(&[version, std::env::consts::ARCH]).set(1);
    Box::new(info)
}

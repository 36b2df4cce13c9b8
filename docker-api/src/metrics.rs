//! What the facade counts.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter};

/// Bounds of the times of requests, seconds: from a list of a few containers to a start with a network.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// What the facade counts; cheap to clone.
#[derive(Clone, Debug)]
pub struct DockerMetrics {
    /// Fields and parameters that no table knows.
    pub(crate) unknown: IntCounter,
    /// Time from a request's head to its answer's, by operation and status.
    pub(crate) seconds: HistogramVec,
}

impl DockerMetrics {
    /// Makes counters that stand at zero.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "counters are made once, by the daemon")]
    pub fn new() -> Self {
        let unknown = IntCounter::new(
            "orlop_docker_unknown_fields_total",
            "Fields and parameters of requests that no table knows, and that were ignored.",
        );
        let options = HistogramOpts::new(
            "orlop_docker_request_seconds",
            "Time from the head of a request to the head of its answer.",
        );
        let seconds = HistogramVec::new(options.buckets(SECONDS.to_vec()), &["operation", "status"]);
        Self {
            unknown: unknown.expect("the name keeps to the rules"),
            seconds: seconds.expect("the names keep to the rules"),
        }
    }

    /// Returns the collectors, for a Prometheus endpoint.
    #[must_use]
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![Box::new(self.unknown.clone()), Box::new(self.seconds.clone())]
    }
}

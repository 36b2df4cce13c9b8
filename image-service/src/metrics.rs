//! What is counted of pulls, for a Prometheus endpoint. A pull that several callers share is one.

use orlop_model::{ErrorKind, Failure};
use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts};
use std::time::Instant;

/// From an image that is there already to the largest over a slow line, seconds.
const BUCKETS: [f64; 13] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0, 3600.0];

/// Label of a pull that its last caller left.
const LEFT: &str = "left";

/// Counters of pulls.
pub(crate) struct PullMetrics {
    started: IntCounter,
    failed: IntCounterVec,
    in_flight: IntGauge,
    seconds: Histogram,
    /// Bytes of layers that came from registries, as they travel.
    pub(crate) bytes: IntCounter,
}

impl PullMetrics {
    pub(crate) fn new() -> Self {
        let rules = "the names keep to the rules";
        let counter = |name, help| IntCounter::new(name, help).expect(rules);
        let failed = Opts::new("orlop_image_pulls_failed_total", "Pulls that failed or were left, by reason.");
        let in_flight = IntGauge::new("orlop_image_pulls_in_flight", "Pulls under way.");
        let seconds = HistogramOpts::new("orlop_image_pull_duration_seconds", "Time that successful pulls took.");
        Self {
            started: counter("orlop_image_pulls_started_total", "Pulls begun."),
            failed: IntCounterVec::new(failed, &["reason"]).expect(rules),
            in_flight: in_flight.expect(rules),
            seconds: Histogram::with_opts(seconds.buckets(BUCKETS.to_vec())).expect(rules),
            bytes: counter("orlop_image_pull_received_bytes_total", "Bytes of layers received from registries."),
        }
    }

    pub(crate) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let Self { started, failed, in_flight, seconds, bytes } = self;
        vec![
            Box::new(started.clone()),
            Box::new(failed.clone()),
            Box::new(in_flight.clone()),
            Box::new(seconds.clone()),
            Box::new(bytes.clone()),
        ]
    }

    pub(crate) fn begin(&self) -> PullUnderWay<'_> {
        self.started.inc();
        self.in_flight.inc();
        PullUnderWay { metrics: self, since: Instant::now(), failed: Some(LEFT) }
    }
}

/// A pull under way. Counted when it is dropped: as left, unless it came to its end.
pub(crate) struct PullUnderWay<'a> {
    metrics: &'a PullMetrics,
    since: Instant,
    failed: Option<&'static str>,
}

impl PullUnderWay<'_> {
    pub(crate) fn ended<T>(mut self, result: &Result<T, Failure>) {
        self.failed = result.as_ref().err().map(|failure| reason(failure.kind));
    }
}

impl Drop for PullUnderWay<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        match self.failed {
            None => self.metrics.seconds.observe(self.since.elapsed().as_secs_f64()),
            Some(reason) => self.metrics.failed.with_label_values(&[reason]).inc(),
        }
    }
}

/// Returns the label of a kind of failure.
fn reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => "invalid_argument",
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::WrongState => "wrong_state",
        ErrorKind::Denied => "denied",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::TimedOut => "timed_out",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Exhausted => "exhausted",
        ErrorKind::Internal => "internal",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::RegistryUnavailable => "registry_unavailable",
        ErrorKind::SignatureInvalid => "signature_invalid",
        ErrorKind::RecursiveReadOnlyUnsupported => "recursive_read_only_unsupported",
        ErrorKind::ImageVolumeFailed => "image_volume_failed",
    }
}

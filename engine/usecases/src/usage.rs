//! What containers use, with the one figure that takes two looks: how much of the processor they use just now.

use crate::engine::Node;
use crate::registry::ContainerView;
use orlop_model::container_state::ContainerState;
use orlop_model::error::Result;
use orlop_model::usage::{LayerUsage, Usage, UsageOf};
use orlop_model::{ContainerId, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shortest time between two looks of which a rate is made; below it, one tick of the clock more or less would show.
const RATE_OVER_NS_MIN: i64 = 1_000_000_000;

/// Fewest samples worth a sweep.
const SWEEP_AT_MIN: usize = 64;

/// What a running container uses.
#[derive(Clone, Debug)]
pub struct ContainerUsage {
    /// The container.
    pub view: Arc<ContainerView>,
    /// What its processes use.
    pub usage: Usage,
    /// Billionths of a processor used of late; `None` until it was looked at twice.
    pub cpu_nano_cores: Option<u64>,
    /// What its writable layer takes; `None` until it has been counted.
    pub layer: Option<LayerUsage>,
}

/// Reads what containers use; those that do not run are left out.
pub(crate) async fn of_containers(node: &Node, views: Vec<Arc<ContainerView>>) -> Result<Vec<ContainerUsage>> {
    let sandbox = |view: &ContainerView| {
        node.registry.sandbox(&view.asked.spec.sandbox).map(|(sandbox, _)| sandbox.asked.clone())
    };
    let running = views.into_iter().filter(|view| runs(&view.state));
    let (views, sandboxes): (Vec<_>, Vec<_>) = running.filter_map(|view| sandbox(&view).map(|of| (view, of))).unzip();
    let of = views.iter().zip(&sandboxes).map(|(view, sandbox)| UsageOf {
        sandbox_id: &sandbox.id,
        sandbox: &sandbox.spec,
        container: Some(&view.asked.id),
    });
    let of: Vec<_> = of.collect();
    let ids: Vec<_> = views.iter().map(|view| view.asked.id.clone()).collect();
    let usages = node.ports.runtime.usage(&of).await?;
    let layers = node.ports.images.layer_usage(&ids).await?;
    let all = views.iter().zip(usages).zip(layers);
    Ok(all
        .filter_map(|((view, usage), layer)| {
            let usage = usage?;
            let cpu_nano_cores =
                usage.cpu_ns.and_then(|cpu_ns| node.samples.rate(node, &view.asked.id, usage.at, cpu_ns));
            Some(ContainerUsage { view: Arc::clone(view), usage, cpu_nano_cores, layer })
        })
        .collect())
}

/// Returns whether a container has processes whose usage can be read.
pub(crate) fn runs(state: &ContainerState) -> bool {
    state.task().is_some()
}

// === rates ===

/// The last look at each container. Those of containers that are gone are swept out.
#[derive(Default)]
pub(crate) struct Samples(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_id: HashMap<ContainerId, Sample>,
    /// Samples at which the dead ones are swept out: twice what was left the last time, so that sweeping costs nothing.
    sweep_at: usize,
}

/// One look at a container's processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    at: Timestamp,
    cpu_ns: u64,
    /// What the look before it made of it.
    rate: Option<u64>,
}

impl Samples {
    /// Takes another look, and says what a container used since the last one.
    fn rate(&self, node: &Node, id: &ContainerId, at: Timestamp, cpu_ns: u64) -> Option<u64> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_id.len() >= kept.sweep_at.max(SWEEP_AT_MIN) {
            kept.by_id.retain(|id, _| node.registry.container(id).is_some());
            kept.sweep_at = kept.by_id.len() * 2;
        }
        let next = kept.by_id.get(id).map_or(Sample { at, cpu_ns, rate: None }, |last| last.then(at, cpu_ns));
        kept.by_id.insert(id.clone(), next);
        next.rate
    }
}

impl Sample {
    /// Returns what to keep after another look. One that comes too soon, or from a clock that was set back, changes nothing.
    fn then(&self, at: Timestamp, cpu_ns: u64) -> Self {
        let past_ns = at.0.saturating_sub(self.at.0);
        match cpu_ns.checked_sub(self.cpu_ns) {
            // A new life of the container has a new cgroup.
            None => Self { at, cpu_ns, rate: None },
            Some(_) if (0..RATE_OVER_NS_MIN).contains(&past_ns) => *self,
            Some(_) if past_ns < 0 => Self { at, cpu_ns, rate: None },
            Some(used) => {
                let rate = u128::from(used) * 1_000_000_000 / u128::from(past_ns.unsigned_abs());
                Self { at, cpu_ns, rate: u64::try_from(rate).ok() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_rate_takes_two_looks_at_least_a_second_apart() {
        let first = Sample { at: Timestamp(5 * SECOND), cpu_ns: 100, rate: None };
        assert_eq!(first.then(Timestamp(5 * SECOND + 1), 200), first, "too soon");
        let second = first.then(Timestamp(7 * SECOND), 3_000_000_100);
        assert_eq!(second, Sample { at: Timestamp(7 * SECOND), cpu_ns: 3_000_000_100, rate: Some(1_500_000_000) });
        assert_eq!(second.then(Timestamp(7 * SECOND + 1), 3_000_000_200), second, "the rate of before still stands");
        assert_eq!(second.then(Timestamp(9 * SECOND), 3_000_000_100).rate, Some(0), "idle");
    }

    #[test]
    fn a_new_life_and_a_clock_set_back_begin_anew() {
        let last = Sample { at: Timestamp(5 * SECOND), cpu_ns: 100, rate: Some(3) };
        assert_eq!(last.then(Timestamp(8 * SECOND), 7).rate, None);
        let back = last.then(Timestamp(SECOND), 200);
        assert_eq!(back, Sample { at: Timestamp(SECOND), cpu_ns: 200, rate: None });
    }
}

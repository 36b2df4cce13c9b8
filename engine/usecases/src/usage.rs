//! What containers use, with the one figure that takes two looks: how much of the processor they use just now.

use crate::engine::Node;
use crate::registry::{ContainerView, SandboxView};
use orlop_model::container_state::ContainerState;
use orlop_model::error::Result;
use orlop_model::sandbox_state::SandboxState;
use orlop_model::usage::{InterfaceUsage, LayerUsage, Usage, UsageOf};
use orlop_model::{ContainerId, SandboxId, Timestamp};
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

/// What a ready sandbox uses.
#[derive(Clone, Debug)]
pub struct SandboxUsage {
    /// The sandbox.
    pub view: Arc<SandboxView>,
    /// What all its processes use.
    pub usage: Usage,
    /// Billionths of a processor used of late; `None` until it was looked at twice.
    pub cpu_nano_cores: Option<u64>,
    /// What passed over its interfaces, that of the default network first.
    pub interfaces: Vec<InterfaceUsage>,
    /// Its running containers.
    pub containers: Vec<ContainerUsage>,
}

/// Reads what sandboxes use, with their containers; those that are not ready are left out.
pub(crate) async fn of_sandboxes(
    node: &Node,
    views: Vec<Arc<SandboxView>>,
    containers: Vec<Arc<ContainerView>>,
) -> Result<Vec<SandboxUsage>> {
    let ready = |view: &Arc<SandboxView>| matches!(view.state, SandboxState::Ready { .. });
    let views: Vec<_> = views.into_iter().filter(ready).collect();
    let of = |view: &'_ Arc<SandboxView>| view.asked.id.clone();
    let ids: Vec<_> = views.iter().map(of).collect();
    let mine = containers.into_iter().filter(|view| ids.contains(&view.asked.spec.sandbox)).collect();
    let mut inside: HashMap<SandboxId, Vec<ContainerUsage>> = HashMap::new();
    for usage in of_containers(node, mine).await? {
        inside.entry(usage.view.asked.spec.sandbox.clone()).or_default().push(usage);
    }
    let of =
        views.iter().map(|view| UsageOf { sandbox_id: &view.asked.id, sandbox: &view.asked.spec, container: None });
    let of: Vec<_> = of.collect();
    let usages = node.ports.runtime.usage(&of).await?;
    let interfaces = node.ports.network.usage(&ids).await?;
    let all = views.iter().zip(usages).zip(interfaces);
    Ok(all
        .filter_map(|((view, usage), interfaces)| {
            let (usage, id) = (usage?, &view.asked.id);
            let cpu_nano_cores = rate(node, id.as_str(), &usage);
            let containers = inside.remove(id).unwrap_or_default();
            Some(SandboxUsage { view: Arc::clone(view), usage, cpu_nano_cores, interfaces, containers })
        })
        .collect())
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
            let cpu_nano_cores = rate(node, view.asked.id.as_str(), &usage);
            Some(ContainerUsage { view: Arc::clone(view), usage, cpu_nano_cores, layer })
        })
        .collect())
}

/// Takes a look at the processor time of a container or sandbox, and says what it used since the last one.
fn rate(node: &Node, id: &str, usage: &Usage) -> Option<u64> {
    let lives = |id: &str| {
        let container = ContainerId::parse(id).ok().and_then(|id| node.registry.container(&id)).is_some();
        container || SandboxId::parse(id).ok().and_then(|id| node.registry.sandbox(&id)).is_some()
    };
    node.samples.rate(id, usage.at, usage.cpu_ns?, lives)
}

/// Returns whether a container has processes whose usage can be read.
pub(crate) fn runs(state: &ContainerState) -> bool {
    state.task().is_some()
}

// === rates ===

/// The last look at each container and sandbox, by id. Those of what is gone are swept out.
#[derive(Default)]
pub(crate) struct Samples(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_id: HashMap<String, Sample>,
    /// Samples at which the dead ones are swept out: twice what was left the last time, so that sweeping costs nothing.
    sweep_at: usize,
}

/// One look at the processor time of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    at: Timestamp,
    cpu_ns: u64,
    /// What the look before it made of it.
    rate: Option<u64>,
}

impl Samples {
    /// Takes another look, and says what was used since the last one.
    fn rate(&self, id: &str, at: Timestamp, cpu_ns: u64, lives: impl Fn(&str) -> bool) -> Option<u64> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_id.len() >= kept.sweep_at.max(SWEEP_AT_MIN) {
            kept.by_id.retain(|id, _| lives(id));
            kept.sweep_at = kept.by_id.len() * 2;
        }
        let next = kept.by_id.get(id).map_or(Sample { at, cpu_ns, rate: None }, |last| last.then(at, cpu_ns));
        kept.by_id.insert(id.to_owned(), next);
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
    fn looks_at_what_is_gone_are_swept_out() {
        let samples = Samples::default();
        for number in 0..10_000 {
            samples.rate(&number.to_string(), Timestamp(1), 1, |id| id == "0");
        }
        let kept = samples.0.lock().unwrap();
        assert!(kept.by_id.contains_key("0") && kept.by_id.len() <= SWEEP_AT_MIN + 1, "{}", kept.by_id.len());
    }

    #[test]
    fn a_new_life_and_a_clock_set_back_begin_anew() {
        let last = Sample { at: Timestamp(5 * SECOND), cpu_ns: 100, rate: Some(3) };
        assert_eq!(last.then(Timestamp(8 * SECOND), 7).rate, None);
        let back = last.then(Timestamp(SECOND), 200);
        assert_eq!(back, Sample { at: Timestamp(SECOND), cpu_ns: 200, rate: None });
    }
}

//! What the node counts, for a Prometheus endpoint: its effects, and what exists in which state.

use crate::engine::Node;
use crate::registry::{ContainerView, SandboxView};
use orlop_model::ObjectId;
use orlop_model::container_state::ContainerState;
use orlop_model::sandbox_state::SandboxState;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};
use std::collections::HashSet;
use std::sync::Arc;

/// Names of a sandbox's states.
const SANDBOX_STATES: [&str; 6] = ["creating", "ready", "stopping", "not_ready", "starting", "removing"];
/// Names of a container's states.
const CONTAINER_STATES: [&str; 9] =
    ["creating", "created", "starting", "running", "frozen", "stopping", "lost", "exited", "removing"];

/// Shows a node as it is at the moment somebody asks.
pub(crate) struct NodeMetrics {
    node: Node,
    sandboxes: IntGaugeVec,
    containers: IntGaugeVec,
    stalled: IntGaugeVec,
}

// === impl NodeMetrics ===

impl NodeMetrics {
    pub(crate) fn new(node: Node) -> Self {
        let gauge =
            |name, help, label| IntGaugeVec::new(Opts::new(name, help), &[label]).expect("the names keep to the rules");
        Self {
            node,
            sandboxes: gauge("orlop_sandboxes", "Sandboxes by state, of all facades.", "state"),
            containers: gauge("orlop_containers", "Containers by state, of all facades.", "state"),
            stalled: gauge(
                "orlop_operations_stalled",
                "Sandboxes and containers that have owed one effect for 30 seconds or longer, by that effect.",
                "effect",
            ),
        }
    }

    fn each(&self) -> [&dyn Collector; 5] {
        [&self.sandboxes, &self.containers, &self.stalled, &self.node.stages.seconds, &self.node.shims_lost]
    }
}

impl Collector for NodeMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.each().into_iter().flat_map(Collector::desc).collect()
    }

    /// Sets every gauge that can be: a state that nothing is in any more must be shown as zero.
    fn collect(&self) -> Vec<MetricFamily> {
        let (sandboxes, containers) = self.node.registry.everything();
        count(&self.sandboxes, &SANDBOX_STATES, sandboxes.iter().map(|view| sandbox_state(&view.state)));
        count(&self.containers, &CONTAINER_STATES, containers.iter().map(|view| container_state(&view.state)));
        let on_the_way = on_the_way(&sandboxes, &containers);
        for (effect, number) in self.node.stages.stalled(|object| on_the_way.contains(object)) {
            self.stalled.with_label_values(&[effect]).set(number);
        }
        self.each().into_iter().flat_map(Collector::collect).collect()
    }
}

fn count<'a>(gauges: &IntGaugeVec, names: &[&'a str], states: impl Iterator<Item = &'a str>) {
    let states: Vec<_> = states.collect();
    for name in names {
        let number = states.iter().filter(|state| *state == name).count();
        gauges.with_label_values(&[*name]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }
}

/// Returns what is on its way to another state, and owes an effect for that.
fn on_the_way(sandboxes: &[Arc<SandboxView>], containers: &[Arc<ContainerView>]) -> HashSet<ObjectId> {
    let sandboxes = sandboxes.iter().filter(|view| sandbox_moves(&view.state));
    let containers = containers.iter().filter(|view| container_moves(&view.state));
    let sandboxes = sandboxes.map(|view| ObjectId::Sandbox(view.asked.id.clone()));
    sandboxes.chain(containers.map(|view| ObjectId::Container(view.asked.id.clone()))).collect()
}

fn sandbox_state(state: &SandboxState) -> &'static str {
    match state {
        SandboxState::Creating { .. } => "creating",
        SandboxState::Ready { .. } => "ready",
        SandboxState::Stopping { .. } => "stopping",
        SandboxState::NotReady { .. } => "not_ready",
        SandboxState::Starting { .. } => "starting",
        SandboxState::Removing { .. } | SandboxState::Gone { .. } => "removing",
    }
}

fn sandbox_moves(state: &SandboxState) -> bool {
    match state {
        SandboxState::Creating { .. } | SandboxState::Starting { .. } => true,
        SandboxState::Stopping { .. } | SandboxState::Removing { .. } => true,
        SandboxState::Ready { .. } | SandboxState::NotReady { .. } | SandboxState::Gone { .. } => false,
    }
}

fn container_state(state: &ContainerState) -> &'static str {
    match state {
        ContainerState::Creating { .. } => "creating",
        ContainerState::Created { .. } => "created",
        ContainerState::Starting { .. } => "starting",
        ContainerState::Running(_) => "running",
        ContainerState::Frozen(_) => "frozen",
        ContainerState::Stopping { .. } => "stopping",
        ContainerState::Lost(_) => "lost",
        ContainerState::Exited { .. } => "exited",
        ContainerState::Removing(_) | ContainerState::Gone { .. } => "removing",
    }
}

fn container_moves(state: &ContainerState) -> bool {
    match state {
        ContainerState::Creating { .. } | ContainerState::Starting { .. } => true,
        ContainerState::Stopping { .. } | ContainerState::Removing(_) => true,
        ContainerState::Exited { task, .. } => task.is_some(),
        ContainerState::Created { .. } | ContainerState::Running(_) => false,
        ContainerState::Frozen(_) | ContainerState::Lost(_) | ContainerState::Gone { .. } => false,
    }
}

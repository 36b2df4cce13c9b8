//! The core of the node: every sandbox and container, over the ports.

use crate::driver::{Driver, Inbox, Message, Reply};
use crate::facade::{Difference, Facade};
use crate::metrics::NodeMetrics;
use crate::recover::{self, Recovered};
use crate::registry::Registry;
use crate::stages::Stages;
use crate::usage::Samples;
use orlop_model::container_state::{ContainerEvent, Ended};
use orlop_model::error::Result;
use orlop_model::ports::{Ports, RuntimeListener};
use orlop_model::record::{ContainerAsked, Durability, SandboxAsked};
use orlop_model::sandbox_state::SandboxEvent;
use orlop_model::{ContainerId, Namespace, SandboxId};
use prometheus::IntCounter;
use prometheus::core::Collector;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Mutating requests under way at a time, all facades together. A kubelet with 500 pods has some hundred.
pub(crate) const REQUESTS_MAX: usize = 4096;

/// The core of the node. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) node: Node,
    pub(crate) requests: Arc<Semaphore>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// What every driver and facade shares.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) ports: Ports,
    pub(crate) registry: Arc<Registry>,
    pub(crate) stages: Arc<Stages>,
    /// Shims that died by themselves.
    pub(crate) shims_lost: IntCounter,
    pub(crate) samples: Arc<Samples>,
}

/// Which facade refuses what, and when: chosen here and nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long records last.
    pub durability: Durability,
    /// Whether an exited container may start again.
    pub restart: bool,
    /// Whether a container may be created in, and started with, a sandbox that is not ready.
    pub in_not_ready: bool,
    /// How two requests are compared.
    pub difference: Difference,
}

impl Engine {
    /// Loads the records, compares them with the world, and puts right what differs. Requests may come when it returns.
    pub async fn start(ports: Ports) -> Result<(Self, Recovered)> {
        let node = Node::new(ports);
        let (registry, shims_lost) = (Arc::clone(&node.registry), node.shims_lost.clone());
        node.ports.runtime.report_to(Arc::new(Listener { registry, shims_lost }));
        let recovered = recover::recover(&node).await?;
        Ok((Self { node, requests: Arc::new(Semaphore::new(REQUESTS_MAX)) }, recovered))
    }

    /// Gives a facade its view: its own namespace, under its own policy.
    #[must_use]
    pub fn facade(&self, namespace: Namespace, policy: Policy) -> Facade {
        Facade::new(self.clone(), namespace, policy)
    }

    /// Returns how many sandboxes have gone for good since the start.
    #[must_use]
    pub fn sandboxes_gone(&self) -> u64 {
        self.node.registry.gone()
    }

    /// Returns what the node counts, for a Prometheus endpoint.
    #[must_use]
    pub fn metrics(&self) -> Vec<Box<dyn Collector>> {
        vec![Box::new(NodeMetrics::new(self.node.clone()))]
    }

    /// Returns whether no sandbox is left that has, or may have, anything on the node.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.node.registry.is_empty()
    }
}

impl Node {
    fn new(ports: Ports) -> Self {
        let shims_lost = IntCounter::new("orlop_shims_lost_total", "Shims that died by themselves.");
        let stages = Arc::new(Stages::new(Arc::clone(&ports.clock)));
        let registry = Arc::new(Registry::new(Arc::clone(&ports.clock)));
        let shims_lost = shims_lost.expect("the name keeps to the rules");
        Self { ports, registry, samples: Arc::default(), stages, shims_lost }
    }
}

/// Makes the driver of a new sandbox and lets it build.
pub(crate) fn begin_sandbox(node: &Node, asked: Arc<SandboxAsked>, mail: Mail, reply: Reply) {
    let Mail { inbox, outbox } = mail;
    let state = crate::driver::unwritten_sandbox(&asked.id, asked.created_at);
    let driver = Driver::new(node.clone(), inbox, asked, state);
    node.ports.clock.spawn("sandbox driver", Box::pin(driver.begin(outbox, reply)));
}

/// Makes the driver of a new container alone and lets it create.
pub(crate) fn begin_alone(
    node: &Node,
    asked: Arc<SandboxAsked>,
    container: Arc<ContainerAsked>,
    mail: Mail,
    reply: Reply,
) {
    let Mail { inbox, outbox } = mail;
    let state = orlop_model::sandbox_state::begin_alone(asked.created_at);
    let driver = Driver::new(node.clone(), inbox, asked, state);
    node.ports.clock.spawn("sandbox driver", Box::pin(driver.begin_alone(container, outbox, reply)));
}

/// Both ends of a driver's mail.
pub(crate) struct Mail {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: mpsc::UnboundedReceiver<Message>,
}

impl Mail {
    pub(crate) fn new() -> Self {
        let (inbox, outbox) = mpsc::unbounded_channel();
        Self { inbox, outbox }
    }
}

/// Hands what the runtime reports to the driver concerned.
struct Listener {
    registry: Arc<Registry>,
    shims_lost: IntCounter,
}

impl RuntimeListener for Listener {
    fn ended(&self, sandbox: &SandboxId, container: &ContainerId, ended: Ended) {
        let Some((_, inbox)) = self.registry.sandbox(sandbox) else { return };
        let event = Some(ContainerEvent::Ended(ended));
        // A driver that has ended knows of no container.
        drop(inbox.send(Message::Container { id: container.clone(), event, wait: None }));
    }

    fn shim_gone(&self, sandbox: &SandboxId) {
        self.shims_lost.inc();
        let Some((_, inbox)) = self.registry.sandbox(sandbox) else { return };
        drop(inbox.send(Message::Sandbox { event: Some(SandboxEvent::ShimGone), wait: None }));
    }
}

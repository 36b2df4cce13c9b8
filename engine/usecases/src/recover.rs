//! Takes up where the last daemon left off: loads the records, asks every shim, reconciles, and feeds the drivers.

use crate::driver::{Driver, Message, unwritten_container, unwritten_sandbox};
use crate::engine::{Mail, Node};
use crate::registry::{ContainerView, Named, SandboxView};
use orlop_model::container_state::{Checked, ContainerState, Ended, Exit};
use orlop_model::error::Result;
use orlop_model::ports::Observed;
use orlop_model::reconcile::{Action, World, reconcile};
use orlop_model::record::{ContainerAsked, Durability, Loaded, SandboxAsked};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, SandboxId};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

/// What recovery found and did.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Sandboxes taken up.
    pub sandboxes: usize,
    /// Containers taken up.
    pub containers: usize,
    /// Differences that were put right.
    pub actions: usize,
    /// Records set aside since they could not be read: where they are now, and what was wrong.
    pub set_aside: Vec<(PathBuf, String)>,
}

pub(crate) async fn recover(node: &Node) -> Result<Recovered> {
    let mut loaded = node.ports.records.load().await?;
    for (path, wrong) in &loaded.set_aside {
        error!(path = %path.display(), wrong, "a record could not be read and was set aside");
    }
    fill_in(&mut loaded);
    let world = look(node, &loaded).await?;
    let actions = reconcile(&loaded, &world, node.ports.clock.now());
    let recovered = Recovered {
        sandboxes: loaded.sandboxes.len(),
        containers: loaded.containers.len(),
        actions: actions.len(),
        set_aside: loaded.set_aside.clone(),
    };
    adopt(node, loaded);
    let mut waits = Vec::new();
    for action in actions {
        info!(?action, "putting right");
        waits.extend(act(node, action).await);
    }
    // Whoever asks next must see what the containers ended with.
    for wait in waits {
        drop(wait.await);
    }
    Ok(recovered)
}

/// Gives a state to what has none: a creation cut off between its two records, or a record that outlived its boot.
fn fill_in(loaded: &mut Loaded) {
    for (asked, state) in &mut loaded.sandboxes {
        state.get_or_insert_with(|| match asked.durability {
            Durability::Boot => unwritten_sandbox(&asked.id, asked.created_at),
            Durability::Node => SandboxState::NotReady { since: asked.created_at, why: None },
        });
    }
    for (asked, state) in &mut loaded.containers {
        state.get_or_insert_with(|| match asked.durability {
            Durability::Boot => unwritten_container(&asked.id, asked.created_at),
            Durability::Node => {
                let ended = Ended { started: None, finished: asked.created_at, exit: Exit::Unknown };
                ContainerState::Exited(ended, Checked::default())
            }
        });
    }
}

async fn look(node: &Node, loaded: &Loaded) -> Result<World> {
    let ports = &node.ports;
    let mut observed = BTreeMap::new();
    for (asked, _) in &loaded.sandboxes {
        let seen = ports.runtime.observe(&asked.id).await.unwrap_or_else(|failure| {
            warn!(sandbox = %asked.id, error = %failure, "the shim could not be asked; taken for dead");
            Observed::NoShim { ended: Vec::new() }
        });
        observed.insert(asked.id.clone(), seen);
    }
    Ok(World {
        observed,
        raised: ports.runtime.leftovers().await?.into_iter().collect(),
        addressed: ports.network.leftovers().await?.into_iter().collect(),
        rootfs: ports.images.leftovers().await?.into_iter().collect(),
    })
}

/// Enters everything in the registry and starts the drivers.
fn adopt(node: &Node, loaded: Loaded) {
    let mut children: HashMap<SandboxId, Vec<(Arc<ContainerAsked>, ContainerState)>> = HashMap::new();
    for (asked, state) in loaded.containers {
        let Some(state) = state else { continue };
        children.entry(asked.spec.sandbox.clone()).or_default().push((Arc::new(asked), state));
    }
    for (asked, state) in loaded.sandboxes {
        let Some(state) = state else { continue };
        let containers = children.remove(&asked.id).unwrap_or_default();
        adopt_sandbox(node, Arc::new(asked), state, containers);
    }
    for orphan in children.into_values().flatten() {
        error!(container = %orphan.0.id, sandbox = %orphan.0.spec.sandbox, "a container has no sandbox; its record is kept");
    }
}

fn adopt_sandbox(
    node: &Node,
    asked: Arc<SandboxAsked>,
    state: SandboxState,
    containers: Vec<(Arc<ContainerAsked>, ContainerState)>,
) {
    let Mail { inbox, outbox } = Mail::new();
    let view = SandboxView { asked: Arc::clone(&asked), state: state.clone() };
    if let Named::Taken(there) = node.registry.enter_sandbox(view, &inbox) {
        error!(sandbox = %asked.id, other = %there.asked.id, "two records claim one name; this one is kept aside");
        return;
    }
    let mut driver = Driver::new(node.clone(), inbox, asked, state);
    for (asked, state) in containers {
        let view = ContainerView { asked: Arc::clone(&asked), state: state.clone() };
        match node.registry.enter_container(view) {
            Named::Free => driver.adopt(asked, state),
            Named::Taken(there) => {
                error!(container = %asked.id, other = %there.asked.id, "two records claim one name; this one is kept aside");
            }
        }
    }
    node.ports.clock.spawn("sandbox driver", Box::pin(driver.resume(outbox)));
}

/// Feeds a driver, or sweeps what has no record. Returns what tells that it was heard.
async fn act(node: &Node, action: Action) -> Option<oneshot::Receiver<Result<()>>> {
    let swept = match action {
        Action::Sandbox(id, event) => return feed(node, &id, Message::Sandbox { event: Some(event), wait: None }),
        Action::Container(id, event) => {
            let pod = node.registry.container(&id)?.asked.spec.sandbox.clone();
            return feed(node, &pod, Message::Container { id, event: Some(event), wait: None });
        }
        Action::SweepShim(id) => sweep_shim(node, &id).await,
        Action::SweepAddress(id) => node.ports.network.detach(&id).await,
        Action::SweepRootfs(id) => sweep_rootfs(node, &id).await,
    };
    if let Err(failure) = swept {
        warn!(error = %failure, "a leftover could not be swept; the next start tries again");
    }
    None
}

fn feed(node: &Node, pod: &SandboxId, message: Message) -> Option<oneshot::Receiver<Result<()>>> {
    let (_, inbox) = node.registry.sandbox(pod)?;
    drop(inbox.send(message));
    let (reply, heard) = oneshot::channel();
    drop(inbox.send(Message::Heard(reply)));
    Some(heard)
}

async fn sweep_shim(node: &Node, id: &SandboxId) -> Result<()> {
    let ends = node.ports.runtime.drop_sandbox(id).await?;
    // The ends are kept for whoever has a record of the containers; here nobody has, and a second time lets them go.
    if ends.is_empty() { Ok(()) } else { node.ports.runtime.drop_sandbox(id).await.map(drop) }
}

async fn sweep_rootfs(node: &Node, id: &ContainerId) -> Result<()> {
    node.ports.images.drop_rootfs(id).await
}

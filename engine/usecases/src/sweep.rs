//! Takes away what no record knows of, beside requests: it is nobody's, and no start waits for it.

use crate::engine::Node;
use orlop_model::error::Result;
use orlop_model::reconcile::Action;
use orlop_model::sandbox_state::retry_pause;
use orlop_model::{ContainerId, SandboxId};
use std::collections::BTreeSet;
use tracing::{info, warn};

/// Sweeps one thing after the other; what fails is tried again, with pauses that double.
pub(crate) fn begin(node: &Node, sweeps: Vec<Action>) {
    if sweeps.is_empty() {
        return;
    }
    let (node, clock) = (node.clone(), node.ports.clock.clone());
    let work = async move {
        let mut left = sweeps;
        let mut failures = 0;
        loop {
            left = sweep_once(&node, left).await;
            if left.is_empty() {
                info!("what had no record is swept");
                return;
            }
            node.ports.clock.sleep_until(node.ports.clock.now().plus(retry_pause(failures))).await;
            failures += 1;
        }
    };
    clock.spawn("sweep", Box::pin(work));
}

/// Returns what could not be swept.
async fn sweep_once(node: &Node, sweeps: Vec<Action>) -> Vec<Action> {
    let mut left = Vec::new();
    let mut standing = BTreeSet::new();
    for action in sweeps {
        let swept = match &action {
            Action::SweepShim(id) => {
                let swept = sweep_shim(node, id).await;
                if swept.is_err() {
                    standing.insert(id.clone());
                }
                swept
            }
            // An address is given back only when nobody can use it any more.
            Action::SweepAddress(id) if standing.contains(id) => {
                left.push(action);
                continue;
            }
            Action::SweepAddress(id) => node.ports.network.detach(id).await,
            Action::SweepRootfs(id) => node.ports.images.drop_rootfs(id).await,
            Action::SweepContainer(id) => sweep_container(node, id).await,
            Action::Sandbox(..) | Action::Container(..) => Ok(()),
        };
        if let Err(failure) = swept {
            warn!(?action, error = %failure, "a leftover could not be swept; it is tried again");
            left.push(action);
        }
    }
    left
}

async fn sweep_shim(node: &Node, id: &SandboxId) -> Result<()> {
    let ends = node.ports.runtime.drop_sandbox(id).await?;
    // The ends are kept for whoever has a record of the containers; here nobody has, and a second time lets them go.
    if ends.is_empty() { Ok(()) } else { node.ports.runtime.drop_sandbox(id).await.map(drop) }
}

async fn sweep_container(node: &Node, id: &ContainerId) -> Result<()> {
    node.ports.images.drop_rootfs(id).await?;
    node.ports.records.forget_container(id).await
}

//! Writes the two records of an object. An effect like any other: a crash may fall before or after it.
//!
//! A new object's are of the boot class, whatever it is to be: one that the end of the node cuts off is forgotten. Once it is
//! created, what was asked for is written again, to last as long as it was promised to.

use crate::engine::Node;
use crate::moment::around;
use orlop_model::container_state::ContainerState;
use orlop_model::effect::{Effect, RecordEffect};
use orlop_model::error::Result;
use orlop_model::record::{ContainerAsked, Durability, SandboxAsked};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, SandboxId};

/// Writes what was asked for and what is, of a new sandbox.
pub(crate) async fn new_sandbox(node: &Node, asked: &SandboxAsked, state: &SandboxState) -> Result<()> {
    match asked.durability {
        Durability::Boot => sandbox(node, asked).await?,
        Durability::Node => sandbox(node, &SandboxAsked { durability: Durability::Boot, ..asked.clone() }).await?,
    }
    sandbox_state(node, &asked.id, state).await
}

/// Writes what was asked for, of a sandbox.
pub(crate) async fn sandbox(node: &Node, asked: &SandboxAsked) -> Result<()> {
    let put = node.ports.records.put_sandbox(asked);
    around(node, Effect::Record(RecordEffect::Sandbox), put).await
}

/// Writes what a sandbox is.
pub(crate) async fn sandbox_state(node: &Node, id: &SandboxId, state: &SandboxState) -> Result<()> {
    let put = node.ports.records.put_sandbox_state(id, state);
    around(node, Effect::Record(RecordEffect::SandboxState), put).await
}

/// Writes what was asked for and what is, of a new container.
pub(crate) async fn new_container(node: &Node, asked: &ContainerAsked, state: &ContainerState) -> Result<()> {
    match asked.durability {
        Durability::Boot => container(node, asked).await?,
        Durability::Node => container(node, &ContainerAsked { durability: Durability::Boot, ..asked.clone() }).await?,
    }
    container_state(node, &asked.id, state).await
}

/// Writes what is asked of a container.
pub(crate) async fn container(node: &Node, asked: &ContainerAsked) -> Result<()> {
    let put = node.ports.records.put_container(asked);
    around(node, Effect::Record(RecordEffect::Container), put).await
}

/// Writes what a container is.
pub(crate) async fn container_state(node: &Node, id: &ContainerId, state: &ContainerState) -> Result<()> {
    let put = node.ports.records.put_container_state(id, state);
    around(node, Effect::Record(RecordEffect::ContainerState), put).await
}

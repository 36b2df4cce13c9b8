//! Steps that many of these tests begin with.

use crate::support::alone;
use orlop_model::container_state::Exit;
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, SandboxId};
use orlop_sim::{Leftovers, World};
use orlop_usecases::Facade;
use std::time::Duration;

pub async fn create(node: &Facade) -> ContainerId {
    node.create_alone(alone(node)).await.unwrap()
}

pub async fn run(node: &Facade) -> ContainerId {
    let id = create(node).await;
    node.start_container(&id).await.unwrap();
    id
}

pub fn sandbox(node: &Facade, id: &ContainerId) -> SandboxState {
    node.find_sandbox(id.as_str()).unwrap().state.clone()
}

pub fn is_down(node: &Facade, id: &ContainerId) -> bool {
    matches!(sandbox(node, id), SandboxState::NotReady { .. })
}

pub fn end(world: &World, id: &ContainerId) {
    world.end_task(&SandboxId::alone(id), id, Exit::Code { code: 7, oom: false });
}

/// A record of each, a writable layer, and nothing else.
pub fn is_a_record(world: &World, id: &ContainerId) {
    let expected = Leftovers {
        layers: vec![id.clone()],
        sandbox_records: vec![SandboxId::alone(id)],
        container_records: vec![id.clone()],
        ..Leftovers::default()
    };
    assert_eq!(world.leftovers(), expected);
}

/// Lets whatever was asked for be done: the clock of these tests goes on by itself.
pub async fn settle_some() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

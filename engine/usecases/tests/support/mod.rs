//! What the tests of pod lives share: a node in memory, and what a caller asks of it.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; no test uses all of it")]

pub mod alone_laws;
pub mod alone_life;
pub mod laws;
pub mod life;
pub mod story;

use orlop_model::container::*;
use orlop_model::container_state::ContainerState;
use orlop_model::image::Image;
use orlop_model::record::Durability;
use orlop_model::sandbox::*;
use orlop_model::{ContainerId, Digest, ImageId, Namespace, NaturalKey, SandboxId};
use orlop_sim::{Leftovers, World};
use orlop_usecases::{CreateAlone, CreateContainer, Engine, Facade, Policy, RunSandbox};
use std::time::Duration;

pub fn difference(existing: &[u8], asked: &[u8]) -> Option<String> {
    (existing != asked).then(|| "request".to_owned())
}

pub const CRI: Policy = Policy { durability: Durability::Boot, restart: false, in_not_ready: false, difference };
pub const DOCKER: Policy = Policy { durability: Durability::Node, restart: true, in_not_ready: true, difference };

pub fn namespace() -> Namespace {
    Namespace("test".to_owned())
}

pub fn image() -> ImageId {
    ImageId(Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap())
}

pub fn world(seed: u64, faults_per_mille: u64) -> World {
    let image = Image { tags: vec!["a:b".to_owned()], ..Image::new(image()) };
    World::new(seed, faults_per_mille, vec![image])
}

pub async fn node(world: &World, policy: Policy) -> Facade {
    Engine::start(world.ports()).await.unwrap().0.facade(namespace(), policy)
}

pub fn pod(name: &str) -> RunSandbox {
    let spec = SandboxSpec::new(namespace(), NaturalKey(name.to_owned()));
    let spec = SandboxSpec { hostname: name.to_owned(), ..spec };
    RunSandbox { spec, annex: b"pod".to_vec() }
}

pub fn container(sandbox: &SandboxId, name: &str) -> CreateContainer {
    let process = Process { command: vec!["run".to_owned()], ..Process::default() };
    let spec = ContainerSpec::new(namespace(), NaturalKey(name.to_owned()), sandbox.clone(), image());
    let spec = ContainerSpec { process, ..spec };
    CreateContainer { spec, resources: Resources::default(), annex: b"container".to_vec() }
}

/// A container alone, under a fresh id.
pub fn alone(node: &Facade) -> CreateAlone {
    let id = node.fresh_id();
    let key = || NaturalKey(id.to_string());
    let sandbox = SandboxSpec { ends: SandboxEnd::WithContainer, ..SandboxSpec::new(namespace(), key()) };
    let process = Process { command: vec!["run".to_owned()], ..Process::default() };
    let container = ContainerSpec::new(namespace(), key(), SandboxId::alone(&id), image());
    let container = ContainerSpec { process, ..container };
    let (resources, annex) = (Resources::default(), b"alone".to_vec());
    CreateAlone { id, sandbox, container, resources, annex, durability: DOCKER.durability }
}

/// Waits until something is so.
pub async fn until(so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to be so");
}

pub fn state(node: &Facade, id: &ContainerId) -> ContainerState {
    node.find_container(id.as_str()).unwrap().state.clone()
}

/// Lets retries of what nobody waits for any more come to their end.
pub async fn settle(world: &World) {
    for _ in 0..1000 {
        if world.leftovers() == Leftovers::default() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

//! Changes of what a container may use: recorded for one that is created, written and recorded for one that runs, and never
//! half of either, wherever the daemon dies.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use orlop_model::container::Resources;
use orlop_model::container_state::Force;
use orlop_model::{ContainerId, ErrorKind, SandboxId};
use orlop_sim::{TOO_LITTLE_MEMORY, World};
use orlop_usecases::Facade;
use std::time::Duration;
use support::{CRI, container, node, pod, world};

/// How long a life may take; much longer than any takes that is not cut off.
const LIFE: Duration = Duration::from_secs(600);
/// How long everything may take to settle: some doubled pauses.
const SETTLE: Duration = Duration::from_secs(300);

fn shares(cpu_shares: u64) -> Resources {
    Resources { cpu_shares, ..Resources::default() }
}

fn memory(memory_bytes_max: i64) -> Resources {
    Resources { memory_bytes_max, ..Resources::default() }
}

/// What is asked of a container: version, processor shares, memory.
fn asked(node: &Facade, id: &ContainerId) -> (u64, u64, i64) {
    let view = node.find_container(id.as_str()).unwrap();
    assert_eq!(view.asked.update, None, "nothing is under way");
    let Resources { version, cpu_shares, memory_bytes_max, .. } = view.asked.resources;
    (version, cpu_shares, memory_bytes_max)
}

async fn created(node: &Facade) -> (SandboxId, ContainerId) {
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    (sandbox, id)
}

#[tokio::test(start_paused = true)]
async fn a_created_container_starts_with_what_it_was_updated_to() {
    let world = world(1, 0);
    let node = node(&world, CRI).await;
    let (_, id) = created(&node).await;
    node.update_container(&id, shares(300)).await.unwrap();
    node.update_container(&id, memory(1 << 20)).await.unwrap();
    assert_eq!(asked(&node, &id), (2, 300, 1 << 20));
    assert_eq!(world.limits(&id), None, "it has no cgroup yet");
    node.start_container(&id).await.unwrap();
    let limits = world.limits(&id).unwrap();
    assert_eq!((limits.cpu_shares, limits.memory_bytes_max), (300, 1 << 20));
}

#[tokio::test(start_paused = true)]
async fn a_created_container_is_not_promised_what_its_node_can_not_give() {
    let world = world(1, 0);
    let node = node(&world, CRI).await;
    let (_, id) = created(&node).await;
    let odd = Resources { unified: [("memory.high".to_owned(), "1".to_owned())].into(), ..shares(300) };
    let refused = node.update_container(&id, odd).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unsupported, "{refused}");
    assert_eq!(asked(&node, &id), (0, 0, 0));
    node.start_container(&id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_running_container_is_updated_and_remembers_it() {
    let world = world(1, 0);
    let first = node(&world, CRI).await;
    let (_, id) = created(&first).await;
    first.start_container(&id).await.unwrap();
    first.update_container(&id, shares(300)).await.unwrap();
    assert_eq!(asked(&first, &id), (1, 300, 0));
    assert_eq!(world.limits(&id).unwrap().cpu_shares, 300);
    let world = world.kill_daemon();
    let second = node(&world, CRI).await;
    assert_eq!(asked(&second, &id), (1, 300, 0));
}

#[tokio::test(start_paused = true)]
async fn updates_that_come_together_are_all_done() {
    for seed in 0..20 {
        let world = world(seed, 0);
        let node = node(&world, CRI).await;
        let (_, id) = created(&node).await;
        // Some reach it before its start, some while it is started, some when it runs.
        let late = |pause_ms| {
            let (node, id) = (node.clone(), id.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                node.update_container(&id, Resources { pids_max: 5, ..memory(1 << 20) }).await
            }
        };
        let (a, b, c, d) =
            tokio::join!(node.start_container(&id), node.update_container(&id, shares(300)), late(15), late(40));
        a.unwrap();
        b.and(c).and(d).unwrap();
        assert_eq!(asked(&node, &id), (2, 300, 1 << 20), "seed {seed}");
        let limits = world.limits(&id).unwrap();
        assert_eq!((limits.cpu_shares, limits.memory_bytes_max, limits.pids_max), (300, 1 << 20, 5), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_or_is_gone_can_not_be_updated() {
    let world = world(1, 0);
    let node = node(&world, CRI).await;
    let (_, id) = created(&node).await;
    node.start_container(&id).await.unwrap();
    node.stop_container(&id, Duration::ZERO).await.unwrap();
    let refused = node.update_container(&id, shares(300)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
    assert_eq!(asked(&node, &id), (0, 0, 0));
    node.remove_container(&id, Force::Yes).await.unwrap();
    let refused = node.update_container(&id, shares(300)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotFound, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_update_changes_nothing() {
    for seed in 0..20 {
        let world = world(seed, 0);
        let node = node(&world, CRI).await;
        let (_, id) = created(&node).await;
        node.start_container(&id).await.unwrap();
        let too_little = Resources { memory_bytes_max: TOO_LITTLE_MEMORY, ..shares(300) };
        let refused = node.update_container(&id, too_little).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
        assert_eq!(asked(&node, &id), (0, 0, 0), "seed {seed}");
        assert_eq!(world.limits(&id).unwrap().cpu_shares, 0, "seed {seed}");
        let world = world.kill_daemon();
        let second = support::node(&world, CRI).await;
        assert_eq!(asked(&second, &id), (0, 0, 0), "seed {seed}");
    }
}

/// An update that nobody knows the outcome of, or a record: in the end the cgroup, the memory and the disk say the same.
#[tokio::test(start_paused = true)]
async fn after_faults_all_sides_agree_again() {
    for seed in 0..200 {
        let world = world(seed, 0);
        let node = node(&world, CRI).await;
        let (_, id) = created(&node).await;
        node.start_container(&id).await.unwrap();
        world.set_faults(400);
        let updated = node.update_container(&id, shares(300)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.set_faults(0);
        tokio::time::sleep(SETTLE).await;
        let now = asked(&node, &id);
        assert!(now == (1, 300, 0) || (updated.is_err() && now == (0, 0, 0)), "seed {seed}: {updated:?} {now:?}");
        assert_eq!(world.limits(&id).unwrap().cpu_shares, now.1, "seed {seed}: {updated:?}");
        let world = world.kill_daemon();
        let second = support::node(&world, CRI).await;
        assert_eq!(asked(&second, &id), now, "seed {seed}: {updated:?}");
    }
}

/// What a caller was told.
#[derive(Clone, Debug, Default)]
struct Told {
    id: Option<ContainerId>,
    started: bool,
    updated: u64,
}

/// Lives a life with two updates, while one of which it is stopped or not; the daemon dies at a step, if any is given.
async fn live(seed: u64, faults_per_mille: u64, dies_at: Option<u64>) -> u64 {
    let world = world(seed, faults_per_mille);
    if let Some(step) = dies_at {
        world.die_at(step);
    }
    let told = std::sync::Mutex::new(Told::default());
    let life = async {
        let node = node(&world, CRI).await;
        let Ok(sandbox) = node.run_sandbox(pod("p")).await else { return };
        let Ok(id) = node.create_container(container(&sandbox, "c")).await else { return };
        told.lock().unwrap().id = Some(id.clone());
        if node.update_container(&id, shares(300)).await.is_ok() {
            told.lock().unwrap().updated = 300;
        }
        told.lock().unwrap().started = node.start_container(&id).await.is_ok();
        if node.update_container(&id, shares(400)).await.is_ok() {
            told.lock().unwrap().updated = 400;
        }
    };
    let ended = tokio::time::timeout(LIFE, life).await;
    assert!(ended.is_ok() || world.dead(), "a caller was never answered: {told:?}");
    let steps = world.steps();
    let told = told.into_inner().unwrap();
    check(world, &told, &format!("seed {seed}, dies at {dies_at:?}: {told:?}")).await;
    steps
}

async fn check(world: World, told: &Told, context: &str) {
    world.set_faults(0);
    let world = world.kill_daemon();
    let node = node(&world, CRI).await;
    tokio::time::sleep(SETTLE).await;
    let Some(id) = &told.id else { return };
    let (_, shares_now, _) = asked(&node, id);
    assert!(shares_now >= told.updated, "an update was forgotten: {shares_now}, {context}");
    if told.started {
        assert_eq!(world.limits(id).unwrap().cpu_shares, shares_now, "the cgroup has what the record says: {context}");
        node.update_container(id, shares(500)).await.unwrap();
        assert_eq!(world.limits(id).unwrap().cpu_shares, 500, "{context}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_may_die_at_every_step_of_an_update() {
    for seed in [1, 2, 3] {
        let steps = live(seed, 0, None).await;
        for step in 0..steps {
            live(seed, 0, Some(step)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_may_die_at_any_step_of_an_update_with_faults() {
    for seed in 100..160 {
        let steps = live(seed, 100, None).await;
        for step in (0..steps).step_by(3) {
            live(seed, 100, Some(step)).await;
        }
    }
}

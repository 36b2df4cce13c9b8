//! What a node shows of itself: exact counts, and what makes an operator look.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use orlop_model::container_state::Exit;
use orlop_sim::{Leftovers, World};
use orlop_usecases::{Engine, Facade};
use prometheus::{Registry, TextEncoder};
use std::time::Duration;
use support::{CRI, container, namespace, pod, settle, world};

/// A node and its metrics.
async fn shown(world: &World) -> (Facade, Registry) {
    let (engine, _) = Engine::start(world.ports()).await.unwrap();
    let registry = Registry::new();
    for collector in engine.metrics() {
        registry.register(collector).unwrap();
    }
    (engine.facade(namespace(), CRI), registry)
}

fn lines(registry: &Registry) -> Vec<String> {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_shows(registry: &Registry, expected: &[&str]) {
    let lines = lines(registry);
    for line in expected {
        assert!(lines.iter().any(|shown| shown == line), "{line:?} is not in\n{}", lines.join("\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn effects_are_counted_and_states_are_shown_as_they_are() {
    let world = world(1, 0);
    let (node, registry) = shown(&world).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    node.start_container(&id).await.unwrap();
    let count = |effect: &str| format!("orlop_effect_duration_seconds_count{{effect=\"{effect}\",outcome=\"ok\"}} 1");
    for effect in
        ["sandbox.raise-shim", "sandbox.attach", "container.prepare-rootfs", "container.check", "container.start"]
    {
        assert_shows(&registry, &[&count(effect)]);
    }
    assert_shows(&registry, &["orlop_sandboxes{state=\"ready\"} 1", "orlop_containers{state=\"running\"} 1"]);
    node.remove_sandbox(&sandbox).await.unwrap();
    for effect in ["sandbox.drop-shim", "sandbox.detach", "container.drop-rootfs", "container.forget", "sandbox.forget"]
    {
        assert_shows(&registry, &[&count(effect)]);
    }
    assert_shows(&registry, &["orlop_sandboxes{state=\"ready\"} 0", "orlop_containers{state=\"running\"} 0"]);
    let stalled: Vec<_> =
        lines(&registry).into_iter().filter(|line| line.starts_with("orlop_operations_stalled{")).collect();
    assert!(stalled.len() == 15 && stalled.iter().all(|line| line.ends_with(" 0")), "{stalled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_teardown_that_goes_on_failing_is_stalled_until_it_is_done() {
    let world = world(2, 0);
    let (node, registry) = shown(&world).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    world.set_faults(1000);
    // Its record fails too, and who asked is told so; it goes on all the same.
    assert!(node.remove_sandbox(&sandbox).await.is_err());
    assert_shows(&registry, &["orlop_operations_stalled{effect=\"sandbox.drop-shim\"} 0"]);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_shows(&registry, &["orlop_operations_stalled{effect=\"sandbox.drop-shim\"} 1"]);
    world.set_faults(0);
    settle(&world).await;
    assert_eq!(world.leftovers(), Leftovers::default());
    assert_shows(&registry, &["orlop_operations_stalled{effect=\"sandbox.drop-shim\"} 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_effect_a_panic_and_a_dead_shim_are_told_apart() {
    let world = world(3, 0);
    let (node, registry) = shown(&world).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let mut missing = container(&sandbox, "missing");
    missing.spec.process.command = vec![orlop_sim::NO_SUCH_PROGRAM.to_owned()];
    let id = node.create_container(missing).await.unwrap();
    assert!(node.start_container(&id).await.is_err());
    world.panic_once("prepare");
    assert!(node.create_container(container(&sandbox, "panics")).await.is_err());
    let ends = node.create_container(container(&sandbox, "ends")).await.unwrap();
    node.start_container(&ends).await.unwrap();
    world.end_task(&sandbox, &ends, Exit::Code { code: 0, oom: false });
    world.kill_shim(&sandbox);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let count = |effect: &str, outcome: &str| {
        format!("orlop_effect_duration_seconds_count{{effect=\"{effect}\",outcome=\"{outcome}\"}} 1")
    };
    assert_shows(
        &registry,
        &[
            &count("container.start", "failed"),
            &count("container.prepare-rootfs", "panicked"),
            &count("container.start", "ok"),
        ],
    );
    assert_shows(&registry, &["orlop_shims_lost_total 1", "orlop_sandboxes{state=\"not_ready\"} 1"]);
    assert!(lines(&registry).iter().all(|line| !line.starts_with("orlop_operations_stalled{") || line.ends_with(" 0")));
}

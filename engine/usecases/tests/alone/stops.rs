//! How it is stopped, frozen and killed.

use crate::steps::{create, is_a_record, is_down, run, sandbox};
use crate::support::{DOCKER, node, state, until, world};
use orlop_model::ErrorKind;
use orlop_model::container_state::{ContainerState, Exit};
use orlop_model::sandbox_state::SandboxState;
use orlop_usecases::Changed;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_a_created_one_as_it_is_and_gives_up_a_start_under_way() {
    let world = world(3, 0);
    let node = node(&world, DOCKER).await;
    let id = create(&node).await;
    assert_eq!(node.stop_container(&id, Duration::ZERO).await.unwrap(), Changed::No);
    assert!(matches!(state(&node, &id), ContainerState::Created { .. }));
    let starts = tokio::spawn({
        let (node, id) = (node.clone(), id.clone());
        async move { node.start_container(&id).await }
    });
    until(|| matches!(sandbox(&node, &id), SandboxState::Starting { .. })).await;
    assert_eq!(node.stop_container(&id, Duration::ZERO).await.unwrap(), Changed::Yes);
    assert_eq!(starts.await.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    is_a_record(&world, &id);
}

#[tokio::test(start_paused = true)]
async fn it_is_frozen_thawed_and_killed_frozen() {
    let world = world(4, 0);
    let node = node(&world, DOCKER).await;
    let id = run(&node).await;
    assert_eq!(node.freeze_container(&id).await.unwrap(), Changed::Yes);
    assert_eq!(node.freeze_container(&id).await.unwrap(), Changed::No);
    assert!(matches!(state(&node, &id), ContainerState::Frozen(_)));
    assert_eq!(node.start_container(&id).await.unwrap_err().kind, ErrorKind::WrongState);
    assert_eq!(node.thaw_container(&id).await.unwrap(), Changed::Yes);
    assert_eq!(node.thaw_container(&id).await.unwrap(), Changed::No);
    node.freeze_container(&id).await.unwrap();
    node.signal_container(&id, 9).await.unwrap();
    assert_eq!(state(&node, &id).end().unwrap().exit, Exit::Signal { signal: 9, oom: false });
    assert_eq!(node.freeze_container(&id).await.unwrap_err().kind, ErrorKind::WrongState);
    assert_eq!(node.signal_container(&id, 9).await.unwrap_err().kind, ErrorKind::WrongState);
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_fails_is_told_and_a_later_one_works() {
    let mut failed = 0;
    for seed in 0..50 {
        let world = world(seed, 0);
        let node = node(&world, DOCKER).await;
        let id = run(&node).await;
        world.set_faults(400);
        failed += usize::from(node.freeze_container(&id).await.is_err());
        world.set_faults(0);
        node.freeze_container(&id).await.unwrap();
        assert!(matches!(state(&node, &id), ContainerState::Frozen(_)));
    }
    assert!(failed > 10, "{failed} failed");
}

#[tokio::test(start_paused = true)]
async fn another_signal_stops_it_and_its_grace_is_kept() {
    let world = world(5, 0);
    let node = node(&world, DOCKER).await;
    let id = run(&node).await;
    node.stop_container_by(&id, 2, Duration::from_secs(10)).await.unwrap();
    assert_eq!(state(&node, &id).end().unwrap().exit, Exit::Signal { signal: 2, oom: false });
    world.ignore_signals();
    node.start_container(&id).await.unwrap();
    let begun = tokio::time::Instant::now();
    node.stop_container_by(&id, 2, Duration::from_secs(10)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(10));
    assert_eq!(state(&node, &id).end().unwrap().exit, Exit::Signal { signal: 9, oom: false });
}

#[tokio::test(start_paused = true)]
async fn a_stop_by_another_signal_goes_on_with_the_next_daemon() {
    for (deaf, expected) in [(0, 2), (1000, 9)] {
        let world = world(7, 0);
        let node = node(&world, DOCKER).await;
        let id = run(&node).await;
        world.set_deaf(1000);
        let (asking, asked) = (node.clone(), id.clone());
        let asked = tokio::spawn(async move { asking.stop_container_by(&asked, 2, Duration::from_secs(10)).await });
        until(|| matches!(state(&node, &id), ContainerState::Stopping { .. })).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let world = world.kill_daemon();
        asked.abort();
        world.set_deaf(deaf);
        let second = crate::support::node(&world, DOCKER).await;
        until(|| is_down(&second, &id)).await;
        assert_eq!(state(&second, &id).end().unwrap().exit, Exit::Signal { signal: expected, oom: false });
    }
}

#[tokio::test(start_paused = true)]
async fn who_names_another_signal_during_a_stop_has_it_sent() {
    let world = world(8, 0);
    let node = node(&world, DOCKER).await;
    let id = run(&node).await;
    world.set_deaf(1000);
    let (asking, asked) = (node.clone(), id.clone());
    let first = tokio::spawn(async move { asking.stop_container(&asked, Duration::from_secs(60)).await });
    until(|| matches!(state(&node, &id), ContainerState::Stopping { .. })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.set_deaf(0);
    let begun = tokio::time::Instant::now();
    node.stop_container_by(&id, 3, Duration::from_secs(60)).await.unwrap();
    assert_eq!(state(&node, &id).end().unwrap().exit, Exit::Signal { signal: 3, oom: false });
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(first.await.unwrap().unwrap(), Changed::Yes);
}

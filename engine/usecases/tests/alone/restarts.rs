//! What the next daemon, or the next boot, makes of it.

use crate::steps::{create, end, is_down, run, sandbox, settle_some};
use crate::support::{DOCKER, alone, namespace, node, settle, state, until, world};
use orlop_model::SandboxId;
use orlop_model::container_state::{ContainerState, Exit, Force};
use orlop_model::record::Durability;
use orlop_model::sandbox_state::SandboxState;
use orlop_sim::Leftovers;
use orlop_usecases::{CreateAlone, Engine};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn what_ended_while_no_daemon_ran_is_taken_down_by_the_next() {
    for seed in 0..20 {
        let world = world(seed, 0);
        let first = node(&world, DOCKER).await;
        let (gone, there) = (run(&first).await, run(&first).await);
        let world = world.kill_daemon();
        end(&world, &gone);
        let second = node(&world, DOCKER).await;
        assert!(matches!(state(&second, &gone), ContainerState::Exited { .. }));
        until(|| is_down(&second, &gone)).await;
        assert!(matches!(sandbox(&second, &there), SandboxState::Ready { .. }));
        assert_eq!(world.leftovers().addresses, [SandboxId::alone(&there)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_one_is_found_frozen_though_that_was_never_recorded() {
    for seed in 0..40 {
        let world = world(seed, 0);
        let first = node(&world, DOCKER).await;
        let id = run(&first).await;
        world.die_at(world.steps() + 3);
        let froze = tokio::time::timeout(Duration::from_secs(5), first.freeze_container(&id)).await;
        assert!(froze.is_err(), "the daemon did not die");
        let world = world.kill_daemon();
        let second = node(&world, DOCKER).await;
        let frozen = matches!(state(&second, &id), ContainerState::Frozen(_));
        assert_eq!(frozen, world.is_frozen(&SandboxId::alone(&id), &id), "seed {seed}");
        second.freeze_container(&id).await.unwrap();
        second.thaw_container(&id).await.unwrap();
        assert!(!world.is_frozen(&SandboxId::alone(&id), &id));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_boot_it_is_there_ended_nobody_knows_how_and_starts_anew() {
    let world = world(7, 0);
    let first = node(&world, DOCKER).await;
    let (ran, created) = (run(&first).await, create(&first).await);
    let world = world.reboot();
    let (engine, recovered) = Engine::start(world.ports()).await.unwrap();
    assert_eq!((recovered.sandboxes, recovered.containers), (2, 2));
    let second = engine.facade(namespace(), DOCKER);
    for id in [&ran, &created] {
        assert_eq!(state(&second, id).end().unwrap().exit, Exit::Unknown);
        until(|| is_down(&second, id)).await;
    }
    assert_eq!(world.leftovers().addresses, [], "an address of before the boot is kept");
    second.start_container(&ran).await.unwrap();
    assert_eq!(state(&second, &ran).checked().unwrap().stop_signal, 15, "what was found out at creation is forgotten");
    for id in [&ran, &created] {
        second.remove_container(id, Force::Yes).await.unwrap();
    }
    assert_eq!(world.leftovers(), Leftovers::default());
}

#[tokio::test(start_paused = true)]
async fn one_whose_records_are_damaged_goes_and_leaves_nothing() {
    for seed in 0..20 {
        let world = world(seed, 0);
        let first = node(&world, DOCKER).await;
        let (lost, other) = (run(&first).await, run(&first).await);
        let world = world.kill_daemon();
        world.lose_records(&lost);
        let second = node(&world, DOCKER).await;
        until(|| second.sandboxes().len() == 1).await;
        assert!(matches!(state(&second, &other), ContainerState::Running(_)));
        second.remove_container(&other, Force::Yes).await.unwrap();
        settle(&world).await;
        assert_eq!(world.leftovers(), Leftovers::default());
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_need_not_outlast_the_boot_is_kept_until_then_and_leaves_nothing() {
    for seed in 0..20 {
        let world = world(seed, 0);
        let first = node(&world, DOCKER).await;
        let passing = || CreateAlone { durability: Durability::Boot, ..alone(&first) };
        let ran = first.create_alone(passing()).await.unwrap();
        let created = first.create_alone(passing()).await.unwrap();
        first.start_container(&ran).await.unwrap();
        let world = world.kill_daemon();
        let second = node(&world, DOCKER).await;
        assert!(matches!(state(&second, &ran), ContainerState::Running(_)));
        assert!(matches!(state(&second, &created), ContainerState::Created { .. }));
        let world = world.reboot();
        let third = node(&world, DOCKER).await;
        assert_eq!(third.containers().len(), 0);
        settle(&world).await;
        assert_eq!(world.leftovers(), Leftovers::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_the_node_dies_in_is_forgotten() {
    for step in 0..60 {
        let world = world(step, 0);
        let first = node(&world, DOCKER).await;
        world.die_at(world.steps() + step);
        let created = tokio::time::timeout(Duration::from_secs(5), first.create_alone(alone(&first))).await;
        let world = world.reboot();
        let second = node(&world, DOCKER).await;
        settle_some().await;
        let left: Vec<_> = second.containers().iter().map(|view| view.asked.id.clone()).collect();
        match created {
            Ok(created) => assert_eq!(left, [created.unwrap()], "step {step}"),
            // Recorded for good, and nobody knows yet: it is whole.
            Err(_) if !left.is_empty() => second.start_container(&left[0]).await.map(drop).unwrap(),
            Err(_) => assert_eq!(world.leftovers(), Leftovers::default(), "step {step}"),
        }
    }
}

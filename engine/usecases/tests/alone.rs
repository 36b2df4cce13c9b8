//! Containers alone: created, started, ended and removed as one with their sandbox, over in-memory ports.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use orlop_model::container::Resources;
use orlop_model::container_state::{ContainerState, Exit, Force};
use orlop_model::record::Durability;
use orlop_model::sandbox::SandboxEnd;
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, ErrorKind, SandboxId};
use orlop_sim::{Leftovers, NO_SUCH_PROGRAM, World};
use orlop_usecases::{Annexed, Changed, CreateAlone, Engine, Facade, News};
use std::time::Duration;
use support::{DOCKER, alone, namespace, node, settle, state, until, world};

async fn create(node: &Facade) -> ContainerId {
    node.create_alone(alone(node)).await.unwrap()
}

async fn run(node: &Facade) -> ContainerId {
    let id = create(node).await;
    node.start_container(&id).await.unwrap();
    id
}

fn sandbox(node: &Facade, id: &ContainerId) -> SandboxState {
    node.find_sandbox(id.as_str()).unwrap().state.clone()
}

fn is_down(node: &Facade, id: &ContainerId) -> bool {
    matches!(sandbox(node, id), SandboxState::NotReady { .. })
}

fn end(world: &World, id: &ContainerId) {
    world.end_task(&SandboxId::alone(id), id, Exit::Code { code: 7, oom: false });
}

/// A record of each, a writable layer, and nothing else.
fn is_a_record(world: &World, id: &ContainerId) {
    let expected = Leftovers {
        layers: vec![id.clone()],
        sandbox_records: vec![SandboxId::alone(id)],
        container_records: vec![id.clone()],
        ..Leftovers::default()
    };
    assert_eq!(world.leftovers(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_created_one_is_two_records_and_a_layer_and_no_process() {
    for seed in 0..20 {
        let world = world(seed, 0);
        let node = node(&world, DOCKER).await;
        let id = create(&node).await;
        assert!(matches!(state(&node, &id), ContainerState::Created { .. }));
        assert!(is_down(&node, &id));
        is_a_record(&world, &id);
        node.remove_container(&id, Force::No).await.unwrap();
        assert_eq!(world.leftovers(), Leftovers::default());
    }
}

#[tokio::test(start_paused = true)]
async fn it_starts_with_its_sandbox_and_ends_it() {
    for seed in 0..20 {
        let world = world(seed, 0);
        let node = node(&world, DOCKER).await;
        let id = run(&node).await;
        assert!(matches!(state(&node, &id), ContainerState::Running(_)));
        assert!(matches!(sandbox(&node, &id), SandboxState::Ready { ref attachments, .. } if attachments.len() == 1));
        end(&world, &id);
        until(|| is_down(&node, &id)).await;
        let ContainerState::Exited { ended, .. } = state(&node, &id) else { panic!("it has not ended") };
        assert_eq!(ended.exit, Exit::Code { code: 7, oom: false });
        is_a_record(&world, &id);
        node.remove_container(&id, Force::No).await.unwrap();
        assert_eq!(world.leftovers(), Leftovers::default());
    }
}

#[tokio::test(start_paused = true)]
async fn it_starts_again_however_soon_it_is_asked_to() {
    for seed in 0..40 {
        let world = world(seed, 0);
        let node = node(&world, DOCKER).await;
        let id = run(&node).await;
        for pause in 0..12 {
            let first = state(&node, &id).task().unwrap().pid;
            end(&world, &id);
            until(|| matches!(state(&node, &id), ContainerState::Exited { .. })).await;
            tokio::time::sleep(Duration::from_millis(pause * 5)).await;
            node.start_container(&id).await.unwrap();
            let second = state(&node, &id).task().unwrap().pid;
            assert_ne!(first, second, "seed {seed}, after {pause}");
        }
        node.restart_container(&id, Duration::from_secs(1)).await.unwrap();
        assert!(matches!(sandbox(&node, &id), SandboxState::Ready { .. }));
        node.remove_container(&id, Force::Yes).await.unwrap();
        assert_eq!(world.leftovers(), Leftovers::default());
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_it_may_have_its_address_at_once() {
    for seed in 0..20 {
        let world = world(seed, 0);
        let node = node(&world, DOCKER).await;
        let id = run(&node).await;
        match seed % 3 {
            0 => drop(node.stop_container(&id, Duration::from_secs(1)).await.unwrap()),
            1 => node.signal_container(&id, 9).await.unwrap(),
            _ => drop(node.stop_container_by(&id, 2, Duration::from_secs(1)).await.unwrap()),
        }
        is_a_record(&world, &id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_fails_leaves_nothing() {
    for seed in 0..300 {
        let world = world(seed, 200);
        let node = node(&world, DOCKER).await;
        let created = node.create_alone(alone(&node)).await;
        world.set_faults(0);
        if let Ok(id) = &created {
            is_a_record(&world, id);
            node.remove_container(id, Force::No).await.unwrap();
        }
        settle(&world).await;
        assert_eq!(world.leftovers(), Leftovers::default(), "seed {seed}: {created:?}");
        assert!(node.containers().is_empty() && node.sandboxes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_says_why_and_can_be_tried_again() {
    let mut failed = 0;
    for seed in 0..200 {
        let world = world(seed, 0);
        let node = node(&world, DOCKER).await;
        let id = create(&node).await;
        world.set_faults(300);
        let started = node.start_container(&id).await;
        world.set_faults(0);
        if let Err(failure) = started {
            failed += 1;
            let end = state(&node, &id).end().cloned();
            if let Some(ended) = end {
                let Exit::NeverStarted { code: 128, message } = ended.exit else { panic!("{ended:?}: {failure}") };
                assert!(failure.message.contains(&message), "{failure} is not {message}");
            }
            until(|| is_down(&node, &id)).await;
            is_a_record(&world, &id);
            node.start_container(&id).await.unwrap();
        }
        assert!(matches!(state(&node, &id), ContainerState::Running(_)));
    }
    assert!(failed > 50, "{failed} starts failed");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_not_there_ends_its_sandbox() {
    let world = world(1, 0);
    let node = node(&world, DOCKER).await;
    let mut wanted = alone(&node);
    wanted.container.process.command = vec![NO_SUCH_PROGRAM.to_owned()];
    let id = node.create_alone(wanted).await.unwrap();
    let failure = node.start_container(&id).await.unwrap_err();
    assert!(failure.message.contains("no such file"), "{failure}");
    until(|| is_down(&node, &id)).await;
    assert!(matches!(state(&node, &id).end().unwrap().exit, Exit::NeverStarted { code: 127, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_running_one_is_removed_by_force_alone() {
    let world = world(3, 0);
    let node = node(&world, DOCKER).await;
    let id = run(&node).await;
    let refused = node.remove_container(&id, Force::No).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
    assert!(refused.message.contains("is running"), "{refused}");
    assert!(matches!(state(&node, &id), ContainerState::Running(_)));
    node.remove_container(&id, Force::Yes).await.unwrap();
    assert_eq!(world.leftovers(), Leftovers::default());
    assert_eq!(node.remove_container(&id, Force::Yes).await.unwrap_err().kind, ErrorKind::NotFound);
}

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
        let second = support::node(&world, DOCKER).await;
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

#[tokio::test(start_paused = true)]
async fn an_annex_is_read_once_until_it_is_replaced() {
    let reads = std::cell::Cell::new(0);
    let read = |node: &Facade, id: &ContainerId| {
        let view = node.find_container(id.as_str()).unwrap();
        view.read_annex(|annex| {
            reads.set(reads.get() + 1);
            annex.to_vec()
        })
    };
    let world = world(9, 0);
    let node = node(&world, DOCKER).await;
    let id = run(&node).await;
    let first = read(&node, &id);
    node.freeze_container(&id).await.unwrap();
    node.update_container(&id, Resources { cpu_shares: 7, ..Resources::default() }).await.unwrap();
    assert_eq!((read(&node, &id), reads.get()), (first, 1));
    node.update_annex(&id, 0, b"another".to_vec()).await.unwrap();
    assert_eq!((read(&node, &id).as_slice(), reads.get()), (b"another".as_slice(), 2));
    // Another type is not what was kept.
    assert_eq!(*node.find_container(id.as_str()).unwrap().read_annex(<[u8]>::len), 7);
}

#[tokio::test(start_paused = true)]
async fn an_annex_is_replaced_only_by_who_knows_it() {
    let world = world(6, 0);
    let node = node(&world, DOCKER).await;
    let id = create(&node).await;
    assert_eq!(node.update_annex(&id, 0, b"one".to_vec()).await.unwrap(), Annexed::Written(1));
    assert_eq!(node.update_annex(&id, 0, b"late".to_vec()).await.unwrap(), Annexed::Outdated);
    let add = |annex: &[u8]| Some([annex, b"+"].concat());
    for _ in 0..3 {
        assert_eq!(node.change_annex(&id, add).await.unwrap(), Changed::Yes);
    }
    assert_eq!(node.change_annex(&id, |_| None).await.unwrap(), Changed::No);
    let too_long = node.update_annex(&id, 4, vec![0; (1 << 20) + 1]).await.unwrap_err();
    assert_eq!(too_long.kind, ErrorKind::Exhausted);
    let second = support::node(&world.kill_daemon(), DOCKER).await;
    let view = second.find_container(id.as_str()).unwrap();
    assert_eq!((view.asked.annex.as_slice(), view.asked.annex_generation), (&b"one+++"[..], 4));
}

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
        settle_some(&second).await;
        let left: Vec<_> = second.containers().iter().map(|view| view.asked.id.clone()).collect();
        match created {
            Ok(created) => assert_eq!(left, [created.unwrap()], "step {step}"),
            // Recorded for good, and nobody knows yet: it is whole.
            Err(_) if !left.is_empty() => second.start_container(&left[0]).await.map(drop).unwrap(),
            Err(_) => assert_eq!(world.leftovers(), Leftovers::default(), "step {step}"),
        }
    }
}

async fn settle_some(_node: &Facade) {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_once_in_order_from_the_list_on() {
    let world = world(8, 0);
    let node = node(&world, DOCKER).await;
    let before = create(&node).await;
    let (listed, mut changes) = node.changes();
    assert_eq!(listed.iter().map(|view| view.asked.id.clone()).collect::<Vec<_>>(), [before]);
    let id = run(&node).await;
    node.change_annex(&id, |_| Some(b"new".to_vec())).await.unwrap();
    end(&world, &id);
    until(|| is_down(&node, &id)).await;
    node.remove_container(&id, Force::No).await.unwrap();
    let mut told: Vec<String> = Vec::new();
    for sequence in 1.. {
        let News::Change(change) = changes.next().await.unwrap() else { panic!("some were missed") };
        assert_eq!((change.sequence, &change.id), (sequence, &id));
        let stage = |view: &Option<std::sync::Arc<orlop_usecases::ContainerView>>| {
            view.as_ref().map_or("none".to_owned(), |view| view.state.stage().to_owned())
        };
        told.push(format!("{} to {}", stage(&change.old), stage(&change.new)));
        if change.new.is_none() {
            break;
        }
    }
    // What was asked changes when it is recorded for good, before the state does: then it is not yet shown.
    told.dedup();
    let expected = [
        "none to created",
        "created to start",
        "start to running",
        "running to running",
        "running to exited",
        "exited to exited",
        "exited to drop task",
        "drop task to drop rootfs",
        "drop rootfs to forget",
    ];
    assert_eq!(told[..expected.len()], expected);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_learns_that_it_missed_something() {
    let world = world(9, 0);
    let node = node(&world, DOCKER).await;
    let id = create(&node).await;
    let (_, mut changes) = node.changes();
    for number in 0..2100_u32 {
        node.change_annex(&id, |_| Some(number.to_le_bytes().to_vec())).await.unwrap();
    }
    let News::Missed(missed) = changes.next().await.unwrap() else { panic!("nothing was missed") };
    assert!(missed > 0);
    let News::Change(change) = changes.next().await.unwrap() else { panic!("it goes on from there") };
    assert_eq!(change.sequence, missed + 1);
}

#[tokio::test(start_paused = true)]
async fn many_changes_are_one_stir_and_a_snapshot_has_them_all() {
    let world = world(12, 0);
    let node = node(&world, DOCKER).await;
    let mut stirs = node.stirs();
    let id = run(&node).await;
    settle_some(&node).await;
    stirs.next().await.unwrap();
    let snapshot = node.snapshot();
    assert_eq!(snapshot.containers.iter().map(|view| &view.asked.id).collect::<Vec<_>>(), [&id]);
    assert_eq!(snapshot.sandboxes.len(), 1);
    let quiet = tokio::time::timeout(Duration::from_secs(60), stirs.next()).await;
    assert!(quiet.is_err(), "it stirs though nothing has changed");

    node.remove_container(&id, Force::Yes).await.unwrap();
    stirs.next().await.unwrap();
    until(|| node.snapshot().sandboxes.is_empty()).await;
    assert!(node.snapshot().containers.is_empty() && node.snapshot().at >= snapshot.at);
}

#[tokio::test(start_paused = true)]
async fn an_image_is_in_use_while_a_container_of_it_is_there() {
    let world = world(10, 0);
    let node = node(&world, DOCKER).await;
    let id = create(&node).await;
    assert_eq!(node.images_in_use(), [(support::image(), id.clone())]);
    node.remove_container(&id, Force::No).await.unwrap();
    assert_eq!(node.images_in_use(), []);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_joined_and_a_key_is_not() {
    let world = world(11, 0);
    let node = node(&world, DOCKER).await;
    let wanted = alone(&node);
    let (one, two) = tokio::join!(node.create_alone(wanted.clone()), node.create_alone(wanted.clone()));
    assert_eq!(one.unwrap(), two.unwrap());
    let mut other = alone(&node);
    other.sandbox.key = wanted.sandbox.key.clone();
    assert_eq!(node.create_alone(other).await.unwrap_err().kind, ErrorKind::AlreadyExists);
    let mut wrong = alone(&node);
    wrong.sandbox.ends = SandboxEnd::OnStop;
    node.create_alone(wrong).await.unwrap_err();
    assert_eq!(world.leftovers().container_records.len(), 1);
    let view = node.find_container(wanted.id.as_str()).unwrap();
    assert_eq!(view.asked.durability, Durability::Node);
    let second = support::container(&view.asked.spec.sandbox, "second");
    assert_eq!(node.create_container(second).await.unwrap_err().kind, ErrorKind::InvalidArgument);
}

//! From its creation to its removal.

use crate::steps::{create, end, is_a_record, is_down, run, sandbox};
use crate::support::{DOCKER, alone, node, settle, state, until, world};
use orlop_model::ErrorKind;
use orlop_model::container_state::{ContainerState, Exit, Force};
use orlop_model::record::Durability;
use orlop_model::sandbox::SandboxEnd;
use orlop_model::sandbox_state::SandboxState;
use orlop_sim::{Leftovers, NO_SUCH_PROGRAM};
use std::time::Duration;

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
async fn an_image_is_in_use_while_a_container_of_it_is_there() {
    let world = world(10, 0);
    let node = node(&world, DOCKER).await;
    let id = create(&node).await;
    assert_eq!(node.images_in_use(), [(crate::support::image(), id.clone())]);
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
    let second = crate::support::container(&view.asked.spec.sandbox, "second");
    assert_eq!(node.create_container(second).await.unwrap_err().kind, ErrorKind::InvalidArgument);
}

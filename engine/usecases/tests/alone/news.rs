//! What is told of it to those who listen, and its annex.

use crate::steps::{create, end, is_down, run, settle_some};
use crate::support::{DOCKER, node, until, world};
use orlop_model::container::Resources;
use orlop_model::container_state::Force;
use orlop_model::{ContainerId, ErrorKind};
use orlop_usecases::{Annexed, Changed, Facade, News};
use std::time::Duration;

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
    let second = crate::support::node(&world.kill_daemon(), DOCKER).await;
    let view = second.find_container(id.as_str()).unwrap();
    assert_eq!((view.asked.annex.as_slice(), view.asked.annex_generation), (&b"one+++"[..], 4));
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
    settle_some().await;
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

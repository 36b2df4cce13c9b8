use super::*;
use crate::container::status::tests::view as container_view;
use crate::translate::sandbox::tests::spec_of;
use orlop_model::container_state::{Checked, ContainerState, Ended, Exit, Preparing, Task};
use orlop_model::record::{ContainerAsked, Durability, SandboxAsked};
use orlop_model::sandbox_state::SandboxState;
use proptest::prelude::*;
use std::collections::HashMap;

const POD: &str = "pod1";

fn pod(state: SandboxState) -> Arc<SandboxView> {
    let asked = SandboxAsked {
        id: SandboxId::parse(POD).unwrap(),
        created_at: Timestamp(1),
        spec: spec_of(|_| ()),
        annex: Vec::new(),
        durability: Durability::Boot,
    };
    Arc::new(SandboxView { asked: Arc::new(asked), state })
}

fn ready() -> Arc<SandboxView> {
    pod(SandboxState::Ready { since: Timestamp(2), attachments: Vec::new() })
}

fn down() -> Arc<SandboxView> {
    pod(SandboxState::NotReady { since: Timestamp(3), why: None })
}

/// A container of the pod.
fn of(id: &str, state: ContainerState) -> Arc<ContainerView> {
    let view = container_view(state);
    let asked = ContainerAsked { id: ContainerId::parse(id).unwrap(), ..(*view.asked).clone() };
    Arc::new(ContainerView::new(Arc::new(asked), view.state))
}

fn checked() -> Checked {
    Checked { uid: 0, gid: 0, groups: Vec::new(), stop_signal: 15 }
}

fn created() -> ContainerState {
    ContainerState::Created { checked: checked() }
}

fn running() -> ContainerState {
    ContainerState::Running(Task { pid: 9, started: Timestamp(5), checked: checked() })
}

fn exited(started: Option<Timestamp>) -> ContainerState {
    let exit = match started {
        Some(_) => Exit::Code { code: 0, oom: false },
        None => Exit::NeverStarted { code: 127, message: "no such file".into() },
    };
    ContainerState::Exited { ended: Ended { started, finished: Timestamp(8), exit }, checked: checked(), task: None }
}

fn snapshot(at: i64, pods: &[Arc<SandboxView>], containers: &[Arc<ContainerView>]) -> Snapshot {
    Snapshot { at: Timestamp(at), sandboxes: pods.to_vec(), containers: containers.to_vec() }
}

/// Says what is told, as `id created`.
fn words(news: &[News]) -> Vec<String> {
    let word = |news: &News| {
        let what = news.what.as_str_name().trim_start_matches("CONTAINER_").trim_end_matches("_EVENT");
        format!("{} {}", news.id, what.to_lowercase())
    };
    news.iter().map(word).collect()
}

#[test]
fn what_is_there_is_not_told_and_what_changes_is_told_once() {
    let mut told = Told::from(&snapshot(1, &[ready()], &[of("c1", running())]));
    assert!(told.look(&snapshot(2, &[ready()], &[of("c1", running())])).is_empty());
    let news = told.look(&snapshot(3, &[ready()], &[of("c1", exited(Some(Timestamp(5))))]));
    assert_eq!(words(&news), ["c1 stopped"]);
    assert_eq!((news[0].at, news[0].sandbox.asked.id.as_str()), (Timestamp(3), POD));
    assert_eq!(news[0].containers.len(), 1);
    assert!(told.look(&snapshot(4, &[ready()], &[of("c1", exited(Some(Timestamp(5))))])).is_empty());
}

#[test]
fn stages_between_two_looks_are_told_in_order() {
    for (state, expected) in [
        (created(), &["c1 created"][..]),
        (running(), &["c1 created", "c1 started"]),
        (exited(Some(Timestamp(5))), &["c1 created", "c1 started", "c1 stopped"]),
        // One whose program could not be run has not started.
        (exited(None), &["c1 created", "c1 stopped"]),
        (
            ContainerState::Starting { since: Timestamp(1), checked: checked(), stop: None, signal: None },
            &["c1 created"],
        ),
    ] {
        let mut told = Told::from(&snapshot(1, &[ready()], &[]));
        assert_eq!(words(&told.look(&snapshot(2, &[ready()], &[of("c1", state.clone())]))), expected, "{state:?}");
    }
    // Those that are being created are not in lists, so they are never seen.
    assert_eq!(
        of_container(&of("c1", ContainerState::Creating { since: Timestamp(1), stage: Preparing::Rootfs })),
        Stage::Created
    );
}

#[test]
fn a_pod_rises_before_its_containers_and_goes_after_them() {
    let mut told = Told::from(&snapshot(1, &[], &[]));
    let news = told.look(&snapshot(2, &[ready()], &[of("c1", running())]));
    assert_eq!(words(&news), ["pod1 created", "pod1 started", "c1 created", "c1 started"]);
    let news = told.look(&snapshot(3, &[down()], &[of("c1", exited(Some(Timestamp(5))))]));
    assert_eq!(words(&news), ["c1 stopped", "pod1 stopped"]);
    let mut hasty = Told::from(&snapshot(2, &[ready()], &[of("c1", running())]));
    let news = hasty.look(&snapshot(3, &[], &[]));
    assert_eq!(words(&news), ["c1 stopped", "c1 deleted", "pod1 stopped", "pod1 deleted"]);
    let news = told.look(&snapshot(4, &[], &[]));
    assert_eq!(words(&news), ["c1 deleted", "pod1 deleted"]);
    assert!(news.iter().all(|news| news.sandbox.asked.id.as_str() == POD && news.containers.is_empty()));
}

#[test]
fn a_container_that_is_removed_alone_is_told_with_what_stays() {
    let both = [of("c1", exited(Some(Timestamp(5)))), of("c2", running())];
    let mut told = Told::from(&snapshot(1, &[ready()], &both));
    let news = told.look(&snapshot(2, &[ready()], &both[1..]));
    assert_eq!(words(&news), ["c1 deleted"]);
    assert_eq!(news[0].containers[0].asked.id.as_str(), "c2");
}

#[test]
fn times_never_go_back_with_the_clock() {
    let mut told = Told::from(&snapshot(100, &[ready()], &[]));
    let first = told.look(&snapshot(50, &[ready()], &[of("c1", created())]));
    let second = told.look(&snapshot(60, &[ready()], &[of("c1", running())]));
    assert!(Timestamp(100) < first[0].at && first[0].at < second[0].at, "{:?} {:?}", first[0].at, second[0].at);
}

proptest! {
    /// However the life of some containers falls between looks: each is told of in order, at most once of each, and who has
    /// listened to all of it knows what is there.
    #[test]
    fn every_life_is_told_in_order(lives in prop::collection::vec((0..3_u8, any::<bool>()), 1..40)) {
        let states = [created(), running(), exited(Some(Timestamp(5)))];
        let (mut stages, mut seen): (HashMap<String, usize>, HashMap<String, usize>) = Default::default();
        let mut told = Told::from(&snapshot(0, &[ready()], &[]));
        let mut heard: Vec<String> = Vec::new();
        for (at, (which, looked)) in (1..).zip(&lives) {
            // The next step in one container's life: the fourth one takes it away, for good.
            *stages.entry(format!("c{which}")).or_default() += 1;
            if !looked {
                continue;
            }
            let there = |(id, stage): (&String, &usize)| states.get(*stage - 1).map(|state| of(id, state.clone()));
            let containers: Vec<_> = stages.iter().filter_map(there).collect();
            heard.extend(words(&told.look(&snapshot(at, &[ready()], &containers))));
            for (id, stage) in &stages {
                let own: Vec<&str> = heard.iter().filter_map(|word| word.strip_prefix(&format!("{id} "))).collect();
                let all = ["created", "started", "stopped", "deleted"];
                let last = seen.entry(id.clone()).or_default();
                let expected: &[&str] = match (*stage, *last) {
                    (1..=3, _) => &all[..*stage],
                    // What came and went unseen is passed over; what was only created may never have run.
                    (_, 0) => &[],
                    (_, 1) => &["created", "deleted"],
                    (_, _) => &all,
                };
                prop_assert_eq!(own, expected, "seen at {}, now at {}", last, stage);
                *last = (*stage).min(if *stage < 4 { 3 } else { *last });
            }
        }
    }
}

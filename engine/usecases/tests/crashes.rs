//! The daemon dies at any step of many pods' lives, with faults, several containers, stops and removals in flight; the next one
//! takes up what it finds. The laws: nothing acknowledged is forgotten, no end is lost, reconcile has nothing to say once
//! everything has settled, and nothing is left after removal.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use orlop_model::container_state::{ContainerState, Exit, Force};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, SandboxId};
use orlop_sim::{Leftovers, World};
use orlop_usecases::{Engine, Facade};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{CRI, container, namespace, node, pod, settle, world};

/// Containers of the pod.
const CONTAINERS: usize = 3;
/// How long a life may take; much longer than any takes that is not cut off.
const LIFE: Duration = Duration::from_secs(600);
/// How long everything may take to settle: some doubled pauses.
const SETTLE: Duration = Duration::from_secs(300);

/// A request as its caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Asked,
    Done,
}

/// When a node is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    JustStarted,
    Settled,
}

/// What callers asked for and were told.
#[derive(Clone, Debug, Default)]
struct Story {
    sandbox: Option<SandboxId>,
    stop: Option<Said>,
    remove: Option<Said>,
    containers: [ContainerStory; CONTAINERS],
}

#[derive(Clone, Debug, Default)]
struct ContainerStory {
    id: Option<ContainerId>,
    start: Option<Said>,
    stop: Option<Said>,
    remove: Option<Said>,
}

type Told = Arc<Mutex<Story>>;

/// Numbers of a plan, apart from the world's own.
struct Plan(u64);

impl Plan {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    async fn pause(&mut self) {
        let pause = self.below(120);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

async fn container_life(node: Facade, sandbox: SandboxId, n: usize, mut plan: Plan, told: Told) {
    plan.pause().await;
    let Ok(id) = node.create_container(container(&sandbox, &format!("c{n}"))).await else { return };
    let say = |change: &dyn Fn(&mut ContainerStory)| change(&mut told.lock().unwrap().containers[n]);
    say(&|story| story.id = Some(id.clone()));
    if plan.below(5) > 0 {
        plan.pause().await;
        say(&|story| story.start = Some(Said::Asked));
        if node.start_container(&id).await.is_ok() {
            say(&|story| story.start = Some(Said::Done));
        }
    }
    if plan.below(2) > 0 {
        plan.pause().await;
        say(&|story| story.stop = Some(Said::Asked));
        if node.stop_container(&id, Duration::from_secs(plan.below(3))).await.is_ok() {
            say(&|story| story.stop = Some(Said::Done));
        }
    }
    if plan.below(2) > 0 {
        plan.pause().await;
        say(&|story| story.remove = Some(Said::Asked));
        if node.remove_container(&id, Force::Yes).await.is_ok() {
            say(&|story| story.remove = Some(Said::Done));
        }
    }
}

async fn pod_life(node: Facade, seed: u64, told: Told) {
    let mut plan = Plan(seed);
    let Ok(sandbox) = node.run_sandbox(pod("p")).await else { return };
    told.lock().unwrap().sandbox = Some(sandbox.clone());
    let lives = (0..CONTAINERS).map(|n| {
        let plan = Plan(seed * 31 + n as u64);
        tokio::spawn(container_life(node.clone(), sandbox.clone(), n, plan, Arc::clone(&told)))
    });
    let lives: Vec<_> = lives.collect();
    if plan.below(3) > 0 {
        tokio::time::sleep(Duration::from_millis(plan.below(400))).await;
        told.lock().unwrap().stop = Some(Said::Asked);
        if node.stop_sandbox(&sandbox).await.is_ok() {
            told.lock().unwrap().stop = Some(Said::Done);
        }
    }
    if plan.below(3) == 0 {
        plan.pause().await;
        told.lock().unwrap().remove = Some(Said::Asked);
        if node.remove_sandbox(&sandbox).await.is_ok() {
            told.lock().unwrap().remove = Some(Said::Done);
        }
    }
    for life in lives {
        life.await.unwrap();
    }
}

/// Lives one pod's life; the daemon dies at a step of it, if any is given. Returns how many steps there were.
fn live(seed: u64, faults_per_mille: u64, dies_at: Option<u64>) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = world(seed, faults_per_mille);
        world.set_short_lives(200);
        if let Some(step) = dies_at {
            world.die_at(step);
        }
        let told = Told::default();
        let first = node(&world, CRI).await;
        let life = tokio::time::timeout(LIFE, pod_life(first, seed, Arc::clone(&told))).await;
        assert!(life.is_ok() || world.dead(), "a caller was never answered: {:?}", told.lock().unwrap());
        let steps = world.steps();
        let story = told.lock().unwrap().clone();
        check(&world, &story, &format!("seed {seed}, dies at {dies_at:?}: {story:?}")).await;
        steps
    })
}

async fn check(world: &World, story: &Story, context: &str) {
    let world = world.kill_daemon();
    let second = node(&world, CRI).await;
    kept(&second, story, Moment::JustStarted, context);
    tokio::time::sleep(SETTLE).await;
    kept(&second, story, Moment::Settled, context);

    world.set_faults(0);
    tokio::time::sleep(SETTLE).await;
    let world = world.kill_daemon();
    let (third, recovered) = Engine::start(world.ports()).await.unwrap();
    assert_eq!(recovered.actions, 0, "{context}");
    let third = third.facade(namespace(), CRI);
    kept(&third, story, Moment::Settled, context);
    for sandbox in third.sandboxes() {
        third.remove_sandbox(&sandbox.asked.id).await.unwrap();
    }
    settle(&world).await;
    assert_eq!(world.leftovers(), Leftovers::default(), "{context}");
    let world = world.kill_daemon();
    let (_, recovered) = Engine::start(world.ports()).await.unwrap();
    assert_eq!((recovered.sandboxes, recovered.containers, recovered.actions), (0, 0, 0), "{context}");
}

/// What was acknowledged is so, and no end is lost.
fn kept(node: &Facade, story: &Story, moment: Moment, context: &str) {
    let Some(sandbox) = &story.sandbox else { return };
    let found = node.find_sandbox(sandbox.as_str()).ok();
    match (story.remove, story.stop, &found) {
        (Some(Said::Done), _, found) => return assert!(found.is_none(), "a removed pod is there: {context}"),
        (Some(Said::Asked), ..) => return,
        (None, _, None) => panic!("a pod was forgotten: {context}"),
        (None, None, Some(pod)) => {
            assert!(matches!(pod.state, SandboxState::Ready { .. }), "{:?}: {context}", pod.state)
        }
        (None, Some(Said::Done), Some(pod)) => {
            // Its last record may be missing: then it is stopped once more.
            let down = matches!(pod.state, SandboxState::NotReady { .. } | SandboxState::Stopping { .. });
            assert!(down, "{:?}: {context}", pod.state);
        }
        (None, Some(Said::Asked), Some(_)) => {}
    }
    for container in &story.containers {
        container_kept(node, container, story.stop.is_some(), moment, context);
    }
    let ids: BTreeSet<_> = node.containers().iter().map(|view| view.asked.spec.key.clone()).collect();
    assert_eq!(ids.len(), node.containers().len(), "a name twice: {context}");
}

fn container_kept(node: &Facade, story: &ContainerStory, pod_stops: bool, moment: Moment, context: &str) {
    let Some(id) = &story.id else { return };
    let found = node.find_container(id.as_str()).ok();
    let state = match (story.remove, found) {
        (Some(Said::Done), found) => return assert!(found.is_none(), "a removed container is there: {context}"),
        (Some(Said::Asked), _) => return,
        (None, None) => panic!("container {id} was forgotten: {context}"),
        (None, Some(view)) => view.state.clone(),
    };
    if let ContainerState::Exited { ended, .. } = &state {
        assert_ne!(ended.exit, Exit::Unknown, "the end of {id} was lost: {context}");
    }
    let stops = story.stop.is_some() || pod_stops;
    match (story.start, stops) {
        (None, false) => assert!(matches!(state, ContainerState::Created { .. }), "{id} {state:?}: {context}"),
        (Some(Said::Done), false) => {
            let short = state.end().is_some_and(|ended| ended.exit == Exit::Code { code: 3, oom: false });
            // Its shim could not be asked in time, and is asked on.
            let asked_on = moment == Moment::JustStarted && matches!(state, ContainerState::Lost(_));
            let runs = matches!(state, ContainerState::Running(_));
            assert!(short || asked_on || runs, "{id} was started and is {state:?}: {context}");
        }
        (Some(Said::Asked), _) | (None | Some(Said::Done), true) => {}
    }
    if story.stop == Some(Said::Done) {
        assert!(matches!(state, ContainerState::Exited { .. }), "{id} was stopped and is {state:?}: {context}");
    }
}

#[test]
fn a_daemon_may_die_at_every_step_of_a_life() {
    for seed in [1, 2, 3] {
        let steps = live(seed, 0, None);
        for step in 0..steps {
            live(seed, 0, Some(step));
        }
    }
}

#[test]
fn a_daemon_may_die_at_any_step_of_a_life_with_faults() {
    for seed in 100..220 {
        let steps = live(seed, 60, None);
        for sample in 0..8 {
            live(seed, 60, Some(Plan(seed * 1000 + sample).below(steps.max(1))));
        }
    }
}

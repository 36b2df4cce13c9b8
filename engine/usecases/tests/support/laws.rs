//! The laws: nothing acknowledged is forgotten, no end is lost, reconcile has nothing to say once everything has settled, nothing
//! is made without a record, and nothing is left after removal.

use super::life::UPDATE_SHARES;
use super::story::{ContainerStory, Said, Story};
use super::{CRI, namespace, node, settle};
use orlop_model::container_state::{ContainerState, Exit};
use orlop_model::sandbox_state::SandboxState;
use orlop_sim::{Leftovers, World};
use orlop_usecases::{Engine, Facade};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long everything may take to settle: some doubled pauses, and effects that are slow.
pub const SETTLE: Duration = Duration::from_secs(900);

/// When a node is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    JustStarted,
    Settled,
}

/// Kills the daemon and looks at what the next ones make of what is left.
pub async fn check(world: &World, story: &Story, context: &str) {
    let world = world.kill_daemon();
    let second = node(&world, CRI).await;
    kept(&second, story, Moment::JustStarted, context);
    if let Some(sandbox) = &story.sandbox {
        world.silence(sandbox, false);
    }
    tokio::time::sleep(SETTLE).await;
    kept(&second, story, Moment::Settled, context);

    world.set_faults(0);
    tokio::time::sleep(SETTLE).await;
    let world = world.kill_daemon();
    let (third, recovered) = Engine::start(world.ports()).await.unwrap();
    assert!(recovered.actions.is_empty(), "left to put right: {:?}: {context}", recovered.actions);
    let third = third.facade(namespace(), CRI);
    kept(&third, story, Moment::Settled, context);
    for view in third.containers().iter().filter(|view| matches!(view.state, ContainerState::Running(_))) {
        let (asked, limits) = (&view.asked, world.limits(&view.asked.id));
        assert_eq!(limits.as_ref(), Some(&asked.resources), "its cgroup says otherwise: {}: {context}", asked.id);
    }
    for sandbox in third.sandboxes() {
        third.remove_sandbox(&sandbox.asked.id).await.unwrap();
    }
    settle(&world).await;
    assert_eq!(world.leftovers(), Leftovers::default(), "something is left: {context}");
    let world = world.kill_daemon();
    let (_, recovered) = Engine::start(world.ports()).await.unwrap();
    assert_eq!((recovered.sandboxes, recovered.containers, recovered.actions.len()), (0, 0, 0), "{context}");
    assert!(world.violations().is_empty(), "{:?}: {context}", world.violations());
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
            let ready = matches!(pod.state, SandboxState::Ready { .. });
            assert!(ready || story.shim_died, "{:?}: {context}", pod.state);
        }
        (None, Some(Said::Done), Some(pod)) => {
            // Its last record may be missing: then it is stopped once more.
            let down = matches!(pod.state, SandboxState::NotReady { .. } | SandboxState::Stopping { .. });
            assert!(down, "{:?}: {context}", pod.state);
        }
        (None, Some(Said::Asked), Some(_)) => {}
    }
    for container in &story.containers {
        container_kept(node, container, story, moment, context);
    }
    let ids: BTreeSet<_> = node.containers().iter().map(|view| view.asked.spec.key.clone()).collect();
    assert_eq!(ids.len(), node.containers().len(), "a name twice: {context}");
}

fn container_kept(node: &Facade, story: &ContainerStory, pod: &Story, moment: Moment, context: &str) {
    let Some(id) = &story.id else { return };
    let found = node.find_container(id.as_str()).ok();
    let view = match (story.remove, found) {
        (Some(Said::Done), found) => return assert!(found.is_none(), "a removed container is there: {context}"),
        (Some(Said::Asked), _) => return,
        (None, None) => panic!("container {id} was forgotten: {context}"),
        (None, Some(view)) => view,
    };
    let (asked, state) = (&view.asked, &view.state);
    if story.update == Some(Said::Done) {
        assert_eq!(asked.resources.cpu_shares, UPDATE_SHARES, "the update of {id} was forgotten: {context}");
    }
    if moment == Moment::Settled {
        assert_eq!(asked.update, None, "the update of {id} never ends: {context}");
    }
    if let ContainerState::Exited { ended, .. } = state {
        assert!(ended.exit != Exit::Unknown || pod.shim_died, "the end of {id} was lost: {context}");
    }
    let stops = story.stop.is_some() || pod.stop.is_some() || pod.shim_died;
    match (story.start, stops) {
        (None, false) => assert!(matches!(state, ContainerState::Created { .. }), "{id} {state:?}: {context}"),
        (Some(Said::Done), false) => {
            let short = state.end().is_some_and(|ended| ended.exit == Exit::Code { code: 3, oom: false });
            // Its shim could not be asked in time, and is asked on; that it runs may not have been recorded, only that it is to.
            let unheard = matches!(state, ContainerState::Lost(_) | ContainerState::Starting { .. });
            let asked_on = moment == Moment::JustStarted && unheard;
            let runs = matches!(state, ContainerState::Running(_));
            assert!(short || asked_on || runs, "{id} was started and is {state:?}: {context}");
        }
        (Some(Said::Asked), _) | (None | Some(Said::Done), true) => {}
    }
    if story.stop == Some(Said::Done) {
        assert!(matches!(state, ContainerState::Exited { .. }), "{id} was stopped and is {state:?}: {context}");
    }
}

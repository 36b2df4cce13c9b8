//! The laws of containers alone: the sandbox never outlives its container's end or removal, and nothing acknowledged is forgotten,
//! over a death of the daemon or a boot of the node.

use super::alone_life::{ANNEX, AloneStory, CONTAINERS};
use super::laws::SETTLE;
use super::story::Said;
use super::{DOCKER, namespace, node, settle};
use orlop_model::SandboxId;
use orlop_model::container_state::{ContainerState, Exit, Force};
use orlop_model::sandbox_state::SandboxState;
use orlop_sim::{Leftovers, World};
use orlop_usecases::{Engine, Facade};
use std::collections::BTreeSet;

/// What befell the node, as far as the laws must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    SameBoot,
    OtherBoot,
}

/// Lets the daemon die, or the node boot, and looks at what the next ones make of what is left.
pub async fn check(world: &World, stories: &[AloneStory; CONTAINERS], boots: bool, context: &str) {
    let (world, seen) = if boots { (world.reboot(), Seen::OtherBoot) } else { (world.kill_daemon(), Seen::SameBoot) };
    let second = node(&world, DOCKER).await;
    stories.iter().for_each(|story| kept(&second, story, seen, context));
    tokio::time::sleep(SETTLE).await;
    world.set_faults(0);
    tokio::time::sleep(SETTLE).await;
    stories.iter().for_each(|story| kept(&second, story, seen, context));
    sandboxes_follow(&second, &world, context);

    let world = world.kill_daemon();
    let (third, recovered) = Engine::start(world.ports()).await.unwrap();
    assert!(recovered.actions.is_empty(), "left to put right: {:?}: {context}", recovered.actions);
    let third = third.facade(namespace(), DOCKER);
    stories.iter().for_each(|story| kept(&third, story, seen, context));
    for view in third.containers() {
        third.remove_container(&view.asked.id, Force::Yes).await.unwrap();
    }
    settle(&world).await;
    assert_eq!(world.leftovers(), Leftovers::default(), "something is left: {context}");
    assert!(world.violations().is_empty(), "{:?}: {context}", world.violations());
}

/// A sandbox is there with its container, is up while that runs, and holds nothing else.
fn sandboxes_follow(node: &Facade, world: &World, context: &str) {
    let mut up = BTreeSet::new();
    for sandbox in node.sandboxes() {
        let id = &sandbox.asked.id;
        let container = node.find_container(id.as_str()).unwrap_or_else(|none| panic!("{none}: {context}"));
        let runs = matches!(container.state, ContainerState::Running(_) | ContainerState::Frozen(_));
        let is_up = matches!(sandbox.state, SandboxState::Ready { .. });
        let is_down = matches!(sandbox.state, SandboxState::NotReady { .. });
        assert!(if runs { is_up } else { is_down }, "{:?} with {:?}: {context}", sandbox.state, container.state);
        if runs {
            up.insert(id.clone());
        }
    }
    assert_eq!(node.sandboxes().len(), node.containers().len(), "{context}");
    let leftovers = world.leftovers();
    for held in [leftovers.shims, leftovers.addresses] {
        assert_eq!(
            held.into_iter().collect::<BTreeSet<_>>(),
            up,
            "held by what does not run, or not by what does: {context}"
        );
    }
}

/// What was acknowledged is so.
fn kept(node: &Facade, story: &AloneStory, seen: Seen, context: &str) {
    let Some(id) = &story.id else { return };
    let found = node.find_container(id.as_str()).ok();
    let view = match (story.create, story.remove, found) {
        (_, Some(Said::Done), found) => return assert!(found.is_none(), "removed {id} is there: {context}"),
        (_, Some(Said::Asked), _) | (Some(Said::Asked) | None, None, None) => return,
        (Some(Said::Done), None, None) => panic!("{id} was forgotten: {context}"),
        // Recorded as created, and undone as a whole: nobody was told of it.
        (Some(Said::Asked) | None, None, Some(_)) => return,
        (Some(Said::Done), None, Some(view)) => view,
    };
    if story.annex == Some(Said::Done) {
        assert_eq!(view.asked.annex, ANNEX, "the annex of {id} was forgotten: {context}");
    }
    if seen == Seen::SameBoot {
        state_is_kept(node, story, &view.state, context);
    }
}

fn state_is_kept(node: &Facade, story: &AloneStory, state: &ContainerState, context: &str) {
    let lost = matches!(state, ContainerState::Exited { ended, .. } if ended.exit == Exit::Unknown);
    assert!(!lost || story.shim_died, "an end was lost: {context}");
    match (story.start, story.end) {
        (Some(Said::Done), None) => {
            let short = state.end().is_some_and(|ended| ended.exit == Exit::Code { code: 3, oom: false });
            let runs = match state {
                ContainerState::Running(_) => {
                    story.freeze.is_none() || story.thaw.is_some() || story.freeze == Some(Said::Asked)
                }
                ContainerState::Frozen(_) => story.freeze.is_some(),
                // Not heard yet, or not recorded that it runs.
                ContainerState::Lost(_) | ContainerState::Starting { .. } => true,
                ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Exited { .. } => {
                    false
                }
                ContainerState::Stopping { .. } | ContainerState::Removing(_) | ContainerState::Gone { .. } => false,
            };
            assert!(short || runs, "it was started and is {state:?}: {context}");
        }
        (_, Some(Said::Done)) => {
            let down = matches!(state, ContainerState::Exited { .. } | ContainerState::Created { .. });
            assert!(down, "it was stopped and is {state:?}: {context}");
        }
        (None, None) => assert!(matches!(state, ContainerState::Created { .. }), "{state:?}: {context}"),
        (_, Some(Said::Asked)) | (Some(Said::Asked), None) => {}
    }
    if let Some(task) = state.task() {
        assert_ne!(task.checked.stop_signal, 0, "{context}");
    }
    let sandbox = story.id.as_ref().map(SandboxId::alone);
    let there = sandbox.is_some_and(|id| node.find_sandbox(id.as_str()).is_ok());
    assert!(there, "a container without its sandbox: {context}");
}

//! Takes up where the last daemon left off: loads the records, asks every shim, reconciles, and feeds the drivers.
//!
//! The drivers listen before the shims are asked: a shim reports from then on, and no report may be lost. A shim that does
//! not answer in time holds up nobody: its containers are lost until it does, which a kubelet takes for a reason to start
//! them anew. So on a busy node, where answers are late but come, they are waited for. What has no record is swept beside
//! requests.

use crate::driver::{Driver, Message, unwritten_container, unwritten_sandbox};
use crate::engine::{Mail, Node};
use crate::registry::{ContainerView, Named, SandboxView};
use crate::sweep;
use orlop_model::SandboxId;
use orlop_model::container_state::{ContainerState, Ended, Exit};
use orlop_model::error::Result;
use orlop_model::ports::Observed;
use orlop_model::reconcile::{Action, World, reconcile};
use orlop_model::record::{ContainerAsked, Durability, Loaded, SandboxAsked};
use orlop_model::sandbox_state::{Leave, Leaving, SandboxState, retry_pause};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{error, info, warn};

/// Shims asked at a time: all of a full node (110 pods), with room; more would only wait for each other in the adapter.
const OBSERVE_AT_ONCE: usize = 128;
/// How long the start waits for a shim when no other answers either. A living one answers within milliseconds; a shim that hangs
/// may hold up requests by less than a second.
const OBSERVE_WITHIN: Duration = Duration::from_millis(500);
/// How long it waits at most, while answers keep coming: a full and busy node.
const OBSERVE_MAX: Duration = Duration::from_secs(5);

/// What recovery found and did.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Sandboxes taken up.
    pub sandboxes: usize,
    /// Containers taken up.
    pub containers: usize,
    /// Sandboxes whose shim has not answered in time; they are asked on.
    pub silent: usize,
    /// Differences that were put right, or are being swept.
    pub actions: Vec<Action>,
    /// Records set aside since they could not be read: where they are now, and what was wrong.
    pub set_aside: Vec<(PathBuf, String)>,
}

pub(crate) async fn recover(node: &Node) -> Result<Recovered> {
    let mut loaded = node.ports.records.load().await?;
    for (path, wrong) in &loaded.set_aside {
        error!(path = %path.display(), wrong, "a record could not be read and was set aside");
    }
    fill_in(&mut loaded);
    // What has no record is looked for before anything can be made.
    let mut world = leftovers(node).await?;
    adopt(node, loaded.clone());
    world.observed = observe(node, &loaded).await;
    let actions = reconcile(&loaded, &world, node.ports.clock.now());
    let recovered = Recovered {
        sandboxes: loaded.sandboxes.len(),
        containers: loaded.containers.len(),
        silent: loaded.sandboxes.len() - world.observed.len(),
        actions: actions.clone(),
        set_aside: loaded.set_aside,
    };
    put_right(node, actions).await;
    Ok(recovered)
}

/// Gives a state to what has none: a creation cut off between its two records, or a record that outlived its boot. Of the
/// latter, an address may have outlived it too, and is given back.
fn fill_in(loaded: &mut Loaded) {
    for (asked, state) in &mut loaded.sandboxes {
        state.get_or_insert_with(|| match asked.durability {
            Durability::Boot => unwritten_sandbox(&asked.id, asked.created_at),
            Durability::Node => SandboxState::Stopping { leave: down(), why: None },
        });
    }
    for (asked, state) in &mut loaded.containers {
        state.get_or_insert_with(|| match asked.durability {
            Durability::Boot => unwritten_container(&asked.id, asked.created_at),
            Durability::Node => {
                let ended = Ended { started: None, finished: asked.created_at, exit: Exit::Unknown };
                ContainerState::Exited { ended, checked: asked.checked.clone().unwrap_or_default(), task: None }
            }
        });
    }
}

/// Everything is still to be taken down.
fn down() -> Leave {
    Leave { stage: Leaving::Shim, failures: 0, retry_at: None }
}

async fn leftovers(node: &Node) -> Result<World> {
    let ports = &node.ports;
    Ok(World {
        observed: BTreeMap::new(),
        raised: ports.runtime.leftovers().await?.into_iter().collect(),
        addressed: ports.network.leftovers().await?.into_iter().collect(),
        rootfs: ports.images.leftovers().await?.into_iter().collect(),
    })
}

// === asking the shims ===

/// Asks every shim at once, and returns what those say that answer in time.
async fn observe(node: &Node, loaded: &Loaded) -> BTreeMap<SandboxId, Observed> {
    let clock = &node.ports.clock;
    let places = Arc::new(Semaphore::new(OBSERVE_AT_ONCE));
    // Holds one answer of each at most.
    let (answer, mut answers) = mpsc::unbounded_channel();
    for (asked, _) in &loaded.sandboxes {
        let ask = ask_until_answered(node.clone(), asked.id.clone(), Arc::clone(&places), answer.clone());
        clock.spawn("ask shim", Box::pin(ask));
    }
    drop(answer);
    let begun = clock.now();
    let mut observed = BTreeMap::new();
    let mut late = clock.sleep_until(begun.plus(OBSERVE_WITHIN));
    loop {
        tokio::select! {
            biased;
            answer = answers.recv() => match answer {
                Some((id, seen)) => {
                    observed.insert(id, seen);
                    late = clock.sleep_until(clock.now().plus(OBSERVE_WITHIN).min(begun.plus(OBSERVE_MAX)));
                }
                // All have answered, or are gone.
                None => break,
            },
            () = &mut late => break,
        }
    }
    // From here on who answers tells the driver. What is being sent counts; it waits for nobody else.
    answers.close();
    while let Some((id, seen)) = answers.recv().await {
        observed.insert(id, seen);
    }
    for (asked, _) in loaded.sandboxes.iter().filter(|(asked, _)| !observed.contains_key(&asked.id)) {
        warn!(sandbox = %asked.id, after = ?clock.now().since(begun), "the shim does not answer; it is asked on");
    }
    observed
}

/// Asks a shim until it answers, or its sandbox is gone. Its driver hears an answer that comes too late for the start.
async fn ask_until_answered(
    node: Node,
    id: SandboxId,
    places: Arc<Semaphore>,
    answer: mpsc::UnboundedSender<(SandboxId, Observed)>,
) {
    let mut failures = 0;
    while let Some((_, inbox)) = node.registry.sandbox(&id) {
        // Never closed: who asks owns it.
        let place = places.acquire().await;
        let seen = node.ports.runtime.observe(&id).await;
        drop(place);
        match seen {
            Ok(seen) => {
                if let Err(SendError((id, late))) = answer.send((id, seen)) {
                    info!(sandbox = %id, "the shim answers at last");
                    drop(inbox.send(Message::Answered(late)));
                }
                return;
            }
            Err(failure) => warn!(sandbox = %id, error = %failure, "the shim could not be asked; asking again"),
        }
        node.ports.clock.sleep_until(node.ports.clock.now().plus(retry_pause(failures))).await;
        failures += 1;
    }
}

// === drivers ===

/// Enters everything in the registry and starts the drivers.
fn adopt(node: &Node, loaded: Loaded) {
    let mut children: HashMap<SandboxId, Vec<(Arc<ContainerAsked>, ContainerState)>> = HashMap::new();
    for (asked, state) in loaded.containers {
        let Some(state) = state else { continue };
        children.entry(asked.spec.sandbox.clone()).or_default().push((Arc::new(asked), state));
    }
    for (asked, state) in loaded.sandboxes {
        let Some(state) = state else { continue };
        let containers = children.remove(&asked.id).unwrap_or_default();
        adopt_sandbox(node, Arc::new(asked), state, containers);
    }
    for (orphan, _) in children.into_values().flatten() {
        error!(container = %orphan.id, sandbox = %orphan.spec.sandbox, "a container's sandbox has no record");
    }
}

fn adopt_sandbox(
    node: &Node,
    asked: Arc<SandboxAsked>,
    state: SandboxState,
    containers: Vec<(Arc<ContainerAsked>, ContainerState)>,
) {
    let Mail { inbox, outbox } = Mail::new();
    let view = SandboxView { asked: Arc::clone(&asked), state: state.clone() };
    if let Named::Taken(there) = node.registry.enter_sandbox(view, &inbox) {
        error!(sandbox = %asked.id, other = %there.asked.id, "two records claim one name; this one is left alone");
        return;
    }
    let mut driver = Driver::new(node.clone(), inbox, asked, state);
    for (asked, state) in containers {
        let view = ContainerView::new(Arc::clone(&asked), state.clone());
        match node.registry.enter_container(view) {
            Some(Named::Free) => driver.adopt(asked, state),
            Some(Named::Taken(there)) => {
                error!(container = %asked.id, other = %there.asked.id, "two records claim one name; this one is left alone");
            }
            None => error!(container = %asked.id, "its sandbox is not entered; it is left alone"),
        }
    }
    node.ports.clock.spawn("sandbox driver", Box::pin(driver.resume(outbox)));
}

// === putting right ===

/// Feeds the drivers and waits until they have heard; begins to sweep what has no record.
async fn put_right(node: &Node, actions: Vec<Action>) {
    let mut waits = Vec::new();
    let mut sweeps = Vec::new();
    for action in actions {
        info!(?action, "putting right");
        match action {
            Action::Sandbox(id, event) => {
                waits.extend(feed(node, &id, Message::Sandbox { event: Some(event), wait: None }));
            }
            Action::Container(id, event) => {
                let Some(view) = node.registry.container(&id) else { continue };
                let message = Message::Container { id, event: Some(event), wait: None };
                waits.extend(feed(node, &view.asked.spec.sandbox, message));
            }
            sweep @ (Action::SweepShim(_)
            | Action::SweepAddress(_)
            | Action::SweepRootfs(_)
            | Action::SweepContainer(_)) => sweeps.push(sweep),
        }
    }
    sweep::begin(node, sweeps);
    // Whoever asks next must see what the containers ended with.
    for wait in waits {
        drop(wait.await);
    }
}

/// Tells a driver something; returns what says that it was heard.
fn feed(node: &Node, pod: &SandboxId, message: Message) -> Option<oneshot::Receiver<Result<()>>> {
    let (_, inbox) = node.registry.sandbox(pod)?;
    drop(inbox.send(message));
    let (reply, heard) = oneshot::channel();
    drop(inbox.send(Message::Heard(reply)));
    Some(heard)
}

#[cfg(test)]
mod tests {
    use crate::driver::Message;
    use crate::{CreateContainer, Engine, Policy, RunSandbox};
    use orlop_model::container::{ContainerSpec, Process, Resources};
    use orlop_model::container_state::{ContainerEvent, ContainerState};
    use orlop_model::image::Image;
    use orlop_model::record::Durability;
    use orlop_model::sandbox::SandboxSpec;
    use orlop_model::{Digest, ImageId, Namespace, NaturalKey};
    use orlop_sim::World;
    use std::time::Duration;

    const POLICY: Policy =
        Policy { durability: Durability::Boot, restart: false, in_not_ready: false, difference: |_, _| None };

    /// As when the shim answers on another thread, just after the start has ceased to wait for it.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_overtakes_the_silence_stays_true() {
        let image = ImageId(Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap());
        let world = World::new(1, 0, vec![Image::new(image.clone())]);
        let name = || Namespace("test".to_owned());
        let key = || NaturalKey("one".to_owned());
        let first = Engine::start(world.ports()).await.unwrap().0.facade(name(), POLICY);
        let pod = RunSandbox { spec: SandboxSpec::new(name(), key()), annex: Vec::new() };
        let pod = first.run_sandbox(pod).await.unwrap();
        let process = Process { command: vec!["run".to_owned()], ..Process::default() };
        let spec = ContainerSpec { process, ..ContainerSpec::new(name(), key(), pod.clone(), image) };
        let spec = CreateContainer { spec, resources: Resources::default(), annex: Vec::new() };
        let id = first.create_container(spec).await.unwrap();
        first.start_container(&id).await.unwrap();
        world.silence(&pod, true);
        let world = world.kill_daemon();
        let (engine, recovered) = Engine::start(world.ports()).await.unwrap();
        assert_eq!(recovered.silent, 1);
        world.silence(&pod, false);
        tokio::time::sleep(Duration::from_secs(120)).await;
        let silent = Message::Container { id: id.clone(), event: Some(ContainerEvent::Silent), wait: None };
        super::feed(&engine.node, &pod, silent).unwrap().await.unwrap().unwrap();
        let state = engine.node.registry.container(&id).unwrap().state.clone();
        assert!(matches!(state, ContainerState::Running(_)), "{state:?}");
    }
}

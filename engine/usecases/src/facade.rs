//! What a facade may ask of the node.

mod alone;
mod control;
mod streams;

pub use alone::CreateAlone;

use crate::driver::{Message, Rules};
use crate::engine::{Engine, Mail, Policy, begin_sandbox};
use crate::registry::{ContainerView, Named, SandboxView};
use crate::usage::{ContainerUsage, SandboxUsage};
use crate::wanted::{ContainerWanted, SandboxWanted};
use orlop_model::container::{ContainerSpec, Resources};
use orlop_model::container_state::{ContainerEvent, ContainerState, Force, Preparing};
use orlop_model::error::Result;
use orlop_model::ports::{Images, internal};
use orlop_model::record::{ContainerAsked, SandboxAsked};
use orlop_model::sandbox::{SandboxEnd, SandboxSpec};
use orlop_model::sandbox_state::{SandboxEvent, SandboxState};
use orlop_model::{ContainerId, ErrorKind, Failure, Namespace, SandboxId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{SemaphorePermit, oneshot};

/// Names the first field in which two requests, in the facade's own bytes, differ; `None` when they ask for the same.
pub type Difference = fn(existing: &[u8], asked: &[u8]) -> Option<String>;

/// How often a name is tried again that its last owner is just giving up.
const NAME_TRIES_MAX: usize = 8;

/// A sandbox to run.
#[derive(Clone, Debug)]
pub struct RunSandbox {
    /// What.
    pub spec: SandboxSpec,
    /// The facade's own bytes: the whole request.
    pub annex: Vec<u8>,
}

/// A container to create.
#[derive(Clone, Debug)]
pub struct CreateContainer {
    /// What.
    pub spec: ContainerSpec,
    /// What it may use.
    pub resources: Resources,
    /// The facade's own bytes: the whole request.
    pub annex: Vec<u8>,
}

/// Whether a request changed anything. Idempotence is a result, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It did.
    Yes,
    /// It was so already.
    No,
}

/// Whether the parts of the node can be used now; a failure says what is missing.
#[derive(Clone, Debug)]
pub struct Health {
    /// Sandboxes and processes.
    pub runtime: Result<()>,
    /// Networks.
    pub network: Result<()>,
}

/// The node as one facade sees it. Cheap to clone.
///
/// A request whose caller leaves runs to its end; the same request coming again joins it.
#[derive(Clone, Debug)]
pub struct Facade {
    engine: Engine,
    namespace: Namespace,
    policy: Policy,
}

impl Facade {
    pub(crate) fn new(engine: Engine, namespace: Namespace, policy: Policy) -> Self {
        Self { engine, namespace, policy }
    }

    /// Runs a sandbox; joins the same request under way, or returns its sandbox when that exists.
    pub async fn run_sandbox(&self, wanted: RunSandbox) -> Result<SandboxId> {
        let _slot = self.slot()?;
        let node = &self.engine.node;
        let asked = Arc::new(SandboxAsked {
            id: SandboxId::from_random(node.ports.clock.random()),
            created_at: node.ports.clock.now(),
            spec: wanted.spec,
            annex: wanted.annex,
            durability: self.policy.durability,
        });
        for _ in 0..NAME_TRIES_MAX {
            let mail = Mail::new();
            let state = crate::driver::unwritten_sandbox(&asked.id, asked.created_at);
            let view = SandboxView { asked: Arc::clone(&asked), state };
            match node.registry.enter_sandbox(view, &mail.inbox) {
                Named::Free => {
                    let (reply, answer) = oneshot::channel();
                    begin_sandbox(node, Arc::clone(&asked), mail, reply);
                    let built = answer.await.unwrap_or_else(|_| Err(driver_died(&asked.id)));
                    return built.map(|()| asked.id.clone());
                }
                Named::Taken(there) => {
                    let id = &there.asked.id;
                    if matches!(there.state, SandboxState::Removing { .. }) {
                        self.wait_sandbox(id, None, SandboxWanted::Gone).await.unwrap_or(Ok(()))?;
                        continue;
                    }
                    self.same("sandbox", id.as_str(), &there.asked.annex, &asked.annex)?;
                    // One that went before it could be joined has given up its name.
                    if let Some(built) = self.wait_sandbox(id, None, SandboxWanted::Built).await {
                        return built.map(|()| id.clone());
                    }
                }
            }
        }
        Err(name_contended(&asked.spec.key))
    }

    /// Stops a sandbox and everything in it; keeps the record.
    pub async fn stop_sandbox(&self, id: &SandboxId) -> Result<Changed> {
        let _slot = self.slot()?;
        let was = self.own_sandbox(id)?;
        self.wait_sandbox(id, Some(SandboxEvent::StopAsked), SandboxWanted::Stopped).await.unwrap_or(Ok(()))?;
        Ok(if matches!(was.state, SandboxState::NotReady { .. }) { Changed::No } else { Changed::Yes })
    }

    /// Removes a sandbox with its containers, running ones too.
    pub async fn remove_sandbox(&self, id: &SandboxId) -> Result<Changed> {
        let _slot = self.slot()?;
        self.own_sandbox(id)?;
        self.wait_sandbox(id, Some(SandboxEvent::RemoveAsked), SandboxWanted::Gone).await.unwrap_or(Ok(()))?;
        Ok(Changed::Yes)
    }

    /// Finds a listed sandbox by id or unique prefix: `NotFound`, or `InvalidArgument` for an ambiguous prefix or a bad id.
    pub fn find_sandbox(&self, text: &str) -> Result<Arc<SandboxView>> {
        self.engine.node.registry.find_sandbox(&self.namespace, text)
    }

    /// The same for who wants it ended: also one that is still being created, by its whole id. Its creation may hang.
    pub fn find_sandbox_to_end(&self, text: &str) -> Result<Arc<SandboxView>> {
        let whole = SandboxId::parse(text).ok().and_then(|id| self.own_sandbox(&id).ok());
        whole.map_or_else(|| self.find_sandbox(text), Ok)
    }

    /// Lists sandboxes, oldest first; those being created or gone are left out.
    #[must_use]
    pub fn sandboxes(&self) -> Vec<Arc<SandboxView>> {
        self.engine.node.registry.sandboxes(&self.namespace)
    }

    /// Creates a container; joins the same request under way, or returns its container when that exists.
    pub async fn create_container(&self, wanted: CreateContainer) -> Result<ContainerId> {
        let _slot = self.slot()?;
        let node = &self.engine.node;
        let pod = self.own_sandbox(&wanted.spec.sandbox)?;
        if pod.asked.spec.ends == SandboxEnd::WithContainer {
            let message = format!("sandbox {} has its one container", pod.asked.id);
            return Err(Failure::new(ErrorKind::InvalidArgument, message));
        }
        let pod = pod.asked.id.clone();
        let asked = Arc::new(ContainerAsked {
            id: ContainerId::from_random(node.ports.clock.random()),
            created_at: node.ports.clock.now(),
            spec: wanted.spec,
            resources: wanted.resources,
            update: None,
            checked: None,
            annex: wanted.annex,
            annex_generation: 0,
            durability: self.policy.durability,
        });
        for _ in 0..NAME_TRIES_MAX {
            let state = ContainerState::Creating { since: asked.created_at, stage: Preparing::Rootfs };
            match node.registry.enter_container(ContainerView::new(Arc::clone(&asked), state)) {
                None => return Err(gone("sandbox", &pod)),
                Some(Named::Free) => {
                    let rules = self.rules();
                    let asked = Arc::clone(&asked);
                    let id = asked.id.clone();
                    let told = self.tell(&pod, |reply| Message::Create { asked, rules, reply }).await;
                    return told.unwrap_or_else(|| Err(gone("sandbox", &pod))).map(|()| id);
                }
                Some(Named::Taken(there)) => {
                    if matches!(there.state, ContainerState::Removing(_)) {
                        self.wait_container(&there, None, ContainerWanted::Gone).await?;
                        continue;
                    }
                    self.same("container", there.asked.id.as_str(), &there.asked.annex, &asked.annex)?;
                    if let Some(created) = self.ask_container(&there, None, ContainerWanted::Created).await {
                        return created.map(|()| there.asked.id.clone());
                    }
                }
            }
        }
        Err(name_contended(&asked.spec.key))
    }

    /// Starts a container. A program that can't run is a failure, and leaves the container exited.
    pub async fn start_container(&self, id: &ContainerId) -> Result<Changed> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        if matches!(view.state, ContainerState::Running(_)) && self.policy.restart {
            return Ok(Changed::No);
        }
        let (rules, name) = (self.rules(), id.clone());
        let told = self.tell(&view.asked.spec.sandbox, |reply| Message::Start { id: name, rules, reply }).await;
        told.unwrap_or_else(|| Err(gone("container", id))).map(|()| Changed::Yes)
    }

    /// Stops a container and waits for its end; of one alone, also until its ports and address are given back. One that was never started ends unstarted, where an ended one can't start again;
    /// where it can, it stays as it is, and a start that is still about its sandbox is given up.
    pub async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<Changed> {
        self.stop_container_with(id, None, grace).await
    }

    /// The same by another signal than its own.
    pub async fn stop_container_by(&self, id: &ContainerId, signal: u8, grace: Duration) -> Result<Changed> {
        self.stop_container_with(id, Some(signal), grace).await
    }

    async fn stop_container_with(&self, id: &ContainerId, signal: Option<u8>, grace: Duration) -> Result<Changed> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        if self.policy.restart && matches!(view.state, ContainerState::Created { .. } | ContainerState::Exited { .. }) {
            return Ok(if self.stop_being_started(&view).await? { Changed::Yes } else { Changed::No });
        }
        self.wait_container(&view, Some(ContainerEvent::StopAsked { grace, signal }), ContainerWanted::Ended).await?;
        self.wait_down(id).await;
        Ok(if matches!(view.state, ContainerState::Exited { .. }) { Changed::No } else { Changed::Yes })
    }

    /// Removes a container.
    pub async fn remove_container(&self, id: &ContainerId, force: Force) -> Result<Changed> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        if self.alone(&view).is_some() {
            return self.remove_alone(&view, force).await.map(|()| Changed::Yes);
        }
        self.wait_container(&view, Some(ContainerEvent::RemoveAsked(force)), ContainerWanted::Gone).await?;
        Ok(Changed::Yes)
    }

    /// Finds a listed container by id or unique prefix: `NotFound`, or `InvalidArgument` for an ambiguous prefix or a bad id.
    pub fn find_container(&self, text: &str) -> Result<Arc<ContainerView>> {
        self.engine.node.registry.find_container(&self.namespace, text)
    }

    /// Lists containers, oldest first; those being created or gone are left out.
    #[must_use]
    pub fn containers(&self) -> Vec<Arc<ContainerView>> {
        self.engine.node.registry.containers(&self.namespace)
    }

    /// Changes what a container may use; see [`Resources::changed_by`]. One that is created gets it with its start.
    pub async fn update_container(&self, id: &ContainerId, change: Resources) -> Result<()> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        let name = id.clone();
        let told = self.tell(&view.asked.spec.sandbox, |reply| Message::Update { id: name, change, reply }).await;
        told.unwrap_or_else(|| Err(gone("container", id)))
    }

    /// Lets the log of a running container go on in a fresh file at its path.
    pub async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let _slot = self.slot()?;
        crate::reopen::reopen(&self.engine.node, &*self.own_container(id)?).await
    }

    /// Reads what containers use; those that do not run are left out.
    pub async fn usage(&self, views: Vec<Arc<ContainerView>>) -> Result<Vec<ContainerUsage>> {
        crate::usage::of_containers(&self.engine.node, views).await
    }

    /// Reads what sandboxes use, with their containers; those that are not ready are left out.
    pub async fn sandbox_usage(&self, views: Vec<Arc<SandboxView>>) -> Result<Vec<SandboxUsage>> {
        crate::usage::of_sandboxes(&self.engine.node, views, self.containers()).await
    }

    /// Returns the images, one set for every facade.
    #[must_use]
    pub fn images(&self) -> Arc<dyn Images> {
        Arc::clone(&self.engine.node.ports.images)
    }

    /// Says whether the parts of the node can be used now.
    pub async fn health(&self) -> Health {
        let ports = &self.engine.node.ports;
        Health { runtime: ports.runtime.ready().await, network: ports.network.ready().await }
    }

    // === impl Facade ===

    pub(crate) fn node(&self) -> &crate::engine::Node {
        &self.engine.node
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Takes one of the places for requests under way.
    fn slot(&self) -> Result<SemaphorePermit<'_>> {
        self.engine.requests.try_acquire().map_err(|_full| {
            let max = crate::engine::REQUESTS_MAX;
            Failure::new(ErrorKind::Exhausted, format!("{max} requests are under way; retry later"))
        })
    }

    fn rules(&self) -> Rules {
        Rules { restart: self.policy.restart, in_not_ready: self.policy.in_not_ready }
    }

    /// Refuses a request that took a name in use for something else.
    fn same(&self, what: &str, id: &str, there: &[u8], asked: &[u8]) -> Result<()> {
        match (self.policy.difference)(there, asked) {
            None => Ok(()),
            Some(field) => {
                let message = format!(
                    "the name is in use by {what} {id}, which was asked for with another {field}; remove it first or take another name"
                );
                Err(Failure::new(ErrorKind::AlreadyExists, message))
            }
        }
    }

    fn own_sandbox(&self, id: &SandboxId) -> Result<Arc<SandboxView>> {
        let found = self.engine.node.registry.sandbox(id).map(|(view, _)| view);
        found.filter(|view| view.asked.spec.namespace == self.namespace).ok_or_else(|| gone("sandbox", id))
    }

    pub(crate) fn own_container(&self, id: &ContainerId) -> Result<Arc<ContainerView>> {
        let found = self.engine.node.registry.container(id);
        found.filter(|view| view.asked.spec.namespace == self.namespace).ok_or_else(|| gone("container", id))
    }

    /// Asks a sandbox for something and waits for what is wanted; `None` when it is gone.
    async fn wait_sandbox(
        &self,
        id: &SandboxId,
        event: Option<SandboxEvent>,
        wanted: SandboxWanted,
    ) -> Option<Result<()>> {
        self.tell(id, |reply| Message::Sandbox { event, wait: Some((wanted, reply)) }).await
    }

    /// Asks a container to end or to go. What is not there has ended, and is gone, as well as anything can be.
    async fn wait_container(
        &self,
        view: &ContainerView,
        event: Option<ContainerEvent>,
        wanted: ContainerWanted,
    ) -> Result<()> {
        match self.ask_container(view, event, wanted).await {
            Some(Err(failure)) if failure.kind == ErrorKind::NotFound => Ok(()),
            Some(result) => result,
            None => Ok(()),
        }
    }

    /// Asks a container for something and waits for what is wanted; `None` when it is gone.
    async fn ask_container(
        &self,
        view: &ContainerView,
        event: Option<ContainerEvent>,
        wanted: ContainerWanted,
    ) -> Option<Result<()>> {
        let id = view.asked.id.clone();
        let pod = &view.asked.spec.sandbox;
        self.tell(pod, |reply| Message::Container { id, event, wait: Some((wanted, reply)) }).await
    }

    /// Tells a driver something and waits for its answer; `None` when the object is gone.
    async fn tell(&self, pod: &SandboxId, message: impl FnOnce(crate::driver::Reply) -> Message) -> Option<Result<()>> {
        let (_, inbox) = self.engine.node.registry.sandbox(pod)?;
        let (reply, answer) = oneshot::channel();
        // A driver that has ended drops the reply, as one does that has no such container.
        drop(inbox.send(message(reply)));
        if let Ok(answered) = answer.await {
            return Some(answered);
        }
        let (_, inbox) = self.engine.node.registry.sandbox(pod)?;
        inbox.is_closed().then(|| Err(driver_died(pod)))
    }
}

fn driver_died(pod: &SandboxId) -> Failure {
    internal(format!("the driver of sandbox {pod} has ended before the sandbox did, a fault of orlop; restart orlopd"))
}

fn gone(what: &str, id: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no {what} with the id {id}"))
}

fn name_contended(key: &orlop_model::NaturalKey) -> Failure {
    let message =
        format!("the name {key} was taken and given up {NAME_TRIES_MAX} times while this request waited for it");
    Failure::new(ErrorKind::Unavailable, message)
}

//! Containers alone: each with a sandbox of its own, which begins and ends with it.
//!
//! [`Facade::start_container`], [`Facade::stop_container`] and [`Facade::remove_container`] know them: a start starts the
//! sandbox first, with fresh attachments; when the container has ended, its sandbox is stopped by itself, also when it ended
//! while no daemon ran; a removal takes both.

use super::{Facade, driver_died, gone};
use crate::driver::Message;
use crate::engine::{Mail, begin_alone};
use crate::registry::{ContainerView, Named, SandboxView};
use crate::wanted::SandboxWanted;
use orlop_model::container::{ContainerSpec, Resources};
use orlop_model::container_state::{ContainerState, Force, Preparing};
use orlop_model::error::Result;
use orlop_model::record::{ContainerAsked, Durability, SandboxAsked};
use orlop_model::sandbox::{SandboxEnd, SandboxSpec};
use orlop_model::sandbox_state::{SandboxEvent, SandboxState};
use orlop_model::{ContainerId, ErrorKind, Failure, SandboxId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long who stops a container waits for its sandbox to go down. It takes some ten milliseconds where nothing hangs.
const DOWN_WITHIN: Duration = Duration::from_secs(10);

/// A container to create, alone in a sandbox that ends with it.
#[derive(Clone, Debug)]
pub struct CreateAlone {
    /// Its id, made by [`Facade::fresh_id`].
    pub id: ContainerId,
    /// The sandbox: [`SandboxEnd::WithContainer`]. Its id is [`SandboxId::alone`] of the container's.
    pub sandbox: SandboxSpec,
    /// The container, in that sandbox.
    pub container: ContainerSpec,
    /// What it may use.
    pub resources: Resources,
    /// The facade's own bytes; replaced by [`Facade::update_annex`].
    pub annex: Vec<u8>,
    /// How long its records last: nothing is flushed for one that need not outlast the boot.
    pub durability: Durability,
}

impl Facade {
    /// Makes an id for a container alone, so that its specs can be built around it.
    #[must_use]
    pub fn fresh_id(&self) -> ContainerId {
        ContainerId::from_random(self.engine.node.ports.clock.random())
    }

    /// Creates a container alone: its root file system and two records, no shim and no network. As one: a failure or a crash
    /// before the answer leaves nothing of either. The same id asked for again joins; a key in use is `AlreadyExists`.
    pub async fn create_alone(&self, wanted: CreateAlone) -> Result<ContainerId> {
        let _slot = self.slot()?;
        self.check_alone(&wanted)?;
        let node = &self.engine.node;
        let (sandbox, container) = self.asked_alone(wanted);
        let state = orlop_model::sandbox_state::begin_alone(sandbox.created_at);
        let mail = Mail::new();
        match node.registry.enter_sandbox(SandboxView { asked: Arc::clone(&sandbox), state }, &mail.inbox) {
            Named::Free => {}
            Named::Taken(there) if there.asked.id == sandbox.id => {
                let built = self.wait_sandbox(&sandbox.id, None, SandboxWanted::Built).await;
                return built.unwrap_or_else(|| Err(gone("container", &container.id))).map(|()| container.id.clone());
            }
            Named::Taken(there) => {
                let message = format!("the name {} is in use by container {}", sandbox.spec.key, there.asked.id);
                return Err(Failure::new(ErrorKind::AlreadyExists, message));
            }
        }
        let state = ContainerState::Creating { since: container.created_at, stage: Preparing::Rootfs };
        // Free: its sandbox is new.
        drop(node.registry.enter_container(ContainerView::new(Arc::clone(&container), state)));
        let (reply, answer) = oneshot::channel();
        let id = container.id.clone();
        begin_alone(node, Arc::clone(&sandbox), container, mail, reply);
        answer.await.unwrap_or_else(|_| Err(driver_died(&sandbox.id))).map(|()| id)
    }

    /// Returns the sandbox of a container: its attachments are there.
    #[must_use]
    pub fn sandbox_of(&self, container: &ContainerView) -> Option<Arc<SandboxView>> {
        self.engine.node.registry.sandbox(&container.asked.spec.sandbox).map(|(view, _)| view)
    }

    fn check_alone(&self, wanted: &CreateAlone) -> Result<()> {
        let own = wanted.sandbox.namespace == self.namespace && wanted.container.namespace == self.namespace;
        let in_it = wanted.container.sandbox == SandboxId::alone(&wanted.id);
        if own && in_it && wanted.sandbox.ends == SandboxEnd::WithContainer {
            return Ok(());
        }
        let message = "a container alone and its sandbox must name one namespace and each other, and end together";
        Err(Failure::new(ErrorKind::Internal, message))
    }

    fn asked_alone(&self, wanted: CreateAlone) -> (Arc<SandboxAsked>, Arc<ContainerAsked>) {
        let created_at = self.engine.node.ports.clock.now();
        let durability = wanted.durability;
        let sandbox = SandboxAsked {
            id: SandboxId::alone(&wanted.id),
            created_at,
            spec: wanted.sandbox,
            annex: Vec::new(),
            durability,
        };
        let container = ContainerAsked {
            id: wanted.id,
            created_at,
            spec: wanted.container,
            resources: wanted.resources,
            update: None,
            checked: None,
            annex: wanted.annex,
            annex_generation: 0,
            durability,
        };
        (Arc::new(sandbox), Arc::new(container))
    }

    /// Whether a container is alone in its sandbox.
    pub(super) fn alone(&self, view: &ContainerView) -> Option<Arc<SandboxView>> {
        self.sandbox_of(view).filter(|sandbox| sandbox.asked.spec.ends == SandboxEnd::WithContainer)
    }

    pub(super) async fn remove_alone(&self, view: &ContainerView, force: Force) -> Result<()> {
        let id = view.asked.id.clone();
        let told = self.tell(&view.asked.spec.sandbox, |reply| Message::RemoveAlone { id, force, reply }).await;
        // What is not there is gone.
        told.unwrap_or(Ok(()))
    }

    /// Waits until a container alone that has ended holds neither ports nor an address any more, or starts again; at most
    /// [`DOWN_WITHIN`]. Whoever hears of its end may want its ports at once.
    pub async fn wait_down(&self, id: &ContainerId) {
        let Ok(view) = self.own_container(id) else { return };
        if view.state.task().is_some() || self.alone(&view).is_none() {
            return;
        }
        let clock = &self.engine.node.ports.clock;
        let late = clock.sleep_until(clock.now().plus(DOWN_WITHIN));
        tokio::select! {
            // What stands in its way is tried again, and told to who needs what it holds.
            _ = self.wait_sandbox(&view.asked.spec.sandbox, None, SandboxWanted::Down) => {}
            () = late => {}
        }
    }

    /// Gives up a start that is still about the sandbox; says whether there was one.
    pub(super) async fn stop_being_started(&self, view: &ContainerView) -> Result<bool> {
        let Some(sandbox) = self.alone(view) else { return Ok(false) };
        if !matches!(sandbox.state, SandboxState::Starting { .. }) {
            return Ok(false);
        }
        let stopped = self.wait_sandbox(&sandbox.asked.id, Some(SandboxEvent::StopAsked), SandboxWanted::Stopped).await;
        stopped.unwrap_or(Ok(())).map(|()| true)
    }
}

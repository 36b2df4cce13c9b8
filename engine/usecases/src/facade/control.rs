//! What a facade may do to a container beside its life, and hear of it: signals, freezing, the annex, changes.

use super::{Changed, Facade, gone};
use crate::annex::{ANNEX_BYTES_MAX, Annexed};
use crate::changes::Changes;
use crate::driver::Message;
use crate::registry::ContainerView;
use crate::stir::{Snapshot, Stirs};
use crate::wanted::ContainerWanted;
use orlop_model::container_state::{ContainerEvent, ContainerState};
use orlop_model::error::Result;
use orlop_model::ports::Clock;
use orlop_model::{ContainerId, ErrorKind, Failure, ImageId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// SIGKILL; signal(7).
const SIGKILL: u8 = 9;
/// How often an annex is read and replaced again when others are quicker.
const ANNEX_TRIES_MAX: usize = 32;

impl Facade {
    /// Sends a signal to the first process of a container that runs. SIGKILL kills every process, frozen ones too, and waits for
    /// the end; any other returns once it is sent.
    pub async fn signal_container(&self, id: &ContainerId, signal: u8) -> Result<()> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        if signal != SIGKILL || view.state.task().is_none() {
            return crate::signal::send(&self.engine.node, &view, signal).await;
        }
        let kill = ContainerEvent::StopAsked { grace: Duration::ZERO, signal: None };
        self.wait_container(&view, Some(kill), ContainerWanted::Ended).await?;
        self.wait_down(id).await;
        Ok(())
    }

    /// Stops a container, where it runs, and starts it again.
    pub async fn restart_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        if self.runs(id) {
            self.stop_container(id, grace).await?;
        }
        self.start_container(id).await.map(drop)
    }

    /// Freezes every process of a container that runs.
    pub async fn freeze_container(&self, id: &ContainerId) -> Result<Changed> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        self.wait_for(&view, ContainerEvent::FreezeAsked, ContainerWanted::Frozen).await?;
        Ok(if matches!(view.state, ContainerState::Frozen(_)) { Changed::No } else { Changed::Yes })
    }

    /// Thaws every process of a container.
    pub async fn thaw_container(&self, id: &ContainerId) -> Result<Changed> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        self.wait_for(&view, ContainerEvent::ThawAsked, ContainerWanted::Thawed).await?;
        Ok(if matches!(view.state, ContainerState::Frozen(_)) { Changed::Yes } else { Changed::No })
    }

    /// Replaces the annex of a container, if it is still of the generation that its view says. Answered when it is recorded, for
    /// as long as the namespace's records last.
    pub async fn update_annex(&self, id: &ContainerId, generation: u64, annex: Vec<u8>) -> Result<Annexed> {
        let _slot = self.slot()?;
        if annex.len() > ANNEX_BYTES_MAX {
            let message = format!("an annex of {} bytes, at most {ANNEX_BYTES_MAX} are kept", annex.len());
            return Err(Failure::new(ErrorKind::Exhausted, message));
        }
        let view = self.own_container(id)?;
        let no = || gone("container", id);
        let (_, inbox) = self.engine.node.registry.sandbox(&view.asked.spec.sandbox).ok_or_else(no)?;
        let (reply, answer) = oneshot::channel();
        // A driver that has ended drops the reply.
        drop(inbox.send(Message::Annex { id: id.clone(), generation, annex, reply }));
        answer.await.unwrap_or_else(|_| Err(no()))
    }

    /// Changes the annex of a container: `change` returns another one for the one that is there, or `None` to leave it. It is asked
    /// again when somebody else was quicker.
    pub async fn change_annex(
        &self,
        id: &ContainerId,
        mut change: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send,
    ) -> Result<Changed> {
        for _ in 0..ANNEX_TRIES_MAX {
            let view = self.own_container(id)?;
            let Some(annex) = change(&view.asked.annex) else { return Ok(Changed::No) };
            match self.update_annex(id, view.asked.annex_generation, annex).await? {
                Annexed::Written(_) => return Ok(Changed::Yes),
                Annexed::Outdated => {}
            }
        }
        let message = format!("the annex of container {id} was replaced {ANNEX_TRIES_MAX} times by others meanwhile");
        Err(Failure::new(ErrorKind::Unavailable, message))
    }

    /// Subscribes to the changes of the namespace's containers, and lists those there are: nothing comes between the two.
    #[must_use]
    pub fn changes(&self) -> (Vec<Arc<ContainerView>>, Changes) {
        self.engine.node.registry.subscribe(&self.namespace)
    }

    /// Subscribes to the news that anything of the namespace has changed, sandboxes too; what it is, a snapshot shows.
    #[must_use]
    pub fn stirs(&self) -> Stirs {
        self.engine.node.registry.stirs(&self.namespace)
    }

    /// Returns all sandboxes and containers that lists show, at one moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.engine.node.registry.snapshot(&self.namespace)
    }

    /// Lists which images the namespace's containers are made of, also those being created or removed: one entry for each.
    #[must_use]
    pub fn images_in_use(&self) -> Vec<(ImageId, ContainerId)> {
        self.engine.node.registry.images_in_use(&self.namespace)
    }

    /// Returns the node's time.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.engine.node.ports.clock)
    }

    /// Whether a container has a process, as far as is known.
    fn runs(&self, id: &ContainerId) -> bool {
        self.own_container(id).is_ok_and(|view| view.state.task().is_some())
    }

    async fn wait_for(&self, view: &ContainerView, event: ContainerEvent, wanted: ContainerWanted) -> Result<()> {
        let waited = self.ask_container(view, Some(event), wanted).await;
        waited.unwrap_or_else(|| Err(gone("container", &view.asked.id)))
    }
}

//! What users do to containers, such that policies do not work against it: what is wanted is recorded first.

use super::keeper::{Hold, Policies};
use super::kept::{Kept, Wanted};
use orlop_model::ContainerId;
use orlop_model::container_state::ContainerState;
use orlop_model::error::Result;
use orlop_usecases::{Changed, ContainerView};
use std::time::Duration;

/// SIGKILL; signal(7).
const SIGKILL: u8 = 9;

impl Policies {
    /// Stops a container for its user, by its own signal or another.
    pub(crate) async fn stop(&self, id: &ContainerId, signal: Option<u8>, grace: Duration) -> Result<Changed> {
        let _hold = self.hold(id).await;
        self.keep_of(id, Kept::stopped).await?;
        self.stop_held(id, signal, grace).await
    }

    /// Sends a signal to a container for its user. As far as policies are concerned that stops it, as it does in dockerd; but
    /// where a signal of its own is to stop it, only that one and SIGKILL do.
    pub(crate) async fn kill(&self, id: &ContainerId, signal: u8) -> Result<()> {
        let _hold = self.hold(id).await;
        let view = self.view(id)?;
        let (rules, _) = self.read(&view);
        if let Some(task) = view.state.task()
            && (!rules.own_stop_signal || signal == SIGKILL || signal == task.checked.stop_signal)
        {
            self.keep_of(id, Kept::stopped).await?;
        }
        self.facade().signal_container(id, signal).await
    }

    /// Stops a container, where it runs, and starts it again for its user. One that is removed when it ends stays.
    pub(crate) async fn restart(&self, id: &ContainerId, signal: Option<u8>, grace: Duration) -> Result<()> {
        let _hold = self.hold(id).await;
        if self.view(id)?.state.task().is_some() {
            self.stop_held(id, signal, grace).await?;
        }
        self.start_held(id).await.map(drop)
    }

    /// Freezes a container for an image to be made of it, by one at a time. That is recorded first: whatever becomes of this
    /// daemon, the container is thawed.
    pub(crate) async fn freeze_for_commit(&self, id: &ContainerId) -> Result<Hold> {
        let hold = self.hold_for_commit(id).await;
        self.keep_of(id, |kept| Kept { frozen_for_commit: true, ..kept.clone() }).await?;
        if let Err(failure) = self.facade().freeze_container(id).await {
            self.thaw_after_commit(id).await?;
            return Err(failure);
        }
        Ok(hold)
    }

    /// Thaws it. What can't be thawed now is tried again by the loop, once nobody holds it.
    pub(crate) async fn thaw_after_commit(&self, id: &ContainerId) -> Result<()> {
        let thawed = self.facade().thaw_container(id).await.map(drop);
        let Ok(view) = self.view(id) else { return Ok(()) };
        // Of one whose shim is silent nobody knows. What has ended is frozen no more.
        if matches!(view.state, ContainerState::Frozen(_) | ContainerState::Lost(_)) {
            return thawed;
        }
        self.keep_of(id, |kept| Kept { frozen_for_commit: false, ..kept.clone() }).await
    }

    async fn stop_held(&self, id: &ContainerId, signal: Option<u8>, grace: Duration) -> Result<Changed> {
        match signal {
            Some(signal) => self.facade().stop_container_by(id, signal, grace).await,
            None => self.facade().stop_container(id, grace).await,
        }
    }

    /// Starts a container for its user, who holds it. What can't be started is as it was; but one that is to go at its end
    /// goes, once it is let go.
    pub(crate) async fn start_held(&self, id: &ContainerId) -> Result<Changed> {
        if !matches!(self.view(id)?.state, ContainerState::Running(_)) {
            self.keep_of(id, Kept::started).await?;
        }
        let started = self.facade().start_container(id).await;
        if started.is_err() && self.view(id).is_ok_and(|view| self.never_started(&view)) {
            self.keep_of(id, |kept| Kept { wanted: Wanted::Nothing, ..kept.clone() }).await?;
        }
        started
    }

    fn never_started(&self, view: &ContainerView) -> bool {
        let (rules, _) = self.read(view);
        matches!(view.state, ContainerState::Created { .. }) && !rules.auto_remove
    }
}

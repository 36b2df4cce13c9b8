//! What the driver does about the sandbox itself.

use super::outcome::{Outcome, PANICKED};
use super::{Driver, Message, Reply, Unrecorded};
use crate::wanted::{self, ContainerWanted, SandboxWanted};
use crate::write;
use crate::{moment, perform};
use orlop_model::ContainerId;
use orlop_model::container_state::{ContainerEvent, Ended, Force};
use orlop_model::effect::{Effect, Moment};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::internal;
use orlop_model::sandbox_state::{self, SandboxEffect, SandboxEvent, SandboxState};
use orlop_model::time::Timestamp;
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

impl Driver {
    pub(super) async fn ask_sandbox(&mut self, event: Option<SandboxEvent>, wait: Option<(SandboxWanted, Reply)>) {
        let fed = match event {
            Some(event) => self.feed_sandbox(event).await,
            None => Ok(()),
        };
        match (fed, wait) {
            (Ok(()), Some((wanted, reply))) => {
                self.sandbox.wait(wanted, reply);
                // Who waits for the end is answered when the name is free.
                if !matches!(self.sandbox.state, SandboxState::Gone { .. }) {
                    self.answer_sandbox();
                }
            }
            (Err(refused), Some((_, reply))) => drop(reply.send(Err(refused))),
            (Ok(()), None) => {}
            (Err(refused), None) => debug!(sandbox = %self.asked.id, error = %refused, "event refused"),
        }
    }

    pub(super) async fn quietly_feed_sandbox(&mut self, event: SandboxEvent) {
        self.ask_sandbox(Some(event), None).await;
    }

    async fn feed_sandbox(&mut self, event: SandboxEvent) -> Result<()> {
        self.feed_sandbox_at(event, self.node.ports.clock.now()).await
    }

    /// The time of a timer has come, whatever became of the wall clock meanwhile.
    pub(super) async fn sandbox_due(&mut self, at: Timestamp) {
        if self.sandbox.state.due() != Some(at) {
            return;
        }
        self.sandbox.timer_came();
        let now = self.node.ports.clock.now().max(at);
        if let Err(refused) = self.feed_sandbox_at(SandboxEvent::Due, now).await {
            debug!(sandbox = %self.asked.id, error = %refused, "event refused");
        }
    }

    async fn feed_sandbox_at(&mut self, event: SandboxEvent, now: Timestamp) -> Result<()> {
        if let SandboxEvent::Failed(effect, failure) = &event {
            warn!(sandbox = %self.asked.id, ?effect, error = %failure, "effect failed");
            self.sandbox.last_failure = Some(failure.clone());
        }
        let (next, effect) = self.step_sandbox(event, now)?;
        let effect = self.enter_sandbox_state(next, effect, now).await?;
        self.sandbox.owe(effect);
        self.pump_sandbox().await;
        if !matches!(self.sandbox.state, SandboxState::Gone { .. }) {
            self.answer_sandbox();
        }
        self.start_waiting().await;
        Ok(())
    }

    fn step_sandbox(&self, event: SandboxEvent, now: Timestamp) -> Result<sandbox_state::SandboxStep> {
        let id = &self.asked.id;
        sandbox_state::step(&self.sandbox.state, event, now)
            .map_err(|refused| Failure::new(ErrorKind::WrongState, format!("{refused} ({id})")))
    }

    /// Records a state, so that it is known on disk before anything is done, and enters it; returns the effect to be done.
    async fn enter_sandbox_state(
        &mut self,
        next: SandboxState,
        effect: Option<SandboxEffect>,
        now: Timestamp,
    ) -> Result<Option<SandboxEffect>> {
        let (mut next, mut effect) = (next, effect);
        if next == self.sandbox.state {
            return Ok(effect);
        }
        let mut recorded = match self.promise_sandbox(&next).await {
            Ok(()) => self.record_sandbox_state(&next).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &recorded {
            match unrecorded(&self.sandbox.state, &next) {
                Unrecorded::Enter => {}
                Unrecorded::EnterWithoutEffect => effect = None,
                Unrecorded::Refuse => return Err(failure.clone()),
                Unrecorded::Undo => {
                    let failed = SandboxEvent::Failed(SandboxEffect::Attach, failure.clone());
                    (next, effect) = self.step_sandbox(failed, now)?;
                    recorded = self.record_sandbox_state(&next).await;
                }
            }
        }
        self.sandbox.unrecorded = recorded.err().map(|failure| (failure, 0));
        if self.sandbox.unrecorded.is_some() {
            self.record_later(0, Message::RecordSandbox);
        }
        let id = &self.asked.id;
        info!(sandbox = %id, "sandbox: {} -> {}", self.sandbox.state.stage(), next.stage());
        self.sandbox.state = next;
        self.node.registry.publish_sandbox(id, &self.sandbox.state);
        Ok(effect)
    }

    pub(super) async fn record_sandbox_again(&mut self) {
        let Some((_, failures)) = self.sandbox.unrecorded else { return };
        let recorded = self.record_sandbox_state(&self.sandbox.state).await;
        self.sandbox.unrecorded = recorded.err().map(|failure| (failure, failures.saturating_add(1)));
        if let Some((_, failures)) = self.sandbox.unrecorded {
            self.record_later(failures, Message::RecordSandbox);
        }
    }

    async fn record_sandbox_state(&self, state: &SandboxState) -> Result<()> {
        if matches!(state, SandboxState::Gone { .. }) {
            return Ok(());
        }
        let id = &self.asked.id;
        write::sandbox_state(&self.node, id, state).await.map_err(|failure| {
            let failure = failure.while_trying("record the sandbox's state");
            warn!(sandbox = %id, error = %failure, "state could not be recorded");
            failure
        })
    }

    pub(super) fn answer_sandbox(&mut self) {
        self.sandbox.answer(wanted::sandbox);
    }

    pub(super) async fn pump_sandbox(&mut self) {
        if let Some(at) = self.sandbox.arm(self.sandbox.state.due()) {
            self.set_timer(at, Message::SandboxDue(at));
        }
        let Some(effect) = self.sandbox.begin() else { return self.give_up_attach() };
        if effect == SandboxEffect::DropContainers {
            return self.drop_containers().await;
        }
        let event = SandboxEvent::Failed(effect, internal(PANICKED));
        let panicked = Message::SandboxDone { effect, event, ends: Vec::new() };
        let outcome = Outcome::new(self.inbox.clone(), panicked);
        let (node, asked) = (self.node.clone(), Arc::clone(&self.asked));
        let (give_up, given_up) = oneshot::channel();
        self.give_up = (effect == SandboxEffect::Attach).then_some(give_up);
        let work = async move {
            let work = perform::sandbox(&node, &asked, effect);
            let work = async {
                match effect {
                    SandboxEffect::Attach => unless_given_up(work, given_up).await,
                    SandboxEffect::RaiseShim | SandboxEffect::DropShim | SandboxEffect::Detach => work.await,
                    SandboxEffect::DropContainers | SandboxEffect::Forget => work.await,
                }
            };
            let (event, ends) = node.stages.sandbox(&asked.id, effect, work).await;
            outcome.say(Message::SandboxDone { effect, event, ends });
        };
        self.node.ports.clock.spawn("sandbox effect", Box::pin(work));
    }

    /// Nobody waits for an attach that is no longer wanted: it may hang, on a plugin or the kernel. Giving it up is safe, since
    /// what is owed instead ends in a detach, which undoes it however far it came.
    fn give_up_attach(&mut self) {
        if self.sandbox.owed().is_some()
            && let Some(give_up) = self.give_up.take()
        {
            info!(sandbox = %self.asked.id, "the attach under way is given up");
            // One that has ended meanwhile does not mind.
            let _ = give_up.send(());
        }
    }

    // --- its containers ---

    /// The driver's own effect: it ends when the last container has left.
    async fn drop_containers(&mut self) {
        let moment = moment::reach(&self.node, Effect::Sandbox(SandboxEffect::DropContainers), Moment::Before).await;
        if let Err(failure) = moment {
            return self.containers_dropped(SandboxEvent::Failed(SandboxEffect::DropContainers, failure));
        }
        let ids: Vec<_> = self.containers.keys().cloned().collect();
        for id in ids {
            self.quietly_feed_container(&id, ContainerEvent::RemoveAsked(Force::Yes)).await;
        }
        self.containers_gone().await;
    }

    pub(super) async fn containers_gone(&mut self) {
        if self.dropping_containers() && self.containers.is_empty() {
            let moment = moment::reach(&self.node, Effect::Sandbox(SandboxEffect::DropContainers), Moment::After).await;
            let failed = |failure| SandboxEvent::Failed(SandboxEffect::DropContainers, failure);
            self.containers_dropped(moment.map_or_else(failed, |()| SandboxEvent::ContainersGone));
        }
    }

    pub(super) fn dropping_containers(&self) -> bool {
        self.sandbox.under_way() == Some(SandboxEffect::DropContainers)
    }

    pub(super) fn containers_dropped(&self, event: SandboxEvent) {
        self.tell(Message::SandboxDone { effect: SandboxEffect::DropContainers, event, ends: Vec::new() });
    }

    /// No process outlives its shim: each container hears how it ended, and then that nothing of it is left.
    pub(super) async fn shim_dropped(&mut self, event: &SandboxEvent, ends: Vec<(ContainerId, Ended)>) {
        for (id, ended) in ends {
            self.quietly_feed_container(&id, ContainerEvent::Ended(ended)).await;
        }
        if *event != SandboxEvent::ShimDropped {
            return;
        }
        let ids: Vec<_> = self.containers.keys().cloned().collect();
        for id in ids {
            self.quietly_feed_container(&id, ContainerEvent::SandboxDown).await;
        }
    }

    /// Starts what waited for the sandbox, or tells it that there will be none.
    async fn start_waiting(&mut self) {
        if self.after_ready.is_empty() {
            return;
        }
        let why = match &self.sandbox.state {
            SandboxState::Starting { .. } => return,
            SandboxState::Ready { .. } => {
                for (id, reply) in std::mem::take(&mut self.after_ready) {
                    let wait = Some((ContainerWanted::Started, reply));
                    self.ask_container(&id, Some(ContainerEvent::StartAsked), wait).await;
                }
                return;
            }
            SandboxState::Stopping { why, .. } | SandboxState::NotReady { why, .. } => why.clone(),
            SandboxState::Removing { why, .. } | SandboxState::Gone { why } => why.clone(),
            SandboxState::Creating { .. } => None,
        };
        self.fail_alone(why.as_ref()).await;
        let did_not = || Failure::new(ErrorKind::WrongState, format!("sandbox {} did not start", self.asked.id));
        let why = why.unwrap_or_else(did_not).while_trying("start the container's sandbox");
        for (_, reply) in std::mem::take(&mut self.after_ready) {
            // A caller that has left does not mind.
            drop(reply.send(Err(why.clone())));
        }
    }
}

/// Waits for an effect, but not when it is given up.
async fn unless_given_up(
    work: impl Future<Output = (SandboxEvent, Vec<(ContainerId, Ended)>)>,
    given_up: oneshot::Receiver<()>,
) -> (SandboxEvent, Vec<(ContainerId, Ended)>) {
    tokio::select! {
        biased;
        done = work => done,
        Ok(()) = given_up => {
            let failure = Failure::new(ErrorKind::Cancelled, "attach the sandbox's network: it is no longer wanted");
            (SandboxEvent::Failed(SandboxEffect::Attach, failure), Vec::new())
        }
    }
}

fn unrecorded(from: &SandboxState, to: &SandboxState) -> Unrecorded {
    use SandboxState as S;
    match (from, to) {
        (S::Creating { .. } | S::Starting { .. }, S::Creating { .. } | S::Starting { .. } | S::Ready { .. })
        | (S::Creating { .. }, S::NotReady { .. }) => Unrecorded::Undo,
        (S::NotReady { .. }, S::Starting { .. }) => Unrecorded::Refuse,
        (
            S::Creating { .. }
            | S::Starting { .. }
            | S::NotReady { .. }
            | S::Ready { .. }
            | S::Stopping { .. }
            | S::Removing { .. }
            | S::Gone { .. },
            S::Creating { .. }
            | S::Starting { .. }
            | S::NotReady { .. }
            | S::Ready { .. }
            | S::Stopping { .. }
            | S::Removing { .. }
            | S::Gone { .. },
        ) => Unrecorded::Enter,
    }
}

//! What the driver does about containers.

use super::outcome::{Outcome, PANICKED};
use super::{ContainerCell, Driver, Message, Reply, Rules, Unrecorded, no_container};
use crate::perform;
use crate::wanted::{self, ContainerWanted};
use crate::write;
use orlop_model::ContainerId;
use orlop_model::container_state::{self, ContainerEffect, ContainerEvent, ContainerState};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::internal;
use orlop_model::record::ContainerAsked;
use orlop_model::sandbox_state::{SandboxEffect, SandboxEvent, SandboxState};
use orlop_model::time::Timestamp;
use std::sync::Arc;
use tracing::{debug, info, warn};

impl Driver {
    // --- requests ---

    pub(super) async fn create(&mut self, asked: Arc<ContainerAsked>, rules: Rules, reply: Reply) {
        let id = asked.id.clone();
        if let Err(failure) = self.allow_in(rules) {
            self.node.registry.leave_container(&id);
            drop(reply.send(Err(failure.while_trying("create container"))));
            return;
        }
        self.begin_container(asked, Some(reply)).await;
    }

    /// Writes the records of a new container and begins to prepare it.
    pub(super) async fn begin_container(&mut self, asked: Arc<ContainerAsked>, reply: Option<Reply>) {
        let id = asked.id.clone();
        let (state, effect) = container_state::begin(self.node.ports.clock.now());
        let written = write::new_container(&self.node, &asked, &state).await;
        let mut cell = ContainerCell::new(state);
        if let Some(reply) = reply {
            cell.wait(ContainerWanted::Created, reply);
        }
        if written.is_ok() {
            cell.owe(effect);
        }
        self.containers.insert(id.clone(), (asked, cell));
        match written {
            Ok(()) => self.pump_container(&id),
            // What was half written is undone as any failed creation is.
            Err(failure) => {
                let failure = failure.while_trying("write the container's record");
                let event = ContainerEvent::Failed(ContainerEffect::PrepareRootfs, failure);
                self.quietly_feed_container(&id, event).await;
            }
        }
    }

    pub(super) async fn start(&mut self, id: &ContainerId, rules: Rules, reply: Reply) {
        if let Err(failure) = self.allow_start(id, rules) {
            drop(reply.send(Err(failure)));
            return;
        }
        if self.is_alone() && self.must_go_down_first(id) {
            self.after_stopped.retain(|(_, waiting)| !waiting.is_closed());
            self.after_stopped.push((id.clone(), reply));
            return;
        }
        if matches!(self.sandbox.state, SandboxState::Ready { .. }) {
            let wait = Some((ContainerWanted::Started, reply));
            return self.ask_container(id, Some(ContainerEvent::StartAsked), wait).await;
        }
        // The sandbox first, then the container, as one operation.
        self.after_ready.retain(|(_, waiting)| !waiting.is_closed());
        self.after_ready.push((id.clone(), reply));
        self.quietly_feed_sandbox(SandboxEvent::StartAsked).await;
        self.refuse_start();
    }

    fn allow_start(&self, id: &ContainerId, rules: Rules) -> Result<()> {
        use ContainerState as S;
        let (_, cell) = self.containers.get(id).ok_or_else(|| no_container(id))?;
        let tried = format!("start container {id}");
        let refuse = |problem: &str| Err(Failure::new(ErrorKind::WrongState, format!("{tried}: it {problem}")));
        let allow = || self.allow_in(rules).map_err(|failure| failure.while_trying(&tried));
        match &cell.state {
            S::Exited { .. } if !rules.restart => refuse("has ended; create a new one to run it again"),
            S::Running(_) | S::Frozen(_) | S::Lost(_) if !rules.restart => {
                refuse("runs already; a container is started once")
            }
            S::Creating { .. } | S::Created { .. } | S::Starting { .. } => allow(),
            S::Running(_) | S::Frozen(_) | S::Lost(_) | S::Stopping { .. } | S::Exited { .. } => allow(),
            S::Removing(_) | S::Gone { .. } => refuse("is being removed"),
        }
    }

    fn allow_in(&self, rules: Rules) -> Result<()> {
        match &self.sandbox.state {
            SandboxState::Ready { .. } => Ok(()),
            SandboxState::NotReady { .. } | SandboxState::Starting { .. } if rules.in_not_ready => Ok(()),
            // It is down in a moment.
            SandboxState::Stopping { .. } if rules.in_not_ready && self.is_alone() => Ok(()),
            SandboxState::NotReady { .. }
            | SandboxState::Starting { .. }
            | SandboxState::Creating { .. }
            | SandboxState::Stopping { .. }
            | SandboxState::Removing { .. }
            | SandboxState::Gone { .. } => {
                let message = format!(
                    "sandbox {} is not ready (at: {}); run a new one",
                    self.asked.id,
                    self.sandbox.state.stage()
                );
                Err(Failure::new(ErrorKind::WrongState, message))
            }
        }
    }

    // --- events ---

    pub(super) async fn ask_container(
        &mut self,
        id: &ContainerId,
        event: Option<ContainerEvent>,
        wait: Option<(ContainerWanted, Reply)>,
    ) {
        if let (Some(ContainerEvent::FreezeAsked | ContainerEvent::ThawAsked), Some((_, cell))) =
            (&event, self.containers.get_mut(id))
        {
            // Who asks waits for what becomes of this time.
            cell.last_failure = None;
        }
        let fed = match event {
            Some(event) => self.feed_container(id, event, self.node.ports.clock.now()).await,
            None => Ok(()),
        };
        match (fed, wait) {
            (Ok(()), Some((wanted, reply))) => match self.containers.get_mut(id) {
                Some((_, cell)) => {
                    cell.wait(wanted, reply);
                    cell.answer(wanted::container);
                }
                // It went before it could be waited for.
                None => drop(reply),
            },
            (Err(refused), Some((_, reply))) => drop(reply.send(Err(refused))),
            (Ok(()), None) => {}
            (Err(refused), None) => debug!(container = %id, error = %refused, "event refused"),
        }
        self.pump_updates(id).await;
    }

    pub(super) async fn quietly_feed_container(&mut self, id: &ContainerId, event: ContainerEvent) {
        self.ask_container(id, Some(event), None).await;
    }

    /// The time of a timer has come, whatever became of the wall clock meanwhile.
    pub(super) async fn container_due(&mut self, id: &ContainerId, at: Timestamp) {
        match self.containers.get_mut(id) {
            Some((_, cell)) if cell.state.due() == Some(at) => cell.timer_came(),
            // A timer for something that is over.
            Some(_) | None => return,
        }
        let now = self.node.ports.clock.now().max(at);
        if let Err(refused) = self.feed_container(id, ContainerEvent::Due, now).await {
            debug!(container = %id, error = %refused, "event refused");
        }
    }

    async fn feed_container(&mut self, id: &ContainerId, event: ContainerEvent, now: Timestamp) -> Result<()> {
        let Some((_, cell)) = self.containers.get_mut(id) else { return Err(no_container(id)) };
        let mut failed = None;
        if let ContainerEvent::Failed(effect, failure) = &event {
            warn!(container = %id, ?effect, error = %failure, "effect failed");
            cell.last_failure = Some(failure.clone());
            failed = Some(failure.clone());
        }
        let asked = matches!(event, ContainerEvent::StartAsked | ContainerEvent::StopAsked { .. });
        let (next, effect) = step(id, &cell.state, event, now)?;
        let effect = self.enter_container_state(id, next, effect, asked, now).await?;
        let Some((_, cell)) = self.containers.get_mut(id) else { return Ok(()) };
        cell.owe(effect);
        if let ContainerState::Gone { why } = &cell.state {
            self.uncreated.clone_from(why);
            self.node.registry.leave_container(id);
            cell.answer(wanted::container);
            self.containers.remove(id);
            self.containers_gone().await;
            return Ok(());
        }
        self.pump_container(id);
        let Some((_, cell)) = self.containers.get_mut(id) else { return Ok(()) };
        cell.answer(wanted::container);
        let stuck = matches!(&cell.state, ContainerState::Removing(removal) if removal.leave.retry_at.is_some());
        if let (Some(failure), true, true) = (failed, stuck, self.dropping_containers()) {
            self.containers_dropped(SandboxEvent::Failed(SandboxEffect::DropContainers, failure));
        }
        Ok(())
    }

    /// Records a state, so that it is known on disk before anything is done, and enters it; returns the effect to be done.
    async fn enter_container_state(
        &mut self,
        id: &ContainerId,
        next: ContainerState,
        effect: Option<ContainerEffect>,
        asked: bool,
        now: Timestamp,
    ) -> Result<Option<ContainerEffect>> {
        let (mut next, mut effect) = (next, effect);
        let Some((_, cell)) = self.containers.get(id) else { return Ok(None) };
        if next == cell.state {
            return Ok(effect);
        }
        let mut recorded = match self.promise(id, &next).await {
            Ok(()) => self.record_container_state(id, &next).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &recorded {
            let Some((_, cell)) = self.containers.get(id) else { return Ok(None) };
            match unrecorded(&cell.state, &next, asked) {
                Unrecorded::Enter => {}
                Unrecorded::EnterWithoutEffect => effect = None,
                Unrecorded::Refuse => return Err(failure.clone()),
                Unrecorded::Undo => {
                    let failed = ContainerEvent::Failed(ContainerEffect::Check, failure.clone());
                    (next, effect) = step(id, &cell.state, failed, now)?;
                    recorded = self.record_container_state(id, &next).await;
                }
            }
        }
        if recorded.is_err() {
            self.record_later(0, Message::RecordContainer(id.clone()));
        }
        let Some((_, cell)) = self.containers.get_mut(id) else { return Ok(None) };
        cell.unrecorded = recorded.err().map(|failure| (failure, 0));
        info!(container = %id, sandbox = %self.asked.id, "container: {} -> {}", cell.state.stage(), next.stage());
        cell.state = next;
        self.node.registry.publish_container(id, &cell.state);
        Ok(effect)
    }

    pub(super) async fn record_container_again(&mut self, id: &ContainerId) {
        let Some((_, cell)) = self.containers.get(id) else { return };
        let Some((_, failures)) = cell.unrecorded else { return };
        let recorded = self.record_container_state(id, &cell.state).await;
        let Some((_, cell)) = self.containers.get_mut(id) else { return };
        cell.unrecorded = recorded.err().map(|failure| (failure, failures.saturating_add(1)));
        if let Some((_, failures)) = cell.unrecorded {
            self.record_later(failures, Message::RecordContainer(id.clone()));
        } else if matches!(cell.state, ContainerState::Exited { task: Some(_), .. }) {
            // Now the shim may forget it; what is still under way, such as a slow signal, comes first.
            self.quietly_feed_container(id, ContainerEvent::Interrupted).await;
        }
    }

    async fn record_container_state(&self, id: &ContainerId, state: &ContainerState) -> Result<()> {
        if matches!(state, ContainerState::Gone { .. }) {
            return Ok(());
        }
        write::container_state(&self.node, id, state).await.map_err(|failure| {
            let failure = failure.while_trying("record the container's state");
            warn!(container = %id, error = %failure, "state could not be recorded");
            failure
        })
    }

    pub(super) fn pump_container(&mut self, id: &ContainerId) {
        let Some((asked, cell)) = self.containers.get_mut(id) else { return };
        let timer = cell.arm(cell.state.due());
        let effect = cell.begin();
        let (asked, state) = (Arc::clone(asked), cell.state.clone());
        if let Some(at) = timer {
            self.set_timer(at, Message::ContainerDue(id.clone(), at));
        }
        let Some(effect) = effect else { return };
        let event = ContainerEvent::Failed(effect, internal(PANICKED));
        let panicked = Message::ContainerDone { id: id.clone(), effect, event };
        let outcome = Outcome::new(self.inbox.clone(), panicked);
        let (node, sandbox) = (self.node.clone(), Arc::clone(&self.asked));
        let work = async move {
            let work = perform::container(&node, &sandbox, &asked, &state, effect);
            let event = node.stages.container(&asked.id, effect, work).await;
            outcome.say(Message::ContainerDone { id: asked.id.clone(), effect, event });
        };
        self.node.ports.clock.spawn("container effect", Box::pin(work));
    }
}

fn step(
    id: &ContainerId,
    state: &ContainerState,
    event: ContainerEvent,
    now: Timestamp,
) -> Result<container_state::ContainerStep> {
    container_state::step(state, event, now)
        .map_err(|refused| Failure::new(ErrorKind::WrongState, format!("{refused} ({id})")))
}

/// `asked` says whether a caller wants the change and can be told that it did not come.
fn unrecorded(from: &ContainerState, to: &ContainerState, asked: bool) -> Unrecorded {
    use ContainerState as S;
    match (from, to) {
        (S::Creating { .. }, S::Creating { .. } | S::Created { .. }) => Unrecorded::Undo,
        (S::Created { .. } | S::Exited { .. }, S::Starting { .. }) => Unrecorded::Refuse,
        (S::Created { .. }, S::Exited { .. }) if asked => Unrecorded::Refuse,
        // Its end is kept by the shim, which must not forget what no record says.
        (S::Exited { .. }, S::Exited { .. }) => Unrecorded::Enter,
        (_, S::Exited { .. }) => Unrecorded::EnterWithoutEffect,
        (_, S::Creating { .. } | S::Created { .. } | S::Starting { .. } | S::Running(_) | S::Frozen(_))
        | (_, S::Stopping { .. } | S::Lost(_) | S::Removing(_) | S::Gone { .. }) => Unrecorded::Enter,
    }
}

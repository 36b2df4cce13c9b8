//! The driver of one sandbox: the only place where its state and its containers' states change.
//!
//! It never waits for an effect: effects run beside it, at most one per object at a time, and come back as messages; a grace
//! period is a timer; a stop that arrives during creation takes the place of the effects still owed.

use crate::cell::Cell;
use crate::engine::Node;
use crate::perform;
use crate::wanted::{self, ContainerWanted, SandboxWanted};
use orlop_model::container_state::{
    self, ContainerEffect, ContainerEvent, ContainerState, Ended, Exit, Force, Preparing,
};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::record::{ContainerAsked, SandboxAsked};
use orlop_model::sandbox_state::{self, Raising, SandboxEffect, SandboxEvent, SandboxState};
use orlop_model::time::Timestamp;
use orlop_model::{ContainerId, SandboxId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

/// Where a driver listens. Unbounded in type only: callers are bounded by `engine::REQUESTS_MAX`, effects and timers by one per
/// object, reports by one per task.
pub(crate) type Inbox = mpsc::UnboundedSender<Message>;

/// Where the answer goes.
pub(crate) type Reply = oneshot::Sender<Result<()>>;

/// What a driver hears.
pub(crate) enum Message {
    /// Something for the sandbox, and somebody who waits.
    Sandbox { event: Option<SandboxEvent>, wait: Option<(SandboxWanted, Reply)> },
    /// Something for a container, and somebody who waits.
    Container { id: ContainerId, event: Option<ContainerEvent>, wait: Option<(ContainerWanted, Reply)> },
    /// A new container, entered in the registry already.
    Create { asked: Arc<ContainerAsked>, rules: Rules, reply: Reply },
    /// A start, under the rules of the facade that asks.
    Start { id: ContainerId, rules: Rules, reply: Reply },
    /// An effect on the sandbox has ended; with the ends of containers that came to light.
    SandboxDone { event: SandboxEvent, ends: Vec<(ContainerId, Ended)> },
    /// An effect on a container has ended.
    ContainerDone { id: ContainerId, event: ContainerEvent },
    /// Answers when everything sent before it was heard.
    Heard(Reply),
    /// A timer of the sandbox.
    SandboxDue(Timestamp),
    /// A timer of a container.
    ContainerDue(ContainerId, Timestamp),
}

/// What a facade's policy says of creation and start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// An exited container may start again.
    pub(crate) restart: bool,
    /// The sandbox need not be ready.
    pub(crate) in_not_ready: bool,
}

type SandboxCell = Cell<SandboxState, SandboxEffect, SandboxWanted>;
type ContainerCell = Cell<ContainerState, ContainerEffect, ContainerWanted>;

/// Owns one sandbox and its containers.
pub(crate) struct Driver {
    node: Node,
    inbox: Inbox,
    asked: Arc<SandboxAsked>,
    sandbox: SandboxCell,
    containers: BTreeMap<ContainerId, (Arc<ContainerAsked>, ContainerCell)>,
    /// Containers to start once the sandbox is ready.
    after_ready: Vec<ContainerId>,
}

impl Driver {
    /// Makes the driver of a sandbox whose records say this.
    pub(crate) fn new(node: Node, inbox: Inbox, asked: Arc<SandboxAsked>, state: SandboxState) -> Self {
        let sandbox = Cell::new(state);
        Self { node, inbox, asked, sandbox, containers: BTreeMap::new(), after_ready: Vec::new() }
    }

    /// Adds a container whose records say this.
    pub(crate) fn adopt(&mut self, asked: Arc<ContainerAsked>, state: ContainerState) {
        self.containers.insert(asked.id.clone(), (asked, Cell::new(state)));
    }

    /// Builds a new sandbox, then drives it until nothing is left of it.
    pub(crate) async fn begin(mut self, mail: mpsc::UnboundedReceiver<Message>, reply: Reply) {
        let (state, effect) = sandbox_state::begin(self.node.ports.clock.now());
        let records = &self.node.ports.records;
        let id = &self.asked.id;
        let written = match records.put_sandbox(&self.asked).await {
            Ok(()) => records.put_sandbox_state(id, &state).await,
            Err(failure) => Err(failure),
        };
        self.sandbox.state = state;
        self.sandbox.wait(SandboxWanted::Built, reply);
        match written {
            Ok(()) => {
                self.sandbox.owe(effect);
                self.pump_sandbox().await;
            }
            // What was half written is undone as any failed creation is.
            Err(failure) => {
                let failure = failure.while_trying("write the sandbox's record");
                self.quietly_feed_sandbox(SandboxEvent::Failed(SandboxEffect::RaiseShim, failure)).await;
            }
        }
        self.drive(mail).await;
    }

    /// Takes up a sandbox that was recorded: sets its timers, then drives it.
    pub(crate) async fn resume(mut self, mail: mpsc::UnboundedReceiver<Message>) {
        self.pump_sandbox().await;
        let ids: Vec<_> = self.containers.keys().cloned().collect();
        for id in ids {
            self.pump_container(&id);
        }
        self.drive(mail).await;
    }

    /// Drives what is there until nothing is left of it.
    async fn drive(mut self, mut mail: mpsc::UnboundedReceiver<Message>) {
        while !matches!(self.sandbox.state, SandboxState::Gone { .. }) {
            let Some(message) = mail.recv().await else { return };
            self.hear(message).await;
        }
        self.node.registry.leave_sandbox(&self.asked.id);
        info!(sandbox = %self.asked.id, "sandbox is gone");
        // Answered last: who hears that it is gone may use its name again.
        self.answer_sandbox();
        mail.close();
        while let Ok(late) = mail.try_recv() {
            if let Message::Create { asked, .. } = late {
                self.node.registry.leave_container(&asked.id);
            }
        }
    }

    async fn hear(&mut self, message: Message) {
        match message {
            Message::Sandbox { event, wait } => self.ask_sandbox(event, wait).await,
            Message::Container { id, event, wait } => self.ask_container(&id, event, wait).await,
            Message::Create { asked, rules, reply } => self.create(asked, rules, reply).await,
            Message::Start { id, rules, reply } => self.start(&id, rules, reply).await,
            Message::SandboxDone { event, ends } => {
                self.sandbox.ended();
                self.shim_dropped(&event, ends).await;
                self.quietly_feed_sandbox(event).await;
            }
            Message::ContainerDone { id, event } => {
                if let Some((_, cell)) = self.containers.get_mut(&id) {
                    cell.ended();
                }
                self.quietly_feed_container(&id, event).await;
            }
            Message::SandboxDue(at) if self.sandbox.state.due() == Some(at) => {
                self.quietly_feed_sandbox(SandboxEvent::Due).await;
            }
            Message::ContainerDue(id, at) => {
                let due = self.containers.get(&id).and_then(|(_, cell)| cell.state.due());
                if due == Some(at) {
                    self.quietly_feed_container(&id, ContainerEvent::Due).await;
                }
            }
            Message::Heard(reply) => drop(reply.send(Ok(()))),
            // A timer for something that is over.
            Message::SandboxDue(_) => {}
        }
    }

    // --- the sandbox ---

    async fn ask_sandbox(&mut self, event: Option<SandboxEvent>, wait: Option<(SandboxWanted, Reply)>) {
        let fed = match event {
            Some(event) => self.feed_sandbox(event).await,
            None => Ok(()),
        };
        match (fed, wait) {
            (Ok(()), Some((wanted, reply))) => {
                self.sandbox.wait(wanted, reply);
                self.answer_sandbox();
            }
            (Err(refused), Some((_, reply))) => drop(reply.send(Err(refused))),
            (Ok(()), None) => {}
            (Err(refused), None) => debug!(sandbox = %self.asked.id, error = %refused, "event refused"),
        }
    }

    async fn quietly_feed_sandbox(&mut self, event: SandboxEvent) {
        if let Err(refused) = self.feed_sandbox(event).await {
            debug!(sandbox = %self.asked.id, error = %refused, "event refused");
        }
    }

    async fn feed_sandbox(&mut self, event: SandboxEvent) -> Result<()> {
        if let SandboxEvent::Failed(effect, failure) = &event {
            warn!(sandbox = %self.asked.id, ?effect, error = %failure, "effect failed");
            self.sandbox.last_failure = Some(failure.clone());
        }
        let now = self.node.ports.clock.now();
        let (next, effect) = sandbox_state::step(&self.sandbox.state, event, now)
            .map_err(|refused| Failure::new(ErrorKind::WrongState, format!("{refused} ({})", self.asked.id)))?;
        let effect = self.enter_sandbox_state(next, effect).await;
        self.sandbox.owe(effect);
        if !matches!(self.sandbox.state, SandboxState::Gone { .. }) {
            self.answer_sandbox();
        }
        self.pump_sandbox().await;
        self.start_waiting().await;
        Ok(())
    }

    /// Records the state, so that it is known on disk before anything is done; returns the effect that may be done.
    async fn enter_sandbox_state(
        &mut self,
        next: SandboxState,
        effect: Option<SandboxEffect>,
    ) -> Option<SandboxEffect> {
        if next == self.sandbox.state {
            return effect;
        }
        let id = &self.asked.id;
        info!(sandbox = %id, "sandbox: {} -> {}", self.sandbox.state.stage(), next.stage());
        self.sandbox.state = next;
        let state = &self.sandbox.state;
        if matches!(state, SandboxState::Gone { .. }) {
            return effect;
        }
        let recorded = self.node.ports.records.put_sandbox_state(id, state).await;
        self.node.registry.publish_sandbox(id, state);
        let Err(failure) = recorded else { return effect };
        warn!(sandbox = %id, error = %failure, "state could not be recorded");
        match effect {
            // Nothing is built that a crash would forget; taking down goes on, since it frees what stood in the way.
            Some(built @ (SandboxEffect::RaiseShim | SandboxEffect::Attach)) => {
                self.tell(Message::SandboxDone { event: SandboxEvent::Failed(built, failure), ends: Vec::new() });
                None
            }
            other => other,
        }
    }

    fn answer_sandbox(&mut self) {
        self.sandbox.answer(wanted::sandbox);
    }

    async fn pump_sandbox(&mut self) {
        if let Some(at) = self.sandbox.arm(self.sandbox.state.due()) {
            self.set_timer(at, Message::SandboxDue(at));
        }
        let Some(effect) = self.sandbox.begin() else { return };
        if effect == SandboxEffect::DropContainers {
            return self.drop_containers().await;
        }
        let (node, asked, inbox) = (self.node.clone(), Arc::clone(&self.asked), self.inbox.clone());
        let work = async move {
            let (event, ends) = perform::sandbox(&node, &asked, effect).await;
            // A driver that has ended needs no answer.
            drop(inbox.send(Message::SandboxDone { event, ends }));
        };
        self.node.ports.clock.spawn("sandbox effect", Box::pin(work));
    }

    /// The driver's own effect: it ends when the last container has left.
    async fn drop_containers(&mut self) {
        let ids: Vec<_> = self.containers.keys().cloned().collect();
        for id in ids {
            self.quietly_feed_container(&id, ContainerEvent::RemoveAsked(Force::Yes)).await;
        }
        self.containers_gone();
    }

    fn containers_gone(&mut self) {
        if self.dropping_containers() && self.containers.is_empty() {
            self.tell(Message::SandboxDone { event: SandboxEvent::ContainersGone, ends: Vec::new() });
        }
    }

    fn dropping_containers(&self) -> bool {
        self.sandbox.under_way() == Some(SandboxEffect::DropContainers)
    }

    /// No process outlives its shim: what its exit records don't name ended unseen, what was created never starts.
    async fn shim_dropped(&mut self, event: &SandboxEvent, ends: Vec<(ContainerId, Ended)>) {
        if *event != SandboxEvent::ShimDropped {
            return;
        }
        for (id, ended) in ends {
            self.quietly_feed_container(&id, ContainerEvent::Ended(ended)).await;
        }
        let now = self.node.ports.clock.now();
        let ids: Vec<_> = self.containers.keys().cloned().collect();
        for id in ids {
            let Some((_, cell)) = self.containers.get(&id) else { continue };
            if let Some(task) = cell.state.task() {
                let ended = Ended { started: Some(task.started), finished: now, exit: Exit::Unknown };
                self.quietly_feed_container(&id, ContainerEvent::Ended(ended)).await;
            } else if matches!(cell.state, ContainerState::Created { .. }) {
                self.quietly_feed_container(&id, ContainerEvent::StopAsked { grace: Duration::ZERO }).await;
            }
        }
    }

    // --- containers ---

    async fn create(&mut self, asked: Arc<ContainerAsked>, rules: Rules, reply: Reply) {
        let id = asked.id.clone();
        if let Err(failure) = self.allow_in(rules) {
            self.node.registry.leave_container(&id);
            drop(reply.send(Err(failure)));
            return;
        }
        let (state, effect) = container_state::begin(self.node.ports.clock.now());
        let records = &self.node.ports.records;
        let written = match records.put_container(&asked).await {
            Ok(()) => records.put_container_state(&id, &state).await,
            Err(failure) => Err(failure),
        };
        let mut cell = ContainerCell::new(state);
        cell.wait(ContainerWanted::Created, reply);
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

    fn allow_in(&self, rules: Rules) -> Result<()> {
        match &self.sandbox.state {
            SandboxState::Ready { .. } => Ok(()),
            SandboxState::NotReady { .. } | SandboxState::Starting { .. } if rules.in_not_ready => Ok(()),
            SandboxState::NotReady { .. }
            | SandboxState::Starting { .. }
            | SandboxState::Creating { .. }
            | SandboxState::Stopping { .. }
            | SandboxState::Removing { .. }
            | SandboxState::Gone { .. } => {
                let message = format!("sandbox {} is not ready: {}", self.asked.id, self.sandbox.state.stage());
                Err(Failure::new(ErrorKind::WrongState, message))
            }
        }
    }

    async fn start(&mut self, id: &ContainerId, rules: Rules, reply: Reply) {
        let Some((_, cell)) = self.containers.get(id) else {
            drop(reply.send(Err(no_container(id))));
            return;
        };
        let ended = matches!(cell.state, ContainerState::Exited(..));
        let allowed = match (ended && !rules.restart, self.allow_in(rules)) {
            (true, _) => {
                let message = format!("container {id} has ended; create a new one to run it again");
                Err(Failure::new(ErrorKind::WrongState, message))
            }
            (false, allowed) => allowed,
        };
        if let Err(failure) = allowed {
            drop(reply.send(Err(failure)));
            return;
        }
        if matches!(self.sandbox.state, SandboxState::Ready { .. }) {
            return self
                .ask_container(id, Some(ContainerEvent::StartAsked), Some((ContainerWanted::Started, reply)))
                .await;
        }
        // The sandbox first, then the container, as one operation.
        if let Some((_, cell)) = self.containers.get_mut(id) {
            cell.wait(ContainerWanted::Started, reply);
        }
        self.after_ready.push(id.clone());
        self.quietly_feed_sandbox(SandboxEvent::StartAsked).await;
    }

    /// Starts what waited for the sandbox, or tells it that there will be none.
    async fn start_waiting(&mut self) {
        if self.after_ready.is_empty() {
            return;
        }
        match &self.sandbox.state {
            SandboxState::Ready { .. } => {
                for id in std::mem::take(&mut self.after_ready) {
                    self.quietly_feed_container(&id, ContainerEvent::StartAsked).await;
                }
            }
            SandboxState::Starting { .. } => {}
            SandboxState::Creating { .. }
            | SandboxState::Stopping { .. }
            | SandboxState::NotReady { .. }
            | SandboxState::Removing { .. }
            | SandboxState::Gone { .. } => {
                let failure = self.sandbox.last_failure.clone().unwrap_or_else(|| {
                    Failure::new(ErrorKind::WrongState, format!("sandbox {} did not start", self.asked.id))
                });
                for id in std::mem::take(&mut self.after_ready) {
                    if let Some((_, cell)) = self.containers.get_mut(&id) {
                        cell.answer(|wanted, state, last| match wanted {
                            ContainerWanted::Started => Some(Err(failure.clone())),
                            ContainerWanted::Created | ContainerWanted::Ended | ContainerWanted::Gone => {
                                wanted::container(wanted, state, last)
                            }
                        });
                    }
                }
            }
        }
    }

    async fn ask_container(
        &mut self,
        id: &ContainerId,
        event: Option<ContainerEvent>,
        wait: Option<(ContainerWanted, Reply)>,
    ) {
        let fed = match event {
            Some(event) => self.feed_container(id, event).await,
            None => Ok(()),
        };
        match (fed, wait) {
            (Ok(()), Some((wanted, reply))) => match self.containers.get_mut(id) {
                Some((_, cell)) => {
                    cell.wait(wanted, reply);
                    cell.answer(wanted::container);
                }
                None => drop(reply.send(Err(no_container(id)))),
            },
            (Err(refused), Some((_, reply))) => drop(reply.send(Err(refused))),
            (Ok(()), None) => {}
            (Err(refused), None) => debug!(container = %id, error = %refused, "event refused"),
        }
    }

    async fn quietly_feed_container(&mut self, id: &ContainerId, event: ContainerEvent) {
        if let Err(refused) = self.feed_container(id, event).await {
            debug!(container = %id, error = %refused, "event refused");
        }
    }

    async fn feed_container(&mut self, id: &ContainerId, event: ContainerEvent) -> Result<()> {
        let now = self.node.ports.clock.now();
        let Some((_, cell)) = self.containers.get_mut(id) else { return Err(no_container(id)) };
        let mut stuck = None;
        if let ContainerEvent::Failed(effect, failure) = &event {
            warn!(container = %id, ?effect, error = %failure, "effect failed");
            cell.last_failure = Some(failure.clone());
            stuck = Some(failure.clone());
        }
        let (next, effect) = container_state::step(&cell.state, event, now)
            .map_err(|refused| Failure::new(ErrorKind::WrongState, format!("{refused} ({id})")))?;
        let effect = self.enter_container_state(id, next, effect).await;
        let Some((_, cell)) = self.containers.get_mut(id) else { return Ok(()) };
        cell.owe(effect);
        if matches!(cell.state, ContainerState::Gone { .. }) {
            self.node.registry.leave_container(id);
            cell.answer(wanted::container);
            self.containers.remove(id);
            self.containers_gone();
            return Ok(());
        }
        cell.answer(wanted::container);
        self.pump_container(id);
        if let (Some(failure), true) = (stuck, self.dropping_containers()) {
            let event = SandboxEvent::Failed(SandboxEffect::DropContainers, failure);
            self.tell(Message::SandboxDone { event, ends: Vec::new() });
        }
        Ok(())
    }

    /// Records the state, so that it is known on disk before anything is done; returns the effect that may be done.
    async fn enter_container_state(
        &mut self,
        id: &ContainerId,
        next: ContainerState,
        effect: Option<ContainerEffect>,
    ) -> Option<ContainerEffect> {
        let (_, cell) = self.containers.get_mut(id)?;
        if next == cell.state {
            return effect;
        }
        info!(container = %id, sandbox = %self.asked.id, "container: {} -> {}", cell.state.stage(), next.stage());
        cell.state = next;
        if matches!(cell.state, ContainerState::Gone { .. }) {
            return effect;
        }
        let recorded = self.node.ports.records.put_container_state(id, &cell.state).await;
        self.node.registry.publish_container(id, &cell.state);
        let Err(failure) = recorded else { return effect };
        warn!(container = %id, error = %failure, "state could not be recorded");
        match effect {
            // Nothing is built that a crash would forget; taking down goes on, since it frees what stood in the way.
            Some(built @ (ContainerEffect::PrepareRootfs | ContainerEffect::Check | ContainerEffect::Start)) => {
                let event = ContainerEvent::Failed(built, failure);
                self.tell(Message::ContainerDone { id: id.clone(), event });
                None
            }
            other => other,
        }
    }

    fn pump_container(&mut self, id: &ContainerId) {
        let Some((asked, cell)) = self.containers.get_mut(id) else { return };
        let timer = cell.arm(cell.state.due());
        let effect = cell.begin();
        let (asked, state) = (Arc::clone(asked), cell.state.clone());
        if let Some(at) = timer {
            self.set_timer(at, Message::ContainerDue(id.clone(), at));
        }
        let Some(effect) = effect else { return };
        let (node, sandbox, inbox) = (self.node.clone(), Arc::clone(&self.asked), self.inbox.clone());
        let work = async move {
            let event = perform::container(&node, &sandbox, &asked, &state, effect).await;
            // A driver that has ended needs no answer.
            drop(inbox.send(Message::ContainerDone { id: asked.id.clone(), event }));
        };
        self.node.ports.clock.spawn("container effect", Box::pin(work));
    }

    // --- both ---

    fn tell(&self, message: Message) {
        // It can't fail: this driver holds the receiving end.
        drop(self.inbox.send(message));
    }

    fn set_timer(&self, at: Timestamp, message: Message) {
        let (sleep, inbox) = (self.node.ports.clock.sleep_until(at), self.inbox.clone());
        let wait = async move {
            sleep.await;
            drop(inbox.send(message));
        };
        self.node.ports.clock.spawn("timer", Box::pin(wait));
    }
}

fn no_container(id: &ContainerId) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no container with the id {id}"))
}

/// The state that stands in for one that was never written: the daemon died between the two records of a creation.
pub(crate) fn unwritten_sandbox(id: &SandboxId, since: Timestamp) -> SandboxState {
    debug!(sandbox = %id, "no state was recorded");
    SandboxState::Creating { since, stage: Raising::Shim }
}

/// The state that stands in for one that was never written: the daemon died between the two records of a creation.
pub(crate) fn unwritten_container(id: &ContainerId, since: Timestamp) -> ContainerState {
    debug!(container = %id, "no state was recorded");
    ContainerState::Creating { since, stage: Preparing::Rootfs }
}

//! The driver of one sandbox: the only place where its state and its containers' states change.
//!
//! It never waits for an effect: effects run beside it, at most one per object at a time, and come back as messages; a grace
//! period is a timer; a stop that arrives during creation takes the place of the effects still owed.

mod alone;
mod annex;
mod container;
mod outcome;
mod sandbox;
mod update;

use crate::annex::Annexed;
use crate::cell::Cell;
use crate::engine::Node;
use crate::wanted::{ContainerWanted, SandboxWanted};
use crate::write;
use orlop_model::container::Resources;
use orlop_model::container_state::{ContainerEffect, ContainerEvent, ContainerState, Ended, Force, Preparing};
use orlop_model::error::{Failure, Result};
use orlop_model::ports::Observed;
use orlop_model::reconcile;
use orlop_model::record::{ContainerAsked, SandboxAsked};
use orlop_model::sandbox_state::{self, Raising, SandboxEffect, SandboxEvent, SandboxState};
use orlop_model::time::Timestamp;
use orlop_model::{ContainerId, SandboxId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info};

/// Where a driver listens. Unbounded in type only: callers are bounded by `engine::REQUESTS_MAX`, effects by one per object,
/// timers by one per state that wants one, reports by one per task.
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
    /// The removal of a container alone, with its sandbox.
    RemoveAlone { id: ContainerId, force: Force, reply: Reply },
    /// Another annex for a container, when the one that is there is of this generation.
    Annex { id: ContainerId, generation: u64, annex: Vec<u8>, reply: oneshot::Sender<Result<Annexed>> },
    /// A start, under the rules of the facade that asks.
    Start { id: ContainerId, rules: Rules, reply: Reply },
    /// A change of what a container may use.
    Update { id: ContainerId, change: Resources, reply: Reply },
    /// What a container may use was changed, or not.
    Updated { id: ContainerId, result: Result<()> },
    /// Nobody knows what became of a change; it is time to try it again.
    UpdateAgain(ContainerId),
    /// An effect on the sandbox has ended; with the ends of containers that came to light.
    SandboxDone { effect: SandboxEffect, event: SandboxEvent, ends: Vec<(ContainerId, Ended)> },
    /// An effect on a container has ended.
    ContainerDone { id: ContainerId, effect: ContainerEffect, event: ContainerEvent },
    /// The shim of a sandbox that was taken up answers at last.
    Answered(Observed),
    /// Answers when everything sent before it was heard.
    Heard(Reply),
    /// The sandbox's state could not be recorded; it is time to try again.
    RecordSandbox,
    /// A container's state could not be recorded; it is time to try again.
    RecordContainer(ContainerId),
    /// What is asked of a container could not be recorded; it is time to try again.
    RecordAsked { id: ContainerId, failures: u32 },
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

/// What becomes of a state that could not be recorded.
enum Unrecorded {
    /// It is entered all the same, and recorded later: a report stays true, and taking down frees what stood in the way.
    Enter,
    /// Likewise, but until it is recorded the shim keeps what only it would know after a crash.
    EnterWithoutEffect,
    /// It is not entered: the request is refused and nothing has changed.
    Refuse,
    /// It is not entered: a crash would forget what is built, so that it counts as failed.
    Undo,
}

/// Owns one sandbox and its containers.
pub(crate) struct Driver {
    node: Node,
    inbox: Inbox,
    asked: Arc<SandboxAsked>,
    sandbox: SandboxCell,
    /// Gives up the attach under way.
    give_up: Option<oneshot::Sender<()>>,
    containers: BTreeMap<ContainerId, (Arc<ContainerAsked>, ContainerCell)>,
    /// Containers to start once the sandbox is ready, with who asked.
    after_ready: Vec<(ContainerId, Reply)>,
    /// Containers to start once the sandbox is down and can be started anew, with who asked.
    after_stopped: Vec<(ContainerId, Reply)>,
    /// Why the creation of the one container failed.
    uncreated: Option<Failure>,
    /// Containers that were taken up, while their shim has not been heard.
    unheard: BTreeSet<ContainerId>,
    /// Changes of limits that are under way or wait.
    updates: BTreeMap<ContainerId, update::Updates>,
}

impl Driver {
    /// Makes the driver of a sandbox whose records say this.
    pub(crate) fn new(node: Node, inbox: Inbox, asked: Arc<SandboxAsked>, state: SandboxState) -> Self {
        Self {
            node,
            inbox,
            asked,
            sandbox: Cell::new(state),
            give_up: None,
            containers: BTreeMap::new(),
            after_ready: Vec::new(),
            after_stopped: Vec::new(),
            uncreated: None,
            unheard: BTreeSet::new(),
            updates: BTreeMap::new(),
        }
    }

    /// Adds a container whose records say this.
    pub(crate) fn adopt(&mut self, asked: Arc<ContainerAsked>, state: ContainerState) {
        self.unheard.insert(asked.id.clone());
        self.containers.insert(asked.id.clone(), (asked, Cell::new(state)));
    }

    /// Builds a new sandbox, then drives it until nothing is left of it.
    pub(crate) async fn begin(mut self, mail: mpsc::UnboundedReceiver<Message>, reply: Reply) {
        let (state, effect) = sandbox_state::begin(self.node.ports.clock.now());
        let written = write::new_sandbox(&self.node, &self.asked, &state).await;
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
        self.resume_updates().await;
        self.drive(mail).await;
    }

    /// Drives what is there until nothing is left of it.
    async fn drive(mut self, mut mail: mpsc::UnboundedReceiver<Message>) {
        while !matches!(self.sandbox.state, SandboxState::Gone { .. }) {
            let Some(message) = mail.recv().await else { return };
            self.hear(message).await;
            self.settle_alone().await;
        }
        // From here on nothing is entered for this sandbox; what still lies in the mail is dropped with it, and who waits for
        // an answer finds that the sandbox is gone.
        self.node.registry.leave_sandbox(&self.asked.id);
        info!(sandbox = %self.asked.id, "sandbox is gone");
        // Answered last: who hears that it is gone may use its name again.
        self.answer_sandbox();
    }

    async fn hear(&mut self, message: Message) {
        match message {
            Message::Sandbox { event, wait } => self.ask_sandbox(event, wait).await,
            // Decided before the answer that has come meanwhile; nobody would ask this shim again.
            Message::Container { id, event: Some(ContainerEvent::Silent), wait: None }
                if !self.unheard.contains(&id) => {}
            Message::Container { id, event, wait } => self.ask_container(&id, event, wait).await,
            Message::Create { asked, rules, reply } => self.create(asked, rules, reply).await,
            Message::RemoveAlone { id, force, reply } => self.remove_alone(&id, force, reply).await,
            Message::Annex { id, generation, annex, reply } => self.annex(&id, generation, annex, reply).await,
            Message::Start { id, rules, reply } => self.start(&id, rules, reply).await,
            Message::Update { id, change, reply } => self.update(&id, change, reply).await,
            Message::Updated { id, result } => self.updated(&id, result).await,
            Message::UpdateAgain(id) => self.update_again(&id).await,
            Message::SandboxDone { effect, event, ends } => {
                self.sandbox.ended(effect);
                self.shim_dropped(&event, ends).await;
                self.quietly_feed_sandbox(event).await;
            }
            Message::ContainerDone { id, effect, event } => {
                if let Some((_, cell)) = self.containers.get_mut(&id) {
                    cell.ended(effect);
                }
                self.quietly_feed_container(&id, event).await;
            }
            Message::Answered(observed) => self.shim_answered(&observed).await,
            Message::RecordSandbox => self.record_sandbox_again().await,
            Message::RecordContainer(id) => self.record_container_again(&id).await,
            Message::RecordAsked { id, failures } => self.record_asked_again(&id, failures).await,
            Message::SandboxDue(at) => self.sandbox_due(at).await,
            Message::ContainerDue(id, at) => self.container_due(&id, at).await,
            Message::Heard(reply) => drop(reply.send(Ok(()))),
        }
    }

    /// Puts right what a shim that was silent at the start now says. What was asked for since then knows better.
    async fn shim_answered(&mut self, observed: &Observed) {
        let now = self.node.ports.clock.now();
        for id in std::mem::take(&mut self.unheard) {
            let Some((_, cell)) = self.containers.get(&id) else { continue };
            let (had_task, idle) = (cell.state.task().is_some(), cell.idle());
            for event in reconcile::of_container(&cell.state, &id, Some(observed), now) {
                // The end of a task stays true whatever is under way, and is reported only here: a signal finds nobody any more.
                let is_end = matches!(event, ContainerEvent::Ended(_)) && had_task;
                if is_end || idle {
                    info!(container = %id, ?event, "its shim answers");
                    self.quietly_feed_container(&id, event).await;
                }
            }
        }
        if self.sandbox.idle()
            && let Some(event) = reconcile::of_sandbox(&self.sandbox.state, Some(observed))
        {
            self.quietly_feed_sandbox(event).await;
        }
    }

    /// Lets a state that could not be recorded be recorded later.
    fn record_later(&self, failures: u32, message: Message) {
        let at = self.node.ports.clock.now().plus(sandbox_state::retry_pause(failures));
        self.set_timer(at, message);
    }

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
    Failure::new(orlop_model::ErrorKind::NotFound, format!("there is no container with the id {id}"))
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

//! What the driver does for a container alone: one sandbox and one container, which begin and end as one.
//!
//! The container is created in a sandbox that stays a record; its start starts the sandbox first; when it has ended, the sandbox
//! is taken down, and it goes only with its sandbox. What the sandbox must hear is said by [`orlop_model::alone`].

use super::{Driver, Message, Reply, no_container};
use crate::wanted::SandboxWanted;
use crate::write;
use orlop_model::container_state::{self, ContainerEvent, ContainerRefused, ContainerState, Force};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::record::{ContainerAsked, Durability};
use orlop_model::sandbox::SandboxEnd;
use orlop_model::sandbox_state::{self, SandboxEvent, SandboxState};
use orlop_model::{ContainerId, alone};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::warn;

impl Driver {
    /// Whether the sandbox ends with its one container.
    pub(super) fn is_alone(&self) -> bool {
        match self.asked.spec.ends {
            SandboxEnd::WithContainer => true,
            SandboxEnd::OnStop => false,
        }
    }

    /// Creates a container with its sandbox, then drives both until nothing is left of them.
    pub(crate) async fn begin_alone(
        mut self,
        container: Arc<ContainerAsked>,
        mail: mpsc::UnboundedReceiver<Message>,
        reply: Reply,
    ) {
        self.sandbox.state = sandbox_state::begin_alone(self.node.ports.clock.now());
        self.sandbox.wait(SandboxWanted::Built, reply);
        match write::new_sandbox(&self.node, &self.asked, &self.sandbox.state).await {
            Ok(()) => self.begin_container(container, None).await,
            // What was half written is undone as any failed creation is.
            Err(failure) => {
                self.node.registry.leave_container(&container.id);
                self.uncreated = Some(failure.while_trying("write the sandbox's record"));
            }
        }
        self.settle_alone().await;
        self.drive(mail).await;
    }

    /// Lets the sandbox hear what follows from its container's state, and starts what waited until it was down.
    pub(super) async fn settle_alone(&mut self) {
        if !self.is_alone() {
            return;
        }
        let container = self.containers.values().next().map(|(_, cell)| &cell.state);
        if let Some(event) = alone::of_sandbox(&self.sandbox.state, container, self.uncreated.as_ref()) {
            self.quietly_feed_sandbox(event).await;
        }
        self.start_once_down().await;
    }

    /// Whether a start must wait until the sandbox is down: it still has what belongs to the run before.
    pub(super) fn must_go_down_first(&self, id: &ContainerId) -> bool {
        let runs_not = self.containers.get(id).is_some_and(|(_, cell)| match cell.state {
            ContainerState::Created { .. } | ContainerState::Exited { .. } => true,
            ContainerState::Creating { .. } | ContainerState::Starting { .. } | ContainerState::Running(_) => false,
            ContainerState::Frozen(_) | ContainerState::Stopping { .. } | ContainerState::Lost(_) => false,
            ContainerState::Removing(_) | ContainerState::Gone { .. } => false,
        });
        match self.sandbox.state {
            SandboxState::Stopping { .. } => true,
            SandboxState::Ready { .. } => runs_not,
            SandboxState::Creating { .. } | SandboxState::NotReady { .. } | SandboxState::Starting { .. } => false,
            SandboxState::Removing { .. } | SandboxState::Gone { .. } => false,
        }
    }

    /// Starts what waited until the sandbox was down; or says what stands in the way.
    async fn start_once_down(&mut self) {
        if self.after_stopped.is_empty() {
            return;
        }
        let why = match &self.sandbox.state {
            SandboxState::NotReady { .. } => {
                self.after_ready.append(&mut self.after_stopped);
                self.quietly_feed_sandbox(SandboxEvent::StartAsked).await;
                return self.refuse_start();
            }
            SandboxState::Stopping { leave, .. } if leave.retry_at.is_some() => self.sandbox.last_failure.clone(),
            SandboxState::Removing { .. } | SandboxState::Gone { .. } => {
                Some(Failure::new(ErrorKind::WrongState, "the container is being removed"))
            }
            SandboxState::Stopping { .. } | SandboxState::Ready { .. } | SandboxState::Creating { .. } => None,
            SandboxState::Starting { .. } => None,
        };
        let Some(why) = why else { return };
        let why = why.while_trying("take down what is left of the container's last run");
        for (_, reply) in std::mem::take(&mut self.after_stopped) {
            // A caller that has left does not mind.
            drop(reply.send(Err(why.clone())));
        }
    }

    /// Answers who waits for a start that could not even be recorded: the sandbox stays down.
    pub(super) fn refuse_start(&mut self) {
        if !matches!(self.sandbox.state, SandboxState::NotReady { .. }) {
            return;
        }
        let message = format!("the start of sandbox {} could not be recorded; retry later", self.asked.id);
        let why = Failure::new(ErrorKind::Unavailable, message);
        for (_, reply) in std::mem::take(&mut self.after_ready) {
            drop(reply.send(Err(why.clone())));
        }
    }

    /// Lets the container that was to be started end, when its sandbox could not be started.
    pub(super) async fn fail_alone(&mut self, why: Option<&Failure>) {
        let Some(why) = why.filter(|_| self.is_alone()) else { return };
        let mut waiting: Vec<_> = self.after_ready.iter().map(|(id, _)| id.clone()).collect();
        waiting.dedup();
        for id in waiting {
            let why = why.clone().while_trying("start the container's sandbox");
            self.quietly_feed_container(&id, ContainerEvent::SandboxFailed(why)).await;
        }
    }

    /// Removes the container through its sandbox, so that both go as one.
    pub(super) async fn remove_alone(&mut self, id: &ContainerId, force: Force, reply: Reply) {
        if let Some((_, cell)) = self.containers.get(id) {
            let now = self.node.ports.clock.now();
            let stepped = container_state::step(&cell.state, ContainerEvent::RemoveAsked(force), now).map(drop);
            let being_started = matches!(self.sandbox.state, SandboxState::Starting { .. }) && force == Force::No;
            let allowed = if being_started { Err(ContainerRefused::StillRunning) } else { stepped };
            if let Err(refused) = allowed {
                let message = format!("remove container {id}: {refused}");
                drop(reply.send(Err(Failure::new(ErrorKind::WrongState, message))));
                return;
            }
        }
        self.ask_sandbox(Some(SandboxEvent::RemoveAsked), Some((SandboxWanted::Gone, reply))).await;
    }

    // --- records that last ---

    /// Makes what was asked for last as long as it was promised to, before the creation is recorded as done: that of the sandbox
    /// first, since a container whose sandbox is gone could be asked for by nobody.
    pub(super) async fn promise(&mut self, id: &ContainerId, next: &ContainerState) -> Result<()> {
        let Some((asked, cell)) = self.containers.get(id) else { return Err(no_container(id)) };
        let (ContainerState::Creating { .. }, ContainerState::Created { checked }, Durability::Node) =
            (&cell.state, next, asked.durability)
        else {
            return Ok(());
        };
        let asked = ContainerAsked { checked: Some(checked.clone()), ..(**asked).clone() };
        if self.is_alone() {
            write::sandbox(&self.node, &self.asked).await.map_err(|failure| unpromised(failure, id))?;
        }
        write::container(&self.node, &asked).await.map_err(|failure| unpromised(failure, id))?;
        self.enter_asked(asked);
        Ok(())
    }

    /// The same of a sandbox that was built by itself.
    pub(super) async fn promise_sandbox(&self, next: &SandboxState) -> Result<()> {
        match (&self.sandbox.state, next, self.asked.durability) {
            (SandboxState::Creating { .. }, SandboxState::Ready { .. }, Durability::Node) => {
                write::sandbox(&self.node, &self.asked).await.map_err(|failure| unpromised(failure, &self.asked.id))
            }
            (_, _, Durability::Node | Durability::Boot) => Ok(()),
        }
    }
}

fn unpromised(failure: Failure, id: &impl std::fmt::Display) -> Failure {
    let failure = failure.while_trying("record what outlasts the boot");
    warn!(%id, error = %failure, "what was asked for could not be recorded");
    failure
}

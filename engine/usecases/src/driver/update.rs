//! Changes of what a container may use: intent, act, record.
//!
//! ```text
//! created ── recorded ──► answered (its start applies them)
//! running ── recorded as `update` ──► written to its cgroup ──► recorded as `resources` ──► answered
//!                                          └── failed, undone ──► `update` taken back ──► refused
//! ```
//! Beside the container's effects, one at a time: a stop waits for no update. What waits here is what comes while another is
//! under way, or while the process is being started, which must not begin with one half of the limits.

use super::{Driver, Message, Reply, no_container};
use crate::driver::outcome::{Outcome, PANICKED};
use orlop_model::ContainerId;
use orlop_model::container::Resources;
use orlop_model::container_state::ContainerState;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::{Update, internal};
use orlop_model::record::ContainerAsked;
use std::collections::VecDeque;
use std::sync::Arc;
use tracing::{info, warn};

/// Updates of one container that may wait. A kubelet sends one at a time from each of its managers.
const WAITING_MAX: usize = 16;

/// Updates of one container.
#[derive(Default)]
pub(super) struct Updates {
    /// Who waits for the one that is being written.
    under_way: Option<Reply>,
    /// Those that come after it.
    waiting: VecDeque<(Resources, Reply)>,
}

/// What a state allows.
enum Allowed {
    /// To record it, for the start to come.
    Record,
    /// To write it to the cgroup.
    Write,
    /// To wait: the process is being started.
    Later,
    /// Nothing, for this reason.
    No(&'static str),
}

impl Driver {
    /// Takes a change of limits.
    pub(super) async fn update(&mut self, id: &ContainerId, change: Resources, reply: Reply) {
        if !self.containers.contains_key(id) {
            drop(reply.send(Err(no_container(id))));
            return;
        }
        let updates = self.updates.entry(id.clone()).or_default();
        updates.waiting.retain(|(_, reply)| !reply.is_closed());
        if updates.waiting.len() >= WAITING_MAX {
            let message = format!("{WAITING_MAX} updates of container {id} wait already; retry later");
            drop(reply.send(Err(Failure::new(ErrorKind::Exhausted, message))));
            return;
        }
        updates.waiting.push_back((change, reply));
        self.pump_updates(id).await;
    }

    /// Takes up the updates that a daemon before this one has begun.
    pub(super) async fn resume_updates(&mut self) {
        let begun: Vec<_> =
            self.containers.values().filter_map(|(asked, _)| Some((asked, asked.update.clone()?))).collect();
        let begun: Vec<_> = begun.into_iter().map(|(asked, update)| (asked.id.clone(), update)).collect();
        for (id, update) in begun {
            info!(container = %id, "an update was cut off; it is done again");
            // Nobody waits for it any more.
            let (reply, _) = tokio::sync::oneshot::channel();
            self.updates.entry(id.clone()).or_default().waiting.push_back((update, reply));
            self.pump_updates(&id).await;
        }
    }

    /// Does what is waiting, as far as the container's state allows it.
    pub(super) async fn pump_updates(&mut self, id: &ContainerId) {
        while let Some(updates) = self.updates.get_mut(id).filter(|updates| updates.under_way.is_none()) {
            let Some((asked, cell)) = self.containers.get(id) else {
                // Who waits finds that it is gone.
                self.updates.remove(id);
                return;
            };
            let allowed = allowed(&cell.state);
            if matches!(allowed, Allowed::Later) {
                return;
            }
            let Some((change, reply)) = updates.waiting.pop_front() else {
                self.updates.remove(id);
                return;
            };
            let asked = Arc::clone(asked);
            let new = asked.resources.changed_by(&change);
            match allowed {
                Allowed::Record => {
                    let next = ContainerAsked { resources: new, update: None, ..(*asked).clone() };
                    drop(reply.send(self.record_asked(next).await));
                }
                Allowed::Write => self.begin_update(&asked, new, reply).await,
                Allowed::No(why) => {
                    self.give_up_update(&asked).await;
                    let message = format!("update the resources of container {id}: {why}");
                    drop(reply.send(Err(Failure::new(ErrorKind::WrongState, message))));
                }
                Allowed::Later => {}
            }
        }
    }

    /// Records what is to be, then writes it beside the driver.
    async fn begin_update(&mut self, asked: &Arc<ContainerAsked>, new: Resources, reply: Reply) {
        let id = &asked.id;
        let intent = ContainerAsked { update: Some(new.clone()), ..(**asked).clone() };
        if let Err(failure) = self.record_asked(intent).await {
            drop(reply.send(Err(failure)));
            return;
        }
        if let Some(updates) = self.updates.get_mut(id) {
            updates.under_way = Some(reply);
        }
        let panicked = Message::Updated { id: id.clone(), result: Err(internal(PANICKED)) };
        let outcome = Outcome::new(self.inbox.clone(), panicked);
        let (runtime, sandbox, asked) =
            (Arc::clone(&self.node.ports.runtime), Arc::clone(&self.asked), Arc::clone(asked));
        let work = async move {
            let update = Update {
                sandbox_id: &sandbox.id,
                sandbox: &sandbox.spec,
                id: &asked.id,
                old: &asked.resources,
                new: &new,
            };
            let result = runtime.update(update).await.map_err(|failure| failure.while_trying("update the container"));
            outcome.say(Message::Updated { id: asked.id.clone(), result });
        };
        self.node.ports.clock.spawn("update", Box::pin(work));
    }

    /// Records how an update ended, and answers.
    pub(super) async fn updated(&mut self, id: &ContainerId, result: Result<()>) {
        let reply = self.updates.get_mut(id).and_then(|updates| updates.under_way.take());
        let asked = self.containers.get(id).map(|(asked, _)| Arc::clone(asked));
        let Some(asked) = asked else {
            self.updates.remove(id);
            drop(reply.map(|reply| reply.send(Err(no_container(id)))));
            return;
        };
        match &result {
            Ok(()) => {
                let resources = asked.update.clone().unwrap_or_else(|| asked.resources.clone());
                info!(container = %id, version = resources.version, "resources updated");
                // That it can't be recorded makes no difference: the intent is, and leads to the same after a crash.
                self.settle_asked(ContainerAsked { resources, update: None, ..(*asked).clone() }).await;
            }
            Err(failure) => {
                warn!(container = %id, error = %failure, "resources could not be updated");
                self.give_up_update(&asked).await;
            }
        }
        drop(reply.map(|reply| reply.send(result)));
        self.pump_updates(id).await;
    }

    /// Takes back the intent of an update that did not come.
    async fn give_up_update(&mut self, asked: &ContainerAsked) {
        if asked.update.is_some() {
            self.settle_asked(ContainerAsked { update: None, ..asked.clone() }).await;
        }
    }

    /// Enters what is asked of a container, whether it can be recorded or not; it is then recorded later.
    async fn settle_asked(&mut self, next: ContainerAsked) {
        let id = next.id.clone();
        if let Err(failure) = self.record_asked(next.clone()).await {
            warn!(container = %id, error = %failure, "what is asked of it is recorded later");
            self.enter_asked(next);
            self.record_later(0, Message::RecordAsked { id, failures: 1 });
        }
    }

    /// Tries again to record what is asked of a container.
    pub(super) async fn record_asked_again(&mut self, id: &ContainerId, failures: u32) {
        let Some((asked, _)) = self.containers.get(id) else { return };
        if self.record_asked((**asked).clone()).await.is_err() {
            self.record_later(failures, Message::RecordAsked { id: id.clone(), failures: failures.saturating_add(1) });
        }
    }

    /// Records what is asked of a container, and enters it. Not of one that leaves: its record must not come back.
    async fn record_asked(&mut self, next: ContainerAsked) -> Result<()> {
        let leaving = self
            .containers
            .get(&next.id)
            .is_none_or(|(_, cell)| matches!(cell.state, ContainerState::Removing(_) | ContainerState::Gone { .. }));
        if !leaving {
            let written = self.node.ports.records.put_container(&next).await;
            written.map_err(|failure| failure.while_trying("record the container's resources"))?;
        }
        self.enter_asked(next);
        Ok(())
    }

    fn enter_asked(&mut self, next: ContainerAsked) {
        let next = Arc::new(next);
        if let Some((asked, _)) = self.containers.get_mut(&next.id) {
            *asked = Arc::clone(&next);
            self.node.registry.publish_asked(&next);
        }
    }
}

fn allowed(state: &ContainerState) -> Allowed {
    match state {
        ContainerState::Creating { .. } => Allowed::No("it is still being created"),
        ContainerState::Created { .. } => Allowed::Record,
        ContainerState::Starting { .. } => Allowed::Later,
        // Cgroups need no shim: one that is silent is no reason to wait.
        ContainerState::Running(_) | ContainerState::Frozen(_) | ContainerState::Lost(_) => Allowed::Write,
        ContainerState::Stopping { .. } => Allowed::Write,
        ContainerState::Exited { .. } => Allowed::No("it has ended"),
        ContainerState::Removing(_) | ContainerState::Gone { .. } => Allowed::No("it is being removed"),
    }
}

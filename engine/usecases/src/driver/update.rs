//! Changes of what a container may use: intent, act, record.
//!
//! ```text
//! created ── recorded ──► answered (its start applies them)
//! running ── recorded as `update` ──► written to its cgroup ──► recorded as `resources` ──► answered
//!                                          ├── refused, undone ──► `update` taken back ──► refused
//!                                          └── nobody knows ──► tried again until somebody does
//! ```
//! Beside the container's effects, one at a time: a stop waits for no update. What waits here is what comes while another is
//! under way, or while the process is being started, which must not begin with one half of the limits.

use super::{Driver, Message, Reply, no_container};
use crate::driver::outcome::{Outcome, PANICKED};
use crate::{moment, write};
use orlop_model::ContainerId;
use orlop_model::container::Resources;
use orlop_model::container_state::ContainerState;
use orlop_model::effect::Effect;
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
    /// How often nobody knew what became of the last one.
    failures: u32,
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
        let begun = self.containers.iter().filter(|(_, (asked, _))| asked.update.is_some());
        for id in begun.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            info!(container = %id, "an update was cut off; it is done again");
            self.update_again(&id).await;
        }
    }

    /// Does an update again of which nobody knows what became.
    pub(super) async fn update_again(&mut self, id: &ContainerId) {
        let Some((asked, _)) = self.containers.get(id) else { return };
        let Some(update) = asked.update.clone() else { return };
        let updates = self.updates.entry(id.clone()).or_default();
        if updates.under_way.is_none() {
            // Nobody waits for it any more.
            updates.waiting.push_front((update, tokio::sync::oneshot::channel().0));
            self.pump_updates(id).await;
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
                if updates.failures == 0 {
                    self.updates.remove(id);
                }
                return;
            };
            let asked = Arc::clone(asked);
            // On top of one of which nobody knows what became: that one is then done with it.
            let new = asked.update.as_ref().unwrap_or(&asked.resources).changed_by(&change);
            match allowed {
                Allowed::Record => drop(reply.send(self.record_update(&asked, new).await)),
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

    /// Records what a container that has no cgroup yet may use. What could never be written is refused now, not at its start.
    async fn record_update(&mut self, asked: &ContainerAsked, new: Resources) -> Result<()> {
        let checked = self.node.ports.runtime.check_limits(&new);
        checked.map_err(|failure| failure.while_trying(format!("update the resources of container {}", asked.id)))?;
        self.record_asked(ContainerAsked { resources: new, update: None, ..asked.clone() }).await
    }

    /// Records what is to be, then writes it beside the driver.
    async fn begin_update(&mut self, asked: &Arc<ContainerAsked>, new: Resources, reply: Reply) {
        let id = &asked.id;
        let intent = ContainerAsked { update: Some(new.clone()), ..(**asked).clone() };
        if let Err(failure) = self.record_asked(intent).await {
            if asked.update.is_some() {
                self.update_later(id);
            }
            drop(reply.send(Err(failure)));
            return;
        }
        if let Some(updates) = self.updates.get_mut(id) {
            updates.under_way = Some(reply);
        }
        let panicked = Message::Updated { id: id.clone(), result: Err(internal(PANICKED)) };
        let outcome = Outcome::new(self.inbox.clone(), panicked);
        let (node, sandbox, asked) = (self.node.clone(), Arc::clone(&self.asked), Arc::clone(asked));
        let work = async move {
            let update = Update {
                sandbox_id: &sandbox.id,
                sandbox: &sandbox.spec,
                id: &asked.id,
                old: &asked.resources,
                new: &new,
            };
            let written = moment::around(&node, Effect::Update, node.ports.runtime.update(update)).await;
            let result = written.map_err(|failure| failure.while_trying("update the container"));
            outcome.say(Message::Updated { id: asked.id.clone(), result });
        };
        self.node.ports.clock.spawn("update", Box::pin(work));
    }

    /// Records how an update ended, and answers.
    pub(super) async fn updated(&mut self, id: &ContainerId, result: Result<()>) {
        let Some(reply) = self.updates.get_mut(id).and_then(|updates| updates.under_way.take()) else { return };
        let Some((asked, _)) = self.containers.get(id) else {
            self.updates.remove(id);
            drop(reply.send(Err(no_container(id))));
            return;
        };
        let asked = Arc::clone(asked);
        let answer = match result {
            Ok(()) => self.take_as_done(&asked).await,
            Err(failure) => {
                warn!(container = %id, error = %failure, "resources could not be updated");
                if is_open(&failure) {
                    self.update_later(id);
                } else {
                    self.give_up_update(&asked).await;
                }
                Err(failure)
            }
        };
        drop(reply.send(answer));
        self.pump_updates(id).await;
    }

    fn update_later(&mut self, id: &ContainerId) {
        let updates = self.updates.entry(id.clone()).or_default();
        let failures = updates.failures;
        updates.failures = failures.saturating_add(1);
        self.record_later(failures, Message::UpdateAgain(id.clone()));
    }

    /// Takes what was intended for what is. It is acknowledged once it is recorded: until then a crash would show it as open.
    async fn take_as_done(&mut self, asked: &ContainerAsked) -> Result<()> {
        let Some(resources) = asked.update.clone() else { return Ok(()) };
        info!(container = %asked.id, version = resources.version, "resources updated");
        self.settle_asked(ContainerAsked { resources, update: None, ..asked.clone() }).await
    }

    /// Takes back the intent of an update that did not come.
    async fn give_up_update(&mut self, asked: &ContainerAsked) {
        if asked.update.is_some() {
            // That it can't be recorded makes no difference to who is refused; it is recorded later.
            drop(self.settle_asked(ContainerAsked { update: None, ..asked.clone() }).await);
        }
    }

    /// Enters what is asked of a container, whether it can be recorded now or later; no update of it is open any more.
    async fn settle_asked(&mut self, next: ContainerAsked) -> Result<()> {
        if let Some(updates) = self.updates.get_mut(&next.id) {
            updates.failures = 0;
        }
        self.enter_asked(next.clone());
        self.record_asked(next).await
    }

    /// Records what is asked of a container, and enters it. When that fails, what was entered before is recorded once more:
    /// nobody knows what is on disk.
    pub(super) async fn record_asked(&mut self, next: ContainerAsked) -> Result<()> {
        let written = self.write_asked(&next).await;
        match written {
            Ok(()) => self.enter_asked(next),
            Err(_) => self.record_later(0, Message::RecordAsked { id: next.id, failures: 1 }),
        }
        written
    }

    /// Tries again to record what is asked of a container.
    pub(super) async fn record_asked_again(&mut self, id: &ContainerId, failures: u32) {
        let Some((asked, _)) = self.containers.get(id) else { return };
        if self.write_asked(&Arc::clone(asked)).await.is_err() {
            self.record_later(failures, Message::RecordAsked { id: id.clone(), failures: failures.saturating_add(1) });
        }
    }

    /// Writes what is asked of a container, unless it leaves: its record must not come back.
    async fn write_asked(&self, asked: &ContainerAsked) -> Result<()> {
        use ContainerState as S;
        let Some((_, cell)) = self.containers.get(&asked.id) else { return Ok(()) };
        if matches!(cell.state, S::Removing(_) | S::Gone { .. }) {
            return Ok(());
        }
        write::container(&self.node, asked).await.map_err(|failure| {
            let failure = failure.while_trying("record what is asked of the container");
            warn!(container = %asked.id, error = %failure, "what is asked of it could not be recorded");
            failure
        })
    }

    pub(super) fn enter_asked(&mut self, next: ContainerAsked) {
        let next = Arc::new(next);
        if let Some((asked, _)) = self.containers.get_mut(&next.id) {
            *asked = Arc::clone(&next);
            self.node.registry.publish_asked(&next);
        }
    }
}

/// Says whether a failure leaves open what became of an update: a kernel that refuses it says so, and its files are as before.
fn is_open(failure: &Failure) -> bool {
    matches!(failure.kind, ErrorKind::TimedOut | ErrorKind::Unavailable)
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

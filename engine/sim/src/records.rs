//! Records in memory.

use crate::{Bug, Node, World};
use orlop_model::container_state::ContainerState;
use orlop_model::error::Result;
use orlop_model::ports::{Answer, Records};
use orlop_model::record::{ContainerAsked, Loaded, SandboxAsked};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, SandboxId};

/// What a failing write is called.
pub(crate) const PUT: &str = "put record";

/// A state that is recorded when the next one comes.
pub(crate) enum Late {
    Sandbox(SandboxId, SandboxState),
    Container(ContainerId, ContainerState),
}

impl Node {
    /// Records a state, or the one before it, when this orlop is late with records.
    fn record(&mut self, state: Late) {
        let now = if self.has(Bug::ActBeforeRecord) { self.late_record.replace(state) } else { Some(state) };
        match now {
            Some(Late::Sandbox(id, state)) => {
                if let Some((_, there)) = self.records.sandboxes.iter_mut().find(|(there, _)| there.id == id) {
                    *there = Some(state);
                }
            }
            Some(Late::Container(id, state)) => {
                if let Some((_, there)) = self.records.containers.iter_mut().find(|(there, _)| there.id == id) {
                    *there = Some(state);
                }
            }
            None => {}
        }
    }
}

impl Records for World {
    fn load(&self) -> Answer<'_, Result<Loaded>> {
        let records = self.node().records.clone();
        Box::pin(std::future::ready(Ok(records)))
    }

    fn put_sandbox<'a>(&'a self, asked: &'a SandboxAsked) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect(PUT).await?;
            put(&mut self.node().records.sandboxes, asked, |there| there.id == asked.id);
            self.answers(()).await
        })
    }

    fn put_sandbox_state<'a>(&'a self, id: &'a SandboxId, state: &'a SandboxState) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect(PUT).await?;
            self.node().record(Late::Sandbox(id.clone(), state.clone()));
            self.answers(()).await
        })
    }

    fn forget_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("forget").await?;
            self.node().records.sandboxes.retain(|(asked, _)| asked.id != *id);
            self.answers(()).await
        })
    }

    fn put_container<'a>(&'a self, asked: &'a ContainerAsked) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect(PUT).await?;
            put(&mut self.node().records.containers, asked, |there| there.id == asked.id);
            self.answers(()).await
        })
    }

    fn put_container_state<'a>(&'a self, id: &'a ContainerId, state: &'a ContainerState) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect(PUT).await?;
            self.node().record(Late::Container(id.clone(), state.clone()));
            self.answers(()).await
        })
    }

    fn forget_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("forget").await?;
            self.node().records.containers.retain(|(asked, _)| asked.id != *id);
            self.answers(()).await
        })
    }
}

fn put<A: Clone, S>(records: &mut Vec<(A, Option<S>)>, asked: &A, same: impl Fn(&A) -> bool) {
    match records.iter_mut().find(|(there, _)| same(there)) {
        Some((there, _)) => *there = asked.clone(),
        None => records.push((asked.clone(), None)),
    }
}

//! Records in memory.

use crate::World;
use orlop_model::container_state::ContainerState;
use orlop_model::error::Result;
use orlop_model::ports::{Answer, Records};
use orlop_model::record::{ContainerAsked, Loaded, SandboxAsked};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, SandboxId};

impl Records for World {
    fn load(&self) -> Answer<'_, Result<Loaded>> {
        let records = self.node().records.clone();
        Box::pin(std::future::ready(Ok(records)))
    }

    fn put_sandbox<'a>(&'a self, asked: &'a SandboxAsked) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("put record").await?;
            put(&mut self.node().records.sandboxes, asked, |there| there.id == asked.id);
            self.answers(()).await
        })
    }

    fn put_sandbox_state<'a>(&'a self, id: &'a SandboxId, state: &'a SandboxState) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("put record").await?;
            if let Some((_, there)) = self.node().records.sandboxes.iter_mut().find(|(there, _)| there.id == *id) {
                *there = Some(state.clone());
            }
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
            self.effect("put record").await?;
            put(&mut self.node().records.containers, asked, |there| there.id == asked.id);
            self.answers(()).await
        })
    }

    fn put_container_state<'a>(&'a self, id: &'a ContainerId, state: &'a ContainerState) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("put record").await?;
            if let Some((_, there)) = self.node().records.containers.iter_mut().find(|(there, _)| there.id == *id) {
                *there = Some(state.clone());
            }
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

//! One container watched: whether it runs, and when that changes.

use crate::annex::Annex;
use orlop_model::ContainerId;
use orlop_model::Timestamp;
use orlop_model::container_state::{ContainerState, Ended};
use orlop_usecases::{Changes, ContainerView, Facade, News};
use std::sync::Arc;

/// One container watched.
#[derive(Debug)]
pub(crate) struct Life {
    facade: Facade,
    id: ContainerId,
    changes: Changes,
    /// As it is listed; `None` when it is gone.
    view: Option<Arc<ContainerView>>,
    /// The last one there was.
    last: Option<Arc<ContainerView>>,
}

impl Life {
    /// Watches a container from now on.
    pub(crate) fn watch(facade: &Facade, id: &ContainerId) -> Self {
        let (views, changes) = facade.changes();
        let view = views.into_iter().find(|view| view.asked.id == *id);
        Self { facade: facade.clone(), id: id.clone(), changes, last: view.clone(), view }
    }

    /// Returns it as it is; `None` when it is gone.
    pub(crate) fn view(&self) -> Option<&Arc<ContainerView>> {
        self.view.as_ref()
    }

    /// Says whether there is a process, or one about to be.
    pub(crate) fn runs(&self) -> bool {
        self.view.as_ref().is_some_and(|view| match &view.state {
            ContainerState::Starting { .. } | ContainerState::Running(_) | ContainerState::Frozen(_) => true,
            ContainerState::Stopping { .. } | ContainerState::Lost(_) => true,
            ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Exited { .. } => false,
            ContainerState::Removing(_) | ContainerState::Gone { .. } => false,
        })
    }

    /// Says whether it has ended and a policy is about to start it again.
    pub(crate) fn is_restarting(&self) -> bool {
        self.view.as_ref().is_some_and(|view| Annex::read(view).is_restarting(&view.state))
    }

    /// Returns how it ended last, where that is known.
    pub(crate) fn end(&self) -> Option<&Ended> {
        self.last.as_ref().and_then(|view| view.state.end())
    }

    /// Returns when its process was started.
    pub(crate) fn started(&self) -> Option<Timestamp> {
        self.view.as_ref().and_then(|view| view.state.task()).map(|task| task.started)
    }

    /// Waits until what has ended holds neither ports nor an address any more: who waits for the end may want them at once.
    pub(crate) async fn is_down(&self) {
        self.facade.wait_down(&self.id).await;
    }

    /// Waits until its process has been started, though it may have ended since; false when it is gone without that.
    pub(crate) async fn next_run(&mut self) -> bool {
        let before = self.end().map(|ended| ended.finished);
        loop {
            let end = self.end().map(|ended| ended.finished);
            // About to start, it has no end, and streams only a moment later.
            if self.started().is_some() || (end.is_some() && end != before) {
                return true;
            }
            if self.view.is_none() {
                return false;
            }
            self.changed().await;
        }
    }

    /// Waits until anything about it changes.
    pub(crate) async fn changed(&mut self) {
        loop {
            match self.changes.next().await {
                Some(News::Change(change)) if change.id == self.id => {
                    self.last = change.new.clone().or_else(|| change.old.clone()).or_else(|| self.last.take());
                    self.view.clone_from(&change.new);
                    return;
                }
                Some(News::Change(_)) => {}
                Some(News::Missed(_)) => {
                    self.view = self.facade.containers().into_iter().find(|view| view.asked.id == self.id);
                    if self.view.is_some() {
                        self.last.clone_from(&self.view);
                    }
                    return;
                }
                // The engine has ended, and with it everything that waits here.
                None => std::future::pending().await,
            }
        }
    }
}

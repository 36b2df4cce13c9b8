//! GetContainerEvents: what becomes of pods and containers, told as it happens, to any number of listeners.
//!
//! Told from snapshots: a listener that is slow hears of each thing later, and of nothing that lasts too little. What is there
//! when somebody begins to listen is not told; a kubelet lists it. A pod is told of under its own id.

mod told;

use crate::annex::Annexes;
use crate::proto::{
    ContainerEventResponse, ContainerEventType, ContainerStatus, GetEventsRequest, PodSandboxState, PodSandboxStatus,
};
use crate::service::Cri;
use crate::{container, sandbox};
use orlop_model::Failure;
use orlop_usecases::{ContainerView, Facade, SandboxView, Stirs};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::watch;
use tokio_stream::Stream;
use told::{News, Told};
use tonic::Status;
use tracing::warn;

/// Begins to tell.
pub(crate) fn begin(
    cri: &Cri,
    _: GetEventsRequest,
) -> Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, Status>> + Send>> {
    // In this order: what changes between the two is seen at once.
    let stirs = cri.facade.stirs();
    let told = Told::from(&cri.facade.snapshot());
    let listener = Listener {
        facade: cri.facade.clone(),
        annexes: Arc::clone(&cri.annexes),
        ending: cri.ending.clone(),
        stirs,
        told,
        waiting: VecDeque::new(),
    };
    Box::pin(Events { next: Box::pin(listener.next()) })
}

/// Who listens, and what it has not heard yet: at most what differs between two looks.
struct Listener {
    facade: Facade,
    annexes: Arc<Annexes>,
    ending: watch::Receiver<bool>,
    stirs: Stirs,
    told: Told,
    waiting: VecDeque<News>,
}

/// One event, and who waits for the one after it.
type Next = Option<(ContainerEventResponse, Listener)>;

impl Listener {
    /// Waits for the next event; `None` when the server ends.
    async fn next(mut self) -> Next {
        loop {
            while let Some(news) = self.waiting.pop_front() {
                match self.event(&news) {
                    Ok(event) => return Some((event, self)),
                    // One damaged record must not hide all others.
                    Err(failure) => warn!(id = news.id, error = %failure, "an event is not told"),
                }
            }
            tokio::select! {
                stirred = self.stirs.next() => stirred?,
                _ = self.ending.wait_for(|ending| *ending) => return None,
            }
            self.waiting.extend(self.told.look(&self.facade.snapshot()));
        }
    }

    fn event(&self, news: &News) -> Result<ContainerEventResponse, Failure> {
        let statuses = news.containers.iter().map(|view| self.container(view));
        Ok(ContainerEventResponse {
            container_id: news.id.clone(),
            container_event_type: news.what as i32,
            created_at: news.at.0,
            pod_sandbox_status: Some(self.sandbox(&news.sandbox, gone(news))?),
            containers_statuses: statuses.collect::<Result<_, _>>()?,
        })
    }

    fn sandbox(&self, view: &Arc<SandboxView>, gone: bool) -> Result<PodSandboxStatus, Failure> {
        let mut status = sandbox::status::of_view(view, &*self.annexes.sandbox(&view.asked)?);
        if gone {
            status.state = PodSandboxState::SandboxNotready as i32;
        }
        Ok(status)
    }

    fn container(&self, view: &Arc<ContainerView>) -> Result<ContainerStatus, Failure> {
        let config = self.annexes.container(&view.asked)?.config.clone().unwrap_or_default();
        Ok(container::status::of_view(view, config))
    }
}

/// Whether the pod itself has stopped or is gone: then it is shown as it was last, which may have been before.
fn gone(news: &News) -> bool {
    let ended = [ContainerEventType::ContainerStoppedEvent, ContainerEventType::ContainerDeletedEvent];
    ended.contains(&news.what) && news.id == news.sandbox.asked.id.as_str()
}

/// The events as a stream.
struct Events {
    next: Pin<Box<dyn Future<Output = Next> + Send>>,
}

impl Stream for Events {
    type Item = Result<ContainerEventResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.next.as_mut().poll(context)) {
            Some((event, listener)) => {
                self.next = Box::pin(listener.next());
                Some(Ok(event))
            }
            None => {
                self.next = Box::pin(std::future::pending());
                None
            }
        })
    }
}

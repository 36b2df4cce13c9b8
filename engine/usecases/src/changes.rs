//! What changes, told to whoever has subscribed: each change of a container of one namespace, in order, without gaps unknown.
//!
//! Telling never waits: who is slow misses changes, learns that it did, and reads anew.

use crate::registry::ContainerView;
use orlop_model::{ContainerId, Namespace, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Changes kept for a subscriber that has not come to them yet: some for each of 200 containers that are started at once.
pub(crate) const CHANGES_MAX: usize = 2048;

/// One change of a container: of its state, or of what is asked of it (annex, limits).
#[derive(Clone, Debug)]
pub struct Change {
    /// Counts the changes of the namespace, by one, since somebody first subscribed.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Of which container.
    pub id: ContainerId,
    /// As lists showed it before; `None` when they did not: it was being created.
    pub old: Option<Arc<ContainerView>>,
    /// As lists show it now; `None` when they don't any more: it is gone.
    pub new: Option<Arc<ContainerView>>,
}

/// What a subscriber hears.
#[derive(Clone, Debug)]
pub enum News {
    /// A change.
    Change(Arc<Change>),
    /// It was too slow, and so many changes are lost to it: read anew what matters.
    Missed(u64),
}

/// A subscription. Dropped, it is over.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Arc<Change>>,
}

/// Who is told, by namespace. The registry keeps it under its own lock, so that a subscription begins exactly at a snapshot.
#[derive(Default)]
pub(crate) struct Hubs {
    hubs: HashMap<Namespace, Hub>,
}

struct Hub {
    sequence: u64,
    sender: broadcast::Sender<Arc<Change>>,
}

// === impl Changes ===

impl Changes {
    /// Waits for the next change; `None` when there will be none, since the engine has ended.
    pub async fn next(&mut self) -> Option<News> {
        match self.receiver.recv().await {
            Ok(change) => Some(News::Change(change)),
            Err(RecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

// === impl Hubs ===

impl Hubs {
    pub(crate) fn subscribe(&mut self, namespace: &Namespace) -> Changes {
        let new = || Hub { sequence: 0, sender: broadcast::channel(CHANGES_MAX).0 };
        let hub = self.hubs.entry(namespace.clone()).or_insert_with(new);
        Changes { receiver: hub.sender.subscribe() }
    }

    /// Tells of a change, if anybody has ever subscribed and lists show it.
    pub(crate) fn tell(
        &mut self,
        at: Timestamp,
        of: &ContainerView,
        old: Option<Arc<ContainerView>>,
        new: Option<Arc<ContainerView>>,
    ) {
        let Some(hub) = self.hubs.get_mut(&of.asked.spec.namespace) else { return };
        if old.is_none() && new.is_none() {
            return;
        }
        hub.sequence += 1;
        let change = Change { sequence: hub.sequence, at, id: of.asked.id.clone(), old, new };
        // That nobody listens any more is no fault.
        drop(hub.sender.send(Arc::new(change)));
    }
}

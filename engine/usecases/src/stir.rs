//! That something of a namespace is not as it was, told to whoever looks at all of it anew: level-triggered, so nothing that
//! lasts is missed, and nothing piles up for who is slow. Who needs each change by itself subscribes to [`crate::Changes`].

use crate::registry::{ContainerView, SandboxView};
use orlop_model::{Namespace, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What lists show of a namespace, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The moment: every change told of so far is in it, and none that comes after.
    pub at: Timestamp,
    /// Sandboxes, oldest first.
    pub sandboxes: Vec<Arc<SandboxView>>,
    /// Containers, oldest first.
    pub containers: Vec<Arc<ContainerView>>,
}

/// A subscription. Dropped, it is over.
#[derive(Debug)]
pub struct Stirs {
    receiver: watch::Receiver<()>,
}

/// Who is told, by namespace. The registry keeps it under its own lock.
#[derive(Default)]
pub(crate) struct Stirring {
    senders: HashMap<Namespace, watch::Sender<()>>,
}

// === impl Stirs ===

impl Stirs {
    /// Waits until something has changed since it last said so; `None` when nothing will any more, since the engine has ended.
    pub async fn next(&mut self) -> Option<()> {
        self.receiver.changed().await.ok()
    }
}

// === impl Stirring ===

impl Stirring {
    pub(crate) fn subscribe(&mut self, namespace: &Namespace) -> Stirs {
        let sender = self.senders.entry(namespace.clone()).or_insert_with(|| watch::channel(()).0);
        Stirs { receiver: sender.subscribe() }
    }

    /// Tells whoever has subscribed.
    pub(crate) fn stir(&self, namespace: &Namespace) {
        if let Some(sender) = self.senders.get(namespace) {
            sender.send_replace(());
        }
    }
}

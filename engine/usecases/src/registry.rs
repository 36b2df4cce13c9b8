//! What exists, as everybody may see it: snapshots, names, and where each object's driver listens.

use crate::changes::{Changes, Hubs};
use crate::driver::Inbox;
use crate::reading::Reading;
use crate::stir::{Snapshot, Stirring, Stirs};
use orlop_model::container_state::ContainerState;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::Clock;
use orlop_model::record::{ContainerAsked, SandboxAsked};
use orlop_model::sandbox::SandboxEnd;
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, ImageId, Namespace, NaturalKey, SandboxId, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A sandbox as lists and status show it. A snapshot: reading it waits for nothing.
#[derive(Clone, Debug)]
pub struct SandboxView {
    /// What was asked for.
    pub asked: Arc<SandboxAsked>,
    /// What is.
    pub state: SandboxState,
}

/// A container as lists and status show it. A snapshot: reading it waits for nothing.
#[derive(Clone, Debug)]
pub struct ContainerView {
    /// What was asked for.
    pub asked: Arc<ContainerAsked>,
    /// What is.
    pub state: ContainerState,
    /// What its facade has made of the annex.
    pub(crate) reading: Reading,
}

/// Everything that exists. Its lock is held for look-ups only, never while something is done.
pub(crate) struct Registry {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
pub(crate) struct Inner {
    sandboxes: BTreeMap<SandboxId, (Arc<SandboxView>, Inbox)>,
    containers: BTreeMap<ContainerId, Arc<ContainerView>>,
    sandbox_names: HashMap<(Namespace, NaturalKey), SandboxId>,
    container_names: HashMap<(SandboxId, NaturalKey), ContainerId>,
    gone: u64,
    hubs: Hubs,
    stirring: Stirring,
}

/// Who has a name.
pub(crate) enum Named<V> {
    /// Nobody had; it is the caller's now.
    Free,
    /// Somebody has.
    Taken(Arc<V>),
}

impl Registry {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inner: Mutex::default(), clock }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock was held left maps that are whole: every change is one insertion or removal.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all there is, of every namespace, in no order that matters.
    pub(crate) fn everything(&self) -> (Vec<Arc<SandboxView>>, Vec<Arc<ContainerView>>) {
        let inner = self.lock();
        let sandboxes = inner.sandboxes.values().map(|(view, _)| Arc::clone(view));
        (sandboxes.collect(), inner.containers.values().cloned().collect())
    }

    // --- sandboxes ---

    /// Enters a sandbox under its name, unless the name is taken.
    pub(crate) fn enter_sandbox(&self, view: SandboxView, inbox: &Inbox) -> Named<SandboxView> {
        let mut inner = self.lock();
        let name = (view.asked.spec.namespace.clone(), view.asked.spec.key.clone());
        let by_name = inner.sandbox_names.get(&name).and_then(|id| inner.sandboxes.get(id));
        if let Some(taken) = by_name.or_else(|| inner.sandboxes.get(&view.asked.id)) {
            return Named::Taken(Arc::clone(&taken.0));
        }
        inner.sandbox_names.insert(name, view.asked.id.clone());
        inner.sandboxes.insert(view.asked.id.clone(), (Arc::new(view), inbox.clone()));
        Named::Free
    }

    pub(crate) fn publish_sandbox(&self, id: &SandboxId, state: &SandboxState) {
        let mut inner = self.lock();
        let container = inner.alone_in(id);
        let old = container.as_ref().and_then(|view| inner.shown(view));
        if let Some((view, _)) = inner.sandboxes.get_mut(id) {
            *view = Arc::new(SandboxView { asked: Arc::clone(&view.asked), state: state.clone() });
            let asked = Arc::clone(&view.asked);
            inner.stirring.stir(&asked.spec.namespace);
        }
        // A container alone is shown from the moment on at which its sandbox is, too.
        let new = container.as_ref().and_then(|view| inner.shown(view));
        if let Some(view) = container.filter(|_| old.is_some() != new.is_some()) {
            inner.hubs.tell(self.clock.now(), &view, old, new);
        }
    }

    /// Takes out a sandbox, with containers that were entered for it while its driver came to its end.
    pub(crate) fn leave_sandbox(&self, id: &SandboxId) {
        let mut inner = self.lock();
        let left = inner.containers.values().filter(|view| view.asked.spec.sandbox == *id).cloned();
        for view in left.collect::<Vec<_>>() {
            inner.leave_container(&view.asked.id, self.clock.now());
        }
        if let Some((view, _)) = inner.sandboxes.remove(id) {
            inner.gone += 1;
            inner.stirring.stir(&view.asked.spec.namespace);
            inner.sandbox_names.remove(&(view.asked.spec.namespace.clone(), view.asked.spec.key.clone()));
        }
        inner.container_names.retain(|(sandbox, _), _| sandbox != id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().sandboxes.is_empty()
    }

    /// Returns how many sandboxes have left so far.
    pub(crate) fn gone(&self) -> u64 {
        self.lock().gone
    }

    pub(crate) fn sandbox(&self, id: &SandboxId) -> Option<(Arc<SandboxView>, Inbox)> {
        self.lock().sandboxes.get(id).cloned()
    }

    /// Returns the listed sandboxes of a namespace, oldest first.
    pub(crate) fn sandboxes(&self, namespace: &Namespace) -> Vec<Arc<SandboxView>> {
        self.lock().listed_sandboxes(namespace)
    }

    /// Returns what lists show of a namespace, at one moment.
    pub(crate) fn snapshot(&self, namespace: &Namespace) -> Snapshot {
        let inner = self.lock();
        let (sandboxes, containers) = (inner.listed_sandboxes(namespace), inner.listed(namespace));
        Snapshot { at: self.clock.now(), sandboxes, containers }
    }

    /// Subscribes to the news that something of a namespace has changed.
    pub(crate) fn stirs(&self, namespace: &Namespace) -> Stirs {
        self.lock().stirring.subscribe(namespace)
    }

    pub(crate) fn find_sandbox(&self, namespace: &Namespace, text: &str) -> Result<Arc<SandboxView>> {
        let from = SandboxId::parse(text).map_err(|bad| bad_id("sandbox", text, &bad))?;
        let inner = self.lock();
        let after = inner.sandboxes.range(from..).take_while(|(id, _)| id.as_str().starts_with(text));
        let all = after.map(|(_, (view, _))| view);
        only("sandbox", text, all.filter(|v| v.asked.spec.namespace == *namespace && v.listed()), |v| {
            v.asked.id.as_str()
        })
    }

    // --- containers ---

    /// Enters a container under its name, unless the name is taken; `None` when its sandbox is gone.
    pub(crate) fn enter_container(&self, view: ContainerView) -> Option<Named<ContainerView>> {
        let mut inner = self.lock();
        if !inner.sandboxes.contains_key(&view.asked.spec.sandbox) {
            return None;
        }
        let name = (view.asked.spec.sandbox.clone(), view.asked.spec.key.clone());
        if let Some(taken) = inner.container_names.get(&name).and_then(|id| inner.containers.get(id)) {
            return Some(Named::Taken(Arc::clone(taken)));
        }
        inner.container_names.insert(name, view.asked.id.clone());
        inner.containers.insert(view.asked.id.clone(), Arc::new(view));
        Some(Named::Free)
    }

    pub(crate) fn publish_container(&self, id: &ContainerId, state: &ContainerState) {
        self.replace(id, |view| ContainerView { state: state.clone(), ..view.clone() });
    }

    pub(crate) fn publish_asked(&self, asked: &Arc<ContainerAsked>) {
        self.replace(&asked.id, |view| {
            let same = view.asked.annex_generation == asked.annex_generation;
            let reading = if same { view.reading.clone() } else { Reading::default() };
            ContainerView { asked: Arc::clone(asked), state: view.state.clone(), reading }
        });
    }

    fn replace(&self, id: &ContainerId, by: impl FnOnce(&ContainerView) -> ContainerView) {
        let mut inner = self.lock();
        let Some(view) = inner.containers.get_mut(id) else { return };
        let new = Arc::new(by(view));
        let old = std::mem::replace(view, Arc::clone(&new));
        let (shown_old, shown_new) = (inner.shown(&old), inner.shown(&new));
        inner.stirring.stir(&new.asked.spec.namespace);
        inner.hubs.tell(self.clock.now(), &new, shown_old, shown_new);
    }

    /// Subscribes to the changes that come after the list.
    pub(crate) fn subscribe(&self, namespace: &Namespace) -> (Vec<Arc<ContainerView>>, Changes) {
        let mut inner = self.lock();
        (inner.listed(namespace), inner.hubs.subscribe(namespace))
    }

    pub(crate) fn images_in_use(&self, namespace: &Namespace) -> Vec<(ImageId, ContainerId)> {
        let inner = self.lock();
        let own = inner.containers.values().filter(|view| view.asked.spec.namespace == *namespace);
        own.map(|view| (view.asked.spec.image.clone(), view.asked.id.clone())).collect()
    }

    pub(crate) fn leave_container(&self, id: &ContainerId) {
        self.lock().leave_container(id, self.clock.now());
    }

    pub(crate) fn container(&self, id: &ContainerId) -> Option<Arc<ContainerView>> {
        self.lock().containers.get(id).cloned()
    }

    /// Returns the listed containers of a namespace, oldest first.
    pub(crate) fn containers(&self, namespace: &Namespace) -> Vec<Arc<ContainerView>> {
        self.lock().listed(namespace)
    }

    pub(crate) fn find_container(&self, namespace: &Namespace, text: &str) -> Result<Arc<ContainerView>> {
        let from = ContainerId::parse(text).map_err(|bad| bad_id("container", text, &bad))?;
        let inner = self.lock();
        let after = inner.containers.range(from..).take_while(|(id, _)| id.as_str().starts_with(text));
        let all = after.map(|(_, view)| view);
        only("container", text, all.filter(|v| v.asked.spec.namespace == *namespace && inner.shown(v).is_some()), |v| {
            v.asked.id.as_str()
        })
    }
}

// === impl Inner ===

impl Inner {
    /// Returns the listed sandboxes of a namespace, oldest first.
    fn listed_sandboxes(&self, namespace: &Namespace) -> Vec<Arc<SandboxView>> {
        let all = self.sandboxes.values().map(|(view, _)| view);
        let mut views: Vec<_> = all.filter(|v| v.asked.spec.namespace == *namespace && v.listed()).cloned().collect();
        views.sort_by_key(|view| view.asked.created_at);
        views
    }

    /// Returns the listed containers of a namespace, oldest first.
    fn listed(&self, namespace: &Namespace) -> Vec<Arc<ContainerView>> {
        let own = self.containers.values().filter(|view| view.asked.spec.namespace == *namespace);
        let mut views: Vec<_> = own.filter_map(|view| self.shown(view)).collect();
        views.sort_by_key(|view| view.asked.created_at);
        views
    }

    /// Returns a view, when lists show it. A container alone is created, and undone, with its sandbox.
    fn shown(&self, view: &Arc<ContainerView>) -> Option<Arc<ContainerView>> {
        let sandbox = self.sandboxes.get(&view.asked.spec.sandbox).map(|(sandbox, _)| sandbox);
        let alone = sandbox.filter(|sandbox| sandbox.asked.spec.ends == SandboxEnd::WithContainer);
        (view.listed() && alone.is_none_or(|sandbox| sandbox.listed())).then(|| Arc::clone(view))
    }

    /// Returns the container that is alone in a sandbox.
    fn alone_in(&self, id: &SandboxId) -> Option<Arc<ContainerView>> {
        let (sandbox, _) = self.sandboxes.get(id)?;
        let alone = sandbox.asked.spec.ends == SandboxEnd::WithContainer;
        // They share their id.
        let id = ContainerId::parse(id.as_str()).ok().filter(|_| alone)?;
        self.containers.get(&id).cloned()
    }

    fn leave_container(&mut self, id: &ContainerId, now: Timestamp) {
        if let Some(view) = self.containers.remove(id) {
            let old = self.shown(&view);
            self.hubs.tell(now, &view, old, None);
            self.stirring.stir(&view.asked.spec.namespace);
            self.container_names.remove(&(view.asked.spec.sandbox.clone(), view.asked.spec.key.clone()));
        }
    }
}

fn bad_id(what: &str, text: &str, bad: &orlop_model::id::BadId) -> Failure {
    let shown: String = text.chars().take(80).collect();
    Failure::new(ErrorKind::InvalidArgument, format!("{shown:?} is not a {what} id: {bad}"))
}

/// Returns the one view there is; an exact id wins over those it is a prefix of.
fn only<'a, V: 'a>(
    what: &str,
    text: &str,
    views: impl Iterator<Item = &'a Arc<V>>,
    id: impl Fn(&V) -> &str,
) -> Result<Arc<V>> {
    let found: Vec<_> = views.collect();
    let exact = found.iter().find(|view| id(view) == text);
    match (exact, found.as_slice()) {
        (Some(view), _) => Ok(Arc::clone(view)),
        (None, [view]) => Ok(Arc::clone(view)),
        (None, []) => Err(Failure::new(ErrorKind::NotFound, format!("there is no {what} with the id {text}"))),
        (None, many) => {
            let message = format!("{} {what} ids begin with {text}; give more digits", many.len());
            Err(Failure::new(ErrorKind::InvalidArgument, message))
        }
    }
}

impl SandboxView {
    /// Returns whether it is shown: not while it is being created, nor while a failed creation is undone.
    fn listed(&self) -> bool {
        match &self.state {
            SandboxState::Creating { .. } | SandboxState::Gone { .. } => false,
            SandboxState::Removing { why, .. } => why.is_none(),
            SandboxState::Ready { .. } | SandboxState::NotReady { .. } => true,
            SandboxState::Stopping { .. } | SandboxState::Starting { .. } => true,
        }
    }
}

impl ContainerView {
    /// Returns a view of what is.
    #[must_use]
    pub fn new(asked: Arc<ContainerAsked>, state: ContainerState) -> Self {
        Self { asked, state, reading: Reading::default() }
    }

    /// Returns whether it is shown: not while it is being created, nor while a failed creation is undone.
    fn listed(&self) -> bool {
        match &self.state {
            ContainerState::Creating { .. } | ContainerState::Gone { .. } => false,
            ContainerState::Removing(removal) => removal.why.is_none(),
            ContainerState::Created { .. } | ContainerState::Starting { .. } | ContainerState::Running(_) => true,
            ContainerState::Frozen(_) | ContainerState::Stopping { .. } | ContainerState::Lost(_) => true,
            ContainerState::Exited { .. } => true,
        }
    }
}

//! What there is to tell, from one look at the node to the next. Pure.
//!
//! Whatever happened between two looks, each thing is told of in order: created, started, stopped, deleted; a pod before its
//! containers as long as it rises, after them when it goes. Only what came and went unseen is passed over.

use crate::proto::{ContainerEventType, ContainerState as ShownContainer, PodSandboxState};
use crate::{container, sandbox};
use orlop_model::{ContainerId, SandboxId, Timestamp};
use orlop_usecases::{ContainerView, SandboxView, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far a thing is, as a client that asks for its status sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Created,
    Started,
    Stopped,
}

/// Everything that was told of.
#[derive(Debug)]
pub(super) struct Told {
    at: Timestamp,
    sandboxes: BTreeMap<SandboxId, (Stage, Arc<SandboxView>)>,
    containers: BTreeMap<ContainerId, (Stage, Arc<ContainerView>)>,
}

/// One thing to tell.
#[derive(Clone, Debug)]
pub(super) struct News {
    /// When it was seen.
    pub at: Timestamp,
    /// Of which container or pod.
    pub id: String,
    /// What.
    pub what: ContainerEventType,
    /// The pod, as it is; as it was last when it is gone.
    pub sandbox: Arc<SandboxView>,
    /// All containers of the pod, oldest first.
    pub containers: Vec<Arc<ContainerView>>,
}

// === impl Told ===

impl Told {
    /// Begins: what is there already is not told.
    pub(super) fn from(snapshot: &Snapshot) -> Self {
        let mut told = Self { at: snapshot.at, sandboxes: BTreeMap::new(), containers: BTreeMap::new() };
        told.note(snapshot);
        told
    }

    /// Returns what is to be told after another look, in order.
    pub(super) fn look(&mut self, snapshot: &Snapshot) -> Vec<News> {
        // The node's clock may be set back; what is told last must be the latest.
        self.at = snapshot.at.max(Timestamp(self.at.0 + 1));
        let mut news = self.risen_sandboxes(snapshot);
        news.extend(self.containers(snapshot));
        news.extend(self.stopped_sandboxes(snapshot));
        news.extend(self.gone(snapshot));
        self.note(snapshot);
        news
    }

    fn risen_sandboxes(&self, snapshot: &Snapshot) -> Vec<News> {
        self.of_sandboxes(snapshot, |stage| stage != Stage::Stopped)
    }

    fn stopped_sandboxes(&self, snapshot: &Snapshot) -> Vec<News> {
        self.of_sandboxes(snapshot, |stage| stage == Stage::Stopped)
    }

    fn of_sandboxes(&self, snapshot: &Snapshot, wanted: impl Fn(Stage) -> bool) -> Vec<News> {
        let mut news = Vec::new();
        for view in &snapshot.sandboxes {
            let id = &view.asked.id;
            let before = self.sandboxes.get(id).map(|(stage, _)| *stage);
            let stages = between(before, of_sandbox(view), Ran::Yes).into_iter().filter(|stage| wanted(*stage));
            news.extend(stages.map(|stage| self.news(id.as_str(), event(stage), view, snapshot)));
        }
        news
    }

    fn containers(&self, snapshot: &Snapshot) -> Vec<News> {
        let mut news = Vec::new();
        for view in &snapshot.containers {
            let Some(sandbox) = self.sandbox(&view.asked.spec.sandbox, snapshot) else { continue };
            let before = self.containers.get(&view.asked.id).map(|(stage, _)| *stage);
            let stages = between(before, of_container(view), ran(view)).into_iter();
            news.extend(stages.map(|stage| self.news(view.asked.id.as_str(), event(stage), sandbox, snapshot)));
        }
        news
    }

    /// Returns news of what was there and is no more: containers first.
    fn gone(&self, snapshot: &Snapshot) -> Vec<News> {
        let mut news = Vec::new();
        for (id, (stage, view)) in &self.containers {
            let gone = !snapshot.containers.iter().any(|there| there.asked.id == *id);
            if let Some(sandbox) = self.sandbox(&view.asked.spec.sandbox, snapshot).filter(|_| gone) {
                let last = farewell(*stage).iter().map(|what| self.news(id.as_str(), *what, sandbox, snapshot));
                news.extend(last);
            }
        }
        for (id, (stage, view)) in &self.sandboxes {
            if !snapshot.sandboxes.iter().any(|there| there.asked.id == *id) {
                news.extend(farewell(*stage).iter().map(|what| self.news(id.as_str(), *what, view, snapshot)));
            }
        }
        news
    }

    /// Returns a sandbox as it is, or as it was last.
    fn sandbox<'a>(&'a self, id: &SandboxId, snapshot: &'a Snapshot) -> Option<&'a Arc<SandboxView>> {
        let now = snapshot.sandboxes.iter().find(|view| view.asked.id == *id);
        now.or_else(|| self.sandboxes.get(id).map(|(_, view)| view))
    }

    fn news(&self, id: &str, what: ContainerEventType, of: &Arc<SandboxView>, snapshot: &Snapshot) -> News {
        let own = snapshot.containers.iter().filter(|view| view.asked.spec.sandbox == of.asked.id);
        News { at: self.at, id: id.to_owned(), what, sandbox: Arc::clone(of), containers: own.cloned().collect() }
    }

    fn note(&mut self, snapshot: &Snapshot) {
        let sandboxes = snapshot.sandboxes.iter();
        self.sandboxes = sandboxes.map(|view| (view.asked.id.clone(), (of_sandbox(view), Arc::clone(view)))).collect();
        let containers = snapshot.containers.iter();
        self.containers =
            containers.map(|view| (view.asked.id.clone(), (of_container(view), Arc::clone(view)))).collect();
    }
}

/// Whether a container has ever run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    Yes,
    No,
}

/// Returns the stages that lie between two looks.
fn between(before: Option<Stage>, now: Stage, ran: Ran) -> Vec<Stage> {
    if before > Some(now) {
        // It was started again.
        return vec![now];
    }
    let all = [Stage::Created, Stage::Started, Stage::Stopped].into_iter();
    let passed = |stage: &Stage| before < Some(*stage) && *stage <= now;
    all.filter(passed).filter(|stage| *stage != Stage::Started || now == Stage::Started || ran == Ran::Yes).collect()
}

/// Returns what is told last of a thing that is gone: what was said to run is first said to have stopped.
fn farewell(told: Stage) -> &'static [ContainerEventType] {
    const WHOLE: [ContainerEventType; 2] =
        [ContainerEventType::ContainerStoppedEvent, ContainerEventType::ContainerDeletedEvent];
    match told {
        Stage::Started => &WHOLE,
        Stage::Created | Stage::Stopped => &WHOLE[1..],
    }
}

fn of_sandbox(view: &SandboxView) -> Stage {
    match sandbox::shown(&view.state) {
        PodSandboxState::SandboxReady => Stage::Started,
        PodSandboxState::SandboxNotready => Stage::Stopped,
    }
}

fn of_container(view: &ContainerView) -> Stage {
    match container::shown(&view.state) {
        ShownContainer::ContainerCreated => Stage::Created,
        // One whose shim is silent runs, as far as anybody knows.
        ShownContainer::ContainerRunning | ShownContainer::ContainerUnknown => Stage::Started,
        ShownContainer::ContainerExited => Stage::Stopped,
    }
}

fn ran(view: &ContainerView) -> Ran {
    if view.state.end().is_some_and(|end| end.started.is_some()) { Ran::Yes } else { Ran::No }
}

fn event(stage: Stage) -> ContainerEventType {
    match stage {
        Stage::Created => ContainerEventType::ContainerCreatedEvent,
        Stage::Started => ContainerEventType::ContainerStartedEvent,
        Stage::Stopped => ContainerEventType::ContainerStoppedEvent,
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;

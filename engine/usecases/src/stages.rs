//! Measures the effects that the node performs: how long each takes, and which do not come to an end.
//!
//! Measuring changes nothing. What is shown tells effects apart, never the objects they are for.

use crate::stage::{STAGES, Stage};
use orlop_model::container_state::{ContainerEffect, ContainerEvent, Ended};
use orlop_model::ports::Clock;
use orlop_model::sandbox_state::{SandboxEffect, SandboxEvent};
use orlop_model::time::Timestamp;
use orlop_model::{ContainerId, ObjectId, SandboxId};
use prometheus::{HistogramOpts, HistogramVec};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an object may owe one effect before a person should look. The slowest that is usual, an attach on a crowded node,
/// takes a second; a teardown that fails has by then been tried seven times.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(30);

/// From the quickest check to what a person waits for, seconds.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// What every driver tells of its effects.
pub(crate) struct Stages {
    clock: Arc<dyn Clock>,
    /// By effect and outcome.
    pub(crate) seconds: HistogramVec,
    /// At most one for each object; taken out with the effect that ends well, at the latest its last.
    owed: Mutex<HashMap<ObjectId, Owed>>,
}

/// The effect that an object owes.
#[derive(Clone, Copy)]
struct Owed {
    stage: Stage,
    /// When it was first begun.
    since: Timestamp,
    /// Whether it is being performed, or is to be tried again.
    under_way: bool,
}

/// How an effect ended.
#[derive(Clone, Copy)]
enum Outcome {
    Ok,
    Failed,
    Panicked,
}

// === impl Stages ===

impl Stages {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let opts = HistogramOpts::new(
            "orlop_effect_duration_seconds",
            "Time that effects on sandboxes and containers took, by the wall clock.",
        );
        let seconds = HistogramVec::new(opts.buckets(BUCKETS.to_vec()), &["effect", "outcome"]);
        Self { clock, seconds: seconds.expect("the names keep to the rules"), owed: Mutex::default() }
    }

    /// Performs an effect on a sandbox and measures it.
    pub(crate) async fn sandbox(
        &self,
        id: &SandboxId,
        effect: SandboxEffect,
        work: impl Future<Output = (SandboxEvent, Vec<(ContainerId, Ended)>)>,
    ) -> (SandboxEvent, Vec<(ContainerId, Ended)>) {
        let measured = self.begin(ObjectId::Sandbox(id.clone()), Stage::Sandbox(effect));
        let (event, ends) = work.await;
        measured.ended(matches!(event, SandboxEvent::Failed(..)));
        (event, ends)
    }

    /// Performs an effect on a container and measures it. A program that could not be started is a failed start.
    pub(crate) async fn container(
        &self,
        id: &ContainerId,
        effect: ContainerEffect,
        work: impl Future<Output = ContainerEvent>,
    ) -> ContainerEvent {
        let measured = self.begin(ObjectId::Container(id.clone()), Stage::Container(effect));
        let event = work.await;
        measured.ended(matches!(event, ContainerEvent::Failed(..) | ContainerEvent::Ended(_)));
        event
    }

    /// Counts, by effect, the objects that have owed it for too long. `waits` says of an object whose effect is not being
    /// performed whether it is still on its way.
    pub(crate) fn stalled(&self, waits: impl Fn(&ObjectId) -> bool) -> BTreeMap<&'static str, i64> {
        let now = self.clock.now();
        let mut counts: BTreeMap<_, _> = STAGES.iter().map(|stage| (stage.name(), 0)).collect();
        for (object, owed) in self.owed().iter() {
            if now.since(owed.since) >= STALLED_AFTER && (owed.under_way || waits(object)) {
                *counts.entry(owed.stage.name()).or_default() += 1;
            }
        }
        counts
    }

    fn begin(&self, object: ObjectId, stage: Stage) -> Measured<'_> {
        let now = self.clock.now();
        let mut owed = self.owed();
        let before = owed.get(&object).filter(|before| before.stage == stage && stage.is_tried_again());
        let since = before.map_or(now, |before| before.since);
        owed.insert(object.clone(), Owed { stage, since, under_way: true });
        Measured { stages: self, object, stage, begun: now, outcome: Outcome::Panicked }
    }

    fn owed(&self) -> MutexGuard<'_, HashMap<ObjectId, Owed>> {
        // A panic while it was held left a map that is whole: every change is one insertion or removal.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An effect under way. Dropped before its end is told, when its task panics.
struct Measured<'a> {
    stages: &'a Stages,
    object: ObjectId,
    stage: Stage,
    begun: Timestamp,
    outcome: Outcome,
}

// === impl Measured ===

impl Measured<'_> {
    fn ended(mut self, failed: bool) {
        self.outcome = if failed { Outcome::Failed } else { Outcome::Ok };
    }

    /// Returns whether the object still owes the effect.
    fn still_owed(&self) -> bool {
        match self.outcome {
            Outcome::Ok => !self.stage.is_over_with_its_success(),
            Outcome::Failed | Outcome::Panicked => self.stage.is_tried_again(),
        }
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let took = self.stages.clock.now().since(self.begun).as_secs_f64();
        self.stages.seconds.with_label_values(&[self.stage.name(), self.outcome.name()]).observe(took);
        let mut owed = self.stages.owed();
        if self.still_owed() {
            owed.entry(self.object.clone()).and_modify(|owed| owed.under_way = false);
        } else {
            owed.remove(&self.object);
        }
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_sim::World;

    const KILL: Stage = Stage::Container(ContainerEffect::Kill);
    const START: Stage = Stage::Container(ContainerEffect::Start);
    const DROP: Stage = Stage::Container(ContainerEffect::DropTask);

    /// Performs effects a minute apart, each ending at once; says what is stalled a minute after the last.
    async fn stalled(effects: &[(Stage, bool)], on_the_way: bool) -> Vec<&'static str> {
        let stages = Stages::new(Arc::new(World::new(1, 0, Vec::new())));
        let object = ObjectId::Container(ContainerId::parse("c").unwrap());
        for (stage, failed) in effects {
            stages.begin(object.clone(), *stage).ended(*failed);
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let counts = stages.stalled(|_| on_the_way);
        counts.into_iter().filter_map(|(effect, count)| (count == 1).then_some(effect)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_owed_after_its_end_is_stalled() {
        const NONE: [&str; 0] = [];
        // A process that was killed and does not end, killed again and again.
        assert_eq!(stalled(&[(KILL, false), (KILL, false)], true).await, ["container.kill"]);
        assert_eq!(stalled(&[(KILL, false)], false).await, NONE, "it has ended");
        assert_eq!(stalled(&[(DROP, true)], true).await, ["container.drop-task"]);
        assert_eq!(stalled(&[(DROP, true), (DROP, false)], true).await, NONE);
        assert_eq!(stalled(&[(START, true)], true).await, NONE, "it is not tried again");
        assert_eq!(stalled(&[(KILL, false), (DROP, false)], true).await, NONE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_effect_under_way_is_stalled_after_half_a_minute_and_a_second_one_counts_from_its_own_beginning() {
        let stages = Stages::new(Arc::new(World::new(1, 0, Vec::new())));
        let object = ObjectId::Container(ContainerId::parse("c").unwrap());
        let first = stages.begin(object.clone(), START);
        tokio::time::sleep(STALLED_AFTER - Duration::from_millis(1)).await;
        assert_eq!(stages.stalled(|_| false)["container.start"], 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(stages.stalled(|_| false)["container.start"], 1);
        first.ended(true);
        let _second = stages.begin(object, START);
        assert_eq!(stages.stalled(|_| false)["container.start"], 0);
    }

    #[test]
    fn every_effect_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = STAGES.iter().map(|stage| stage.name()).collect();
        assert_eq!(names.len(), STAGES.len());
    }
}

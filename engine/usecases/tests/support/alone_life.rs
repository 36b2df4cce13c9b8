//! The lives of three containers alone, drawn from a seed: created, started, frozen, signalled, restarted, stopped and removed by
//! callers who may leave and ask again, while they end by themselves, shims die, effects fail, the daemon dies at a step, and the
//! node may boot.

use super::alone_laws;
use super::life::{Caller, LIFE, Life, Lived, Plan};
use super::story::Said;
use super::{DOCKER, alone, node, world};
use orlop_model::container_state::{Exit, Force};
use orlop_model::{ContainerId, SandboxId};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Containers of a life.
pub const CONTAINERS: usize = 3;

/// The annex that a container is given.
pub const ANNEX: &[u8] = b"another";

/// A stop signal that is nobody's own: SIGINT, signal(7).
const OTHER_SIGNAL: u8 = 2;

/// What the caller of one container asked for and was told.
#[derive(Clone, Debug, Default)]
pub struct AloneStory {
    /// The id it was to have.
    pub id: Option<ContainerId>,
    pub create: Option<Said>,
    pub start: Option<Said>,
    pub annex: Option<Said>,
    pub freeze: Option<Said>,
    pub thaw: Option<Said>,
    /// Stopped, killed or restarted by its caller, or ended by itself.
    pub end: Option<Said>,
    pub remove: Option<Said>,
    /// Its shim died by itself: how it ended is not known.
    pub shim_died: bool,
}

/// The stories of all.
pub type Told = Arc<Mutex<[AloneStory; CONTAINERS]>>;

/// Lives a life and looks at the laws; panics when one is broken.
pub fn live_alone(life: Life) -> Lived {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = world(life.seed, life.faults_per_mille);
        world.set_short_lives(200);
        if life.wild {
            world.set_deaf(200);
            world.allow_slow();
        }
        if let Some(step) = life.dies_at {
            world.die_at(step);
        }
        if let Some(bug) = life.bug {
            world.plant(bug);
        }
        let told = Told::default();
        let first = node(&world, DOCKER).await;
        let caller = Caller { node: first, world: world.clone(), wild: life.wild, plan: Plan(life.seed) };
        let all = (0..CONTAINERS).map(|n| {
            let caller = Caller { plan: Plan(life.seed * 31 + n as u64), ..caller.clone() };
            tokio::spawn(container_life(caller, n, Arc::clone(&told)))
        });
        let all: Vec<_> = all.collect();
        let lived = tokio::time::timeout(LIFE, async {
            for one in all {
                one.await.unwrap();
            }
        });
        let lived = lived.await;
        let story = told.lock().unwrap().clone();
        assert!(lived.is_ok() || world.dead(), "{life:?}: a caller was never answered: {story:?}");
        let steps = world.steps();
        let boots = life.seed.is_multiple_of(5);
        alone_laws::check(&world, &story, boots, &format!("{life:?}: {story:?}")).await;
        Lived { steps, tally: world.tally() }
    })
}

async fn container_life(mut caller: Caller, n: usize, told: Told) {
    let say = |change: &dyn Fn(&mut AloneStory)| change(&mut told.lock().unwrap()[n]);
    caller.plan.pause().await;
    let wanted = alone(&caller.node);
    let id = wanted.id.clone();
    say(&|story| (story.id, story.create) = (Some(id.clone()), Some(Said::Asked)));
    let created = caller
        .ask(|node| {
            let wanted = wanted.clone();
            async move { node.create_alone(wanted).await }
        })
        .await;
    if created.is_err() {
        return;
    }
    say(&|story| story.create = Some(Said::Done));
    if caller.plan.below(5) > 0 {
        caller.plan.pause().await;
        say(&|story| story.start = Some(Said::Asked));
        let id = &id;
        let started = caller
            .ask(|node| {
                let id = id.clone();
                async move { node.start_container(&id).await }
            })
            .await;
        if started.is_ok() {
            say(&|story| story.start = Some(Said::Done));
        }
    }
    if caller.plan.below(2) > 0 {
        say(&|story| story.annex = Some(Said::Asked));
        if caller.node.change_annex(&id, |_| Some(ANNEX.to_vec())).await.is_ok() {
            say(&|story| story.annex = Some(Said::Done));
        }
    }
    if caller.plan.below(3) == 0 {
        freeze(&mut caller, &id, &say).await;
    }
    if caller.plan.below(3) > 0 {
        end(&mut caller, &id, &say).await;
    }
    if caller.plan.below(2) > 0 {
        caller.plan.pause().await;
        say(&|story| story.remove = Some(Said::Asked));
        let id = &id;
        let removed = caller
            .ask(|node| {
                let id = id.clone();
                async move { node.remove_container(&id, Force::Yes).await }
            })
            .await;
        if removed.is_ok() {
            say(&|story| story.remove = Some(Said::Done));
        }
    }
}

async fn freeze(caller: &mut Caller, id: &ContainerId, say: &impl Fn(&dyn Fn(&mut AloneStory))) {
    caller.plan.pause().await;
    say(&|story| story.freeze = Some(Said::Asked));
    if caller.node.freeze_container(id).await.is_err() {
        return;
    }
    say(&|story| story.freeze = Some(Said::Done));
    if caller.plan.below(2) > 0 {
        caller.plan.pause().await;
        say(&|story| story.thaw = Some(Said::Asked));
        if caller.node.thaw_container(id).await.is_ok() {
            say(&|story| story.thaw = Some(Said::Done));
        }
    }
}

/// Lets it end in one of the ways there are.
async fn end(caller: &mut Caller, id: &ContainerId, say: &impl Fn(&dyn Fn(&mut AloneStory))) {
    caller.plan.pause().await;
    say(&|story| story.end = Some(Said::Asked));
    let (sandbox, grace) = (SandboxId::alone(id), Duration::from_secs(caller.plan.below(3)));
    let ended = match caller.plan.below(6) {
        0 => {
            caller.world.end_task(&sandbox, id, Exit::Code { code: 5, oom: false });
            return;
        }
        1 if caller.wild => {
            say(&|story| story.shim_died = true);
            caller.world.kill_shim(&sandbox);
            return;
        }
        2 => {
            // It may run again.
            drop(caller.node.restart_container(id, grace).await);
            return;
        }
        3 => {
            drop(caller.node.signal_container(id, 9).await);
            return;
        }
        4 => {
            caller
                .ask(|node| {
                    let id = id.clone();
                    async move { node.stop_container_by(&id, OTHER_SIGNAL, grace).await }
                })
                .await
        }
        _ => {
            caller
                .ask(|node| {
                    let id = id.clone();
                    async move { node.stop_container(&id, grace).await }
                })
                .await
        }
    };
    if ended.is_ok() {
        say(&|story| story.end = Some(Said::Done));
    }
}

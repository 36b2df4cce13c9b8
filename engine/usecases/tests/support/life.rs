//! The life of a pod with three containers, drawn from a seed: what is asked when, by callers who may leave and ask again, while
//! shims die or fall silent, effects fail, and the daemon dies at a step.

use super::laws;
use super::story::{CONTAINERS, ContainerStory, Said, Told};
use super::{CRI, container, node, pod, world};
use orlop_model::SandboxId;
use orlop_model::container::Resources;
use orlop_model::container_state::Force;
use orlop_model::error::Result;
use orlop_sim::{Bug, Fault, Tally, World};
use orlop_usecases::Facade;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long a life may take; much longer than any takes that is not cut off, slow effects included.
pub const LIFE: Duration = Duration::from_secs(7200);

/// Processor shares that containers are updated to.
pub const UPDATE_SHARES: u64 = 300;

/// One life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    pub seed: u64,
    /// Of a thousand effects, so many fail, or are slow, or are done and reported as failed.
    pub faults_per_mille: u64,
    /// The step at which the daemon dies.
    pub dies_at: Option<u64>,
    /// Callers leave and ask again, shims die or fall silent, programs don't heed their stop signal.
    pub wild: bool,
    /// What is wrong with the orlop under test.
    pub bug: Option<Bug>,
}

/// What came of a life that kept the laws.
#[derive(Debug)]
pub struct Lived {
    /// Moments at which the daemon might have died.
    pub steps: u64,
    pub tally: Tally,
}

/// Numbers of a plan, apart from the world's own.
#[derive(Clone)]
pub struct Plan(pub u64);

impl Plan {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub async fn pause(&mut self) {
        let pause = self.below(120);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// A caller, who in a wild life may leave and ask again.
#[derive(Clone)]
pub struct Caller {
    pub node: Facade,
    pub world: World,
    pub wild: bool,
    pub plan: Plan,
}

impl Caller {
    pub async fn ask<T, F: Future<Output = Result<T>>>(&mut self, request: impl Fn(Facade) -> F) -> Result<T> {
        if self.wild && self.plan.below(4) == 0 {
            let patience = Duration::from_millis(self.plan.below(60));
            match tokio::time::timeout(patience, request(self.node.clone())).await {
                Ok(answer) => return answer,
                Err(_) => self.world.hit(Fault::CallerLeaves),
            }
        }
        request(self.node.clone()).await
    }
}

/// Lives a life and looks at the laws; panics when one is broken.
pub fn live(life: Life) -> Lived {
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
        let first = node(&world, CRI).await;
        let caller = Caller { node: first, world: world.clone(), wild: life.wild, plan: Plan(life.seed) };
        let lived = tokio::time::timeout(LIFE, pod_life(caller, life.seed, Arc::clone(&told))).await;
        assert!(lived.is_ok() || world.dead(), "{life:?}: a caller was never answered: {:?}", told.lock().unwrap());
        let steps = world.steps();
        let story = told.lock().unwrap().clone();
        laws::check(&world, &story, &format!("{life:?}: {story:?}")).await;
        Lived { steps, tally: world.tally() }
    })
}

async fn pod_life(mut caller: Caller, seed: u64, told: Told) {
    let Ok(sandbox) = caller.ask(|node| async move { node.run_sandbox(pod("p")).await }).await else { return };
    told.lock().unwrap().sandbox = Some(sandbox.clone());
    let lives = (0..CONTAINERS).map(|n| {
        let caller = Caller { plan: Plan(seed * 31 + n as u64), ..caller.clone() };
        tokio::spawn(container_life(caller, sandbox.clone(), n, Arc::clone(&told)))
    });
    let lives: Vec<_> = lives.collect();
    if caller.wild {
        hurt(&mut caller, &sandbox, &told).await;
    }
    if caller.plan.below(3) > 0 {
        let pause = caller.plan.below(400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        told.lock().unwrap().stop = Some(Said::Asked);
        let id = &sandbox;
        if caller
            .ask(|node| {
                let id = id.clone();
                async move { node.stop_sandbox(&id).await }
            })
            .await
            .is_ok()
        {
            told.lock().unwrap().stop = Some(Said::Done);
        }
    }
    if caller.plan.below(3) == 0 {
        caller.plan.pause().await;
        told.lock().unwrap().remove = Some(Said::Asked);
        let id = &sandbox;
        if caller
            .ask(|node| {
                let id = id.clone();
                async move { node.remove_sandbox(&id).await }
            })
            .await
            .is_ok()
        {
            told.lock().unwrap().remove = Some(Said::Done);
        }
    }
    for life in lives {
        life.await.unwrap();
    }
}

/// Lets the shim of one pod in six die, and of another one fall silent.
async fn hurt(caller: &mut Caller, sandbox: &SandboxId, told: &Told) {
    match caller.plan.below(6) {
        0 => {
            caller.plan.pause().await;
            told.lock().unwrap().shim_died = true;
            caller.world.kill_shim(sandbox);
        }
        1 => {
            caller.plan.pause().await;
            caller.world.silence(sandbox, true);
        }
        _ => {}
    }
}

async fn container_life(mut caller: Caller, sandbox: SandboxId, n: usize, told: Told) {
    caller.plan.pause().await;
    let wanted = container(&sandbox, &format!("c{n}"));
    let created = caller
        .ask(|node| {
            let wanted = wanted.clone();
            async move { node.create_container(wanted).await }
        })
        .await;
    let Ok(id) = created else { return };
    let say = |change: &dyn Fn(&mut ContainerStory)| change(&mut told.lock().unwrap().containers[n]);
    say(&|story| story.id = Some(id.clone()));
    if caller.plan.below(5) > 0 {
        caller.plan.pause().await;
        say(&|story| story.start = Some(Said::Asked));
        if caller.node.start_container(&id).await.is_ok() {
            say(&|story| story.start = Some(Said::Done));
        }
    }
    if caller.plan.below(2) > 0 {
        say(&|story| story.update = Some(Said::Asked));
        let change = Resources { cpu_shares: UPDATE_SHARES, ..Resources::default() };
        let updated = caller
            .ask(|node| {
                let (id, change) = (id.clone(), change.clone());
                async move { node.update_container(&id, change).await }
            })
            .await;
        if updated.is_ok() {
            say(&|story| story.update = Some(Said::Done));
        }
    }
    if caller.plan.below(2) > 0 {
        caller.plan.pause().await;
        say(&|story| story.stop = Some(Said::Asked));
        let grace = Duration::from_secs(caller.plan.below(3));
        let stopped = caller
            .ask(|node| {
                let id = id.clone();
                async move { node.stop_container(&id, grace).await }
            })
            .await;
        if stopped.is_ok() {
            say(&|story| story.stop = Some(Said::Done));
        }
    }
    if caller.plan.below(2) > 0 {
        caller.plan.pause().await;
        say(&|story| story.remove = Some(Said::Asked));
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

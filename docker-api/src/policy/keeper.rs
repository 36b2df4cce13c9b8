//! The loop that does what is decided: one task, woken by changes, by what users have done, and by the clock.

use super::decide::{self, Next};
use super::health::{HealthCheck, OUTPUT_BYTES_MAX, Probe};
use super::kept::{Book, Kept, Rules};
use super::restart;
use crate::locks::Locks;
use orlop_model::container_state::{ContainerState, Force};
use orlop_model::error::{Failure, Result};
use orlop_model::{ContainerId, ErrorKind, Timestamp};
use orlop_usecases::{ContainerView, Facade, News};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Actions at a time: restarts, removals and looks of all containers. More would only wait for each other in the kernel.
const ACTIONS_MAX: usize = 64;
/// How long a user's request waits for a policy that is just doing something to the same container.
const HOLD_WITHIN: Duration = Duration::from_secs(10);

/// The policies of all containers of a facade. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    facade: Facade,
    book: Book,
    /// One for each container that somebody does something to.
    locks: Locks<ContainerId>,
    /// One for each container that an image is made of, and that is frozen for it.
    commits: Locks<ContainerId>,
    /// Tells the loop of containers that were let go. Unbounded in type only: one for each request under way.
    let_go: mpsc::UnboundedSender<ContainerId>,
    /// What the loop listens to: there is one.
    heard: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<ContainerId>>>,
}

/// As long as it is there, no policy starts or removes the container, or none thaws it. Then all is decided anew.
#[derive(Debug)]
pub(crate) struct Hold {
    /// `None` when a policy did not let go of it in time.
    lock: Option<OwnedMutexGuard<()>>,
    id: ContainerId,
    let_go: mpsc::UnboundedSender<ContainerId>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // First, or what is decided could not be done.
        self.lock = None;
        // A loop that has ended decides nothing.
        drop(self.let_go.send(self.id.clone()));
    }
}

// === impl Policies ===

impl Policies {
    pub(crate) fn new(facade: Facade, book: Book) -> Self {
        let (let_go, heard) = mpsc::unbounded_channel();
        Self {
            facade,
            book,
            locks: Locks::default(),
            commits: Locks::default(),
            let_go,
            heard: Arc::new(tokio::sync::Mutex::new(heard)),
        }
    }

    pub(crate) fn facade(&self) -> &Facade {
        &self.facade
    }

    /// Keeps every container as its user asked, until the engine ends. Begins with what a daemon before this one left.
    pub(crate) async fn keep(self) {
        let heard = Arc::clone(&self.heard);
        let mut heard = heard.lock().await;
        Keeper::new(self).run(&mut heard).await;
    }

    /// Keeps policies off a container for as long as the hold is there.
    pub(crate) async fn hold(&self, id: &ContainerId) -> Hold {
        let lock = tokio::time::timeout(HOLD_WITHIN, self.locks.of(id).lock_owned()).await.ok();
        self.held(lock, id)
    }

    /// Keeps policies from thawing a container, and others from making an image of it, for as long as the hold is there.
    pub(super) async fn hold_for_commit(&self, id: &ContainerId) -> Hold {
        let lock = self.commits.of(id).lock_owned().await;
        self.held(Some(lock), id)
    }

    fn held(&self, lock: Option<OwnedMutexGuard<()>>, id: &ContainerId) -> Hold {
        Hold { lock, id: id.clone(), let_go: self.let_go.clone() }
    }

    /// Finds a container by its whole id.
    pub(super) fn view(&self, id: &ContainerId) -> Result<Arc<ContainerView>> {
        self.facade.find_container(id.as_str())
    }

    pub(super) fn read(&self, view: &ContainerView) -> (Rules, Kept) {
        (self.book.of)(view)
    }

    /// Records what is kept of a container from now on.
    pub(super) async fn keep_of(&self, id: &ContainerId, change: impl Fn(&Kept) -> Kept + Send + Sync) -> Result<()> {
        let changed = |annex: &[u8]| {
            let (_, kept) = (self.book.read)(annex);
            let next = change(&kept);
            (next != kept).then(|| (self.book.write)(annex, next))
        };
        self.facade.change_annex(id, changed).await.map(drop)
    }

    // --- what is decided, done ---

    /// Does what was decided, if that is still to be done: a user may have been quicker than the news of it.
    async fn act(&self, id: &ContainerId, next: Next) -> Result<()> {
        let Ok(view) = self.view(id) else { return Ok(()) };
        let (rules, kept) = self.read(&view);
        if decide::next(&rules, &kept, &view.state) != next {
            return Ok(());
        }
        match next {
            Next::Nothing => Ok(()),
            Next::Start(_) => self.start_again(id).await,
            Next::Remove => {
                info!(container = %id, "it has ended, and is removed as was asked");
                self.facade.remove_container(id, Force::No).await.map(drop)
            }
            Next::Thaw => {
                info!(container = %id, "it was left frozen by a commit, and is thawed");
                self.thaw_after_commit(id).await
            }
            Next::Look(_) => self.look(id).await,
        }
    }

    /// Starts a container again, then counts it. A daemon that dies between counts one too few; the other way round the last of
    /// its tries would seem to be over before it began.
    async fn start_again(&self, id: &ContainerId) -> Result<()> {
        let ended = self.view(id)?.state.end().cloned();
        info!(container = %id, "it is started again");
        let started = self.facade.start_container(id).await;
        // A start that came to nothing, not even to another end, was none.
        let tried = started.is_ok() || self.view(id)?.state.end() != ended.as_ref();
        if tried {
            self.keep_of(id, |kept| restart::counted(kept, ended.as_ref())).await?;
        }
        started.map(drop)
    }

    async fn look(&self, id: &ContainerId) -> Result<()> {
        let view = self.view(id)?;
        let (ContainerState::Running(task), Some(check)) = (&view.state, self.read(&view).0.health) else {
            return Ok(());
        };
        let began = self.facade.clock().now();
        let looked = self.facade.exec_sync(id, &check.command, Some(check.timeout), OUTPUT_BYTES_MAX).await;
        let (exit_code, output) = match looked {
            Ok(output) => (output.exit_code, cut(&[output.stdout, output.stderr].concat())),
            // It went, or was paused, meanwhile: that says nothing of its health.
            Err(failure) if failure.kind == ErrorKind::WrongState || failure.kind == ErrorKind::NotFound => {
                return Ok(());
            }
            Err(failure) => (-1, why_not(&failure, &check)),
        };
        let probe = Probe { began, ended: self.facade.clock().now(), exit_code, output };
        let heard = |kept: &Kept| {
            let health = kept.health.heard(&check, task.started, probe.clone());
            Kept { health, ..kept.clone() }
        };
        self.keep_of(id, heard).await
    }
}

fn why_not(failure: &Failure, check: &HealthCheck) -> String {
    if failure.kind == ErrorKind::TimedOut {
        return format!("Health check exceeded timeout ({}s)", check.timeout.as_secs_f64());
    }
    cut(failure.message.as_bytes())
}

fn cut(bytes: &[u8]) -> String {
    let bytes = bytes.get(..OUTPUT_BYTES_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// The loop's own state. What is decided is in the records; here is only what is under way.
struct Keeper {
    policies: Policies,
    /// What is to be done about whom, and when.
    plans: HashMap<ContainerId, (Timestamp, Next)>,
    /// Containers that a policy is doing something to.
    busy: HashSet<ContainerId>,
    /// Containers of which something has failed: how often, and when it may be tried again.
    failed: HashMap<ContainerId, (u32, Timestamp)>,
    actions: JoinSet<(ContainerId, Next, Result<()>)>,
    places: Arc<Semaphore>,
}

// === impl Keeper ===

impl Keeper {
    fn new(policies: Policies) -> Self {
        Self {
            policies,
            plans: HashMap::new(),
            busy: HashSet::new(),
            failed: HashMap::new(),
            actions: JoinSet::new(),
            places: Arc::new(Semaphore::new(ACTIONS_MAX)),
        }
    }

    async fn run(mut self, let_go: &mut mpsc::UnboundedReceiver<ContainerId>) {
        let (views, mut changes) = self.policies.facade.changes();
        for view in views {
            self.daemon_starts(&view).await;
            self.plan(&view.asked.id);
        }
        loop {
            let mut alarm = self.begin_what_is_due();
            tokio::select! {
                news = changes.next() => match news {
                    Some(News::Change(change)) => self.plan(&change.id),
                    Some(News::Missed(_)) => self.plan_all(),
                    None => return,
                },
                Some(id) = let_go.recv() => self.plan(&id),
                Some(done) = self.actions.join_next() => self.done(done),
                () = &mut alarm => {}
            }
        }
    }

    /// Enters that the daemon has started, where that makes a difference.
    async fn daemon_starts(&self, view: &ContainerView) {
        let (rules, kept) = self.policies.read(view);
        let Some(next) = restart::daemon_starts(rules.restart, &kept) else { return };
        if let Err(failure) = self.policies.keep_of(&view.asked.id, |_| next.clone()).await {
            warn!(container = %view.asked.id, error = %failure, "it stays stopped");
        }
    }

    fn plan_all(&mut self) {
        self.plans.clear();
        for view in self.policies.facade.containers() {
            self.plan(&view.asked.id);
        }
    }

    /// Decides anew what is to be done about a container.
    fn plan(&mut self, id: &ContainerId) {
        self.plans.remove(id);
        if self.busy.contains(id) {
            return;
        }
        let Ok(view) = self.policies.view(id) else {
            self.failed.remove(id);
            return;
        };
        let (rules, kept) = self.policies.read(&view);
        let next = decide::next(&rules, &kept, &view.state);
        let at = match next {
            Next::Nothing => return,
            Next::Start(at) | Next::Look(at) => at,
            Next::Remove | Next::Thaw => Timestamp::default(),
        };
        let at = self.failed.get(id).map_or(at, |(_, not_before)| at.max(*not_before));
        self.plans.insert(id.clone(), (at, next));
    }

    /// Begins what is due; returns the alarm for what comes next.
    fn begin_what_is_due(&mut self) -> orlop_model::ports::Answer<'static, ()> {
        let clock = self.policies.facade.clock();
        let now = clock.now();
        let due: Vec<_> = self.plans.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            if let Some((_, next)) = self.plans.remove(&id) {
                self.begin(id, next);
            }
        }
        match self.plans.values().map(|(at, _)| *at).min() {
            Some(at) => clock.sleep_until(at),
            None => Box::pin(std::future::pending()),
        }
    }

    fn begin(&mut self, id: ContainerId, next: Next) {
        let lock = match next {
            // Looking is in nobody's way.
            Next::Look(_) | Next::Nothing => None,
            Next::Start(_) | Next::Remove => Some(self.policies.locks.of(&id).try_lock_owned()),
            Next::Thaw => Some(self.policies.commits.of(&id).try_lock_owned()),
        };
        // A user does something to it: it is planned anew when that is over.
        let Ok(lock) = lock.transpose() else { return };
        self.busy.insert(id.clone());
        let (policies, places) = (self.policies.clone(), Arc::clone(&self.places));
        self.actions.spawn(async move {
            // Never closed: the loop owns it.
            let _place = places.acquire_owned().await;
            let result = policies.act(&id, next).await;
            drop(lock);
            (id, next, result)
        });
    }

    fn done(&mut self, done: Result<(ContainerId, Next, Result<()>), tokio::task::JoinError>) {
        let (id, next, result) = match done {
            Ok(done) => done,
            Err(panic) => {
                // Whose it was is lost with it: all that nothing is done to is decided anew.
                warn!(error = %panic, "what a policy did panicked, a fault of orlop");
                self.busy.clear();
                return self.plan_all();
            }
        };
        self.busy.remove(&id);
        match result {
            Ok(()) => drop(self.failed.remove(&id)),
            Err(failure) => self.fail(&id, next, &failure),
        }
        self.plan(&id);
    }

    fn fail(&mut self, id: &ContainerId, next: Next, failure: &Failure) {
        let failures = self.failed.get(id).map_or(0, |(failures, _)| *failures);
        let at = self.policies.facade.clock().now().plus(restart::pause(failures));
        self.failed.insert(id.clone(), (failures.saturating_add(1), at));
        warn!(container = %id, ?next, error = %failure, "what was asked for could not be done; it is tried again");
    }
}

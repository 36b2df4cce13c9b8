//! In-memory ports driven by a seed: the same seed, the same run.
//!
//! A [`World`] is what a node would have: shims, addresses, writable layers, tasks, records. Its ports act on it after a delay
//! drawn from the seed, and fail as often as asked; the daemon can be made to die at the n-th step of any of them. Time is tokio's paused clock, tasks are tokio's on one thread.
//! Start at [`World::new`], then [`World::ports`].

mod clock;
mod images;
mod network;
mod records;
mod runtime;

use orlop_model::container_state::Ended;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::image::Image;
use orlop_model::ports::{Ports, RuntimeListener};
use orlop_model::record::Loaded;
use orlop_model::{ContainerId, SandboxId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest time an effect takes in a simulation.
const EFFECT_MS_MAX: u64 = 20;
/// How long the ask of a silent shim takes; what the real adapter waits.
const SILENT_ASK: Duration = Duration::from_secs(10);

/// The command of a program that is in no image: its start says 127.
pub const NO_SUCH_PROGRAM: &str = "no-such-program";

/// A node in memory, as one daemon on it sees it. Cheap to clone: every clone is the same node.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Node>>,
    /// Which daemon this is: what an earlier one still has under way never goes on.
    daemon: u64,
}

/// What the node has.
pub(crate) struct Node {
    random: Random,
    faults_per_mille: u64,
    pub(crate) short_lives_per_mille: u64,
    pub(crate) signals_ignored: bool,
    /// The effect that panics when it is performed next.
    panics: Option<&'static str>,
    started: tokio::time::Instant,
    /// Sandboxes of which something is left.
    pub(crate) shims: BTreeMap<SandboxId, Shim>,
    pub(crate) addresses: BTreeSet<SandboxId>,
    pub(crate) layers: BTreeSet<ContainerId>,
    pub(crate) images: Vec<Image>,
    pub(crate) records: Loaded,
    pub(crate) listener: Option<Arc<dyn RuntimeListener>>,
    next_pid: u32,
    /// The daemon that lives.
    daemon: u64,
    /// Steps done by the daemon that lives: each is a moment at which it may die.
    steps: u64,
    /// The step at which it dies.
    dies_at: Option<u64>,
    /// How often each port's method was called.
    pub calls: BTreeMap<&'static str, u64>,
}

/// A shim in memory, or what is left of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shim {
    pub(crate) alive: bool,
    /// It does not answer.
    pub(crate) silent: bool,
    /// Taken down: only ends are left, for whoever has not heard of them.
    pub(crate) dropped: bool,
    pub(crate) tasks: BTreeMap<ContainerId, Task>,
}

/// A process in memory.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Running { pid: u32, started: Timestamp },
    Ended(Ended),
}

/// A small generator of its own (splitmix64): the same numbers on every machine and version.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What is left of everything: empty when nothing leaked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Raised sandboxes.
    pub shims: Vec<SandboxId>,
    /// Sandboxes that hold an address.
    pub addresses: Vec<SandboxId>,
    /// Containers that have a writable layer.
    pub layers: Vec<ContainerId>,
    /// Sandboxes that have a record.
    pub sandbox_records: Vec<SandboxId>,
    /// Containers that have a record.
    pub container_records: Vec<ContainerId>,
}

impl World {
    /// Makes an empty node. Of a thousand effects, `faults_per_mille` fail.
    #[must_use]
    pub fn new(seed: u64, faults_per_mille: u64, images: Vec<Image>) -> Self {
        let node = Node {
            random: Random(seed),
            faults_per_mille,
            short_lives_per_mille: 0,
            signals_ignored: false,
            panics: None,
            started: tokio::time::Instant::now(),
            shims: BTreeMap::new(),
            addresses: BTreeSet::new(),
            layers: BTreeSet::new(),
            images,
            records: Loaded::default(),
            listener: None,
            next_pid: 1000,
            daemon: 0,
            steps: 0,
            dies_at: None,
            calls: BTreeMap::new(),
        };
        Self { inner: Arc::new(Mutex::new(node)), daemon: 0 }
    }

    /// Kills the daemon, as SIGKILL does: whatever it has under way stops where it is. Returns the node for the next one.
    #[must_use]
    pub fn kill_daemon(&self) -> Self {
        let mut node = self.node();
        node.daemon += 1;
        node.listener = None;
        (node.steps, node.dies_at) = (0, None);
        Self { inner: Arc::clone(&self.inner), daemon: node.daemon }
    }

    /// Makes the daemon die at its n-th step, whichever it is. What it has under way then stops where it is.
    pub fn die_at(&self, step: u64) {
        self.node().dies_at = Some(step);
    }

    /// Returns how many steps the daemon has done: moments at which it might have died.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.node().steps
    }

    /// Returns whether the daemon has died at the step it was to die at.
    #[must_use]
    pub fn dead(&self) -> bool {
        let node = self.node();
        node.daemon != self.daemon || node.dies_at.is_some_and(|at| node.steps >= at)
    }

    /// One moment at which the daemon may die. Never returns to a daemon that is dead.
    async fn alive(&self) {
        let dead = {
            let mut node = self.node();
            let dies = node.dies_at.is_some_and(|at| node.steps >= at);
            let another = node.daemon != self.daemon;
            if dies && !another {
                node.listener = None;
            } else if !another {
                node.steps += 1;
            }
            dies || another
        };
        if dead {
            std::future::pending::<()>().await;
        }
    }

    /// Returns ports on this node.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            runtime: Arc::new(self.clone()),
            images: Arc::new(self.clone()),
            network: Arc::new(self.clone()),
            records: Arc::new(self.clone()),
            clock: Arc::new(self.clone()),
        }
    }

    /// Stops or starts making effects fail.
    pub fn set_faults(&self, per_mille: u64) {
        self.node().faults_per_mille = per_mille;
    }

    /// Ends a task as if its process had ended by itself; tells the listener.
    pub fn end_task(&self, sandbox: &SandboxId, container: &ContainerId, exit: orlop_model::container_state::Exit) {
        let now = self.now();
        let mut node = self.node();
        let Some(task) = node.shims.get_mut(sandbox).and_then(|shim| shim.tasks.get_mut(container)) else { return };
        let Task::Running { started, .. } = task else { return };
        let ended = Ended { started: Some(*started), finished: now, exit };
        *task = Task::Ended(ended.clone());
        let listener = node.listener.clone();
        drop(node);
        if let Some(listener) = listener {
            listener.ended(sandbox, container, ended);
        }
    }

    /// Makes programs of a thousand starts end before anybody hears that they were started.
    pub fn set_short_lives(&self, per_mille: u64) {
        self.node().short_lives_per_mille = per_mille;
    }

    /// Lets the task of an effect panic, once.
    pub fn panic_once(&self, effect: &'static str) {
        self.node().panics = Some(effect);
    }

    /// Lets programs ignore every signal but SIGKILL.
    pub fn ignore_signals(&self) {
        self.node().signals_ignored = true;
    }

    /// Lets a shim stop, or start again, to answer.
    pub fn silence(&self, sandbox: &SandboxId, silent: bool) {
        if let Some(shim) = self.node().shims.get_mut(sandbox) {
            shim.silent = silent;
        }
    }

    /// Kills a shim with every process in it, unseen; ends it had written down stay. Tells the listener.
    pub fn kill_shim(&self, sandbox: &SandboxId) {
        let mut node = self.node();
        let was_there = node.shims.get_mut(sandbox).is_some_and(|shim| {
            shim.tasks.retain(|_, task| matches!(task, Task::Ended(_)));
            std::mem::replace(&mut shim.alive, false)
        });
        let listener = node.listener.clone();
        drop(node);
        if let (true, Some(listener)) = (was_there, listener) {
            listener.shim_gone(sandbox);
        }
    }

    /// Returns what is left.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        let node = self.node();
        Leftovers {
            shims: node.shims.keys().cloned().collect(),
            addresses: node.addresses.iter().cloned().collect(),
            layers: node.layers.iter().cloned().collect(),
            sandbox_records: node.records.sandboxes.iter().map(|(asked, _)| asked.id.clone()).collect(),
            container_records: node.records.containers.iter().map(|(asked, _)| asked.id.clone()).collect(),
        }
    }

    /// Returns how often each port's method was called.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.node().calls.clone()
    }

    pub(crate) fn node(&self) -> MutexGuard<'_, Node> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        // An arbitrary day, so that no test depends on today.
        const DAY: Timestamp = Timestamp(1_700_000_000_000_000_000);
        DAY.plus(self.node().started.elapsed())
    }

    /// Is where an effect begins that does something at once.
    pub(crate) async fn begins(&self) {
        self.alive().await;
    }

    /// Is where an effect has done what it does, and nobody knows yet.
    pub(crate) async fn answers<T>(&self, answer: T) -> Result<T> {
        self.alive().await;
        Ok(answer)
    }

    /// Takes as long as the seed says, and fails as often as asked.
    pub(crate) async fn effect(&self, name: &'static str) -> Result<()> {
        self.alive().await;
        let panics = self.node().panics.take_if(|effect| *effect == name).is_some();
        assert!(!panics, "{name} panics, as the test wants");
        let (pause, fails) = {
            let mut node = self.node();
            *node.calls.entry(name).or_default() += 1;
            let pause = node.random.next() % EFFECT_MS_MAX;
            let faults = node.faults_per_mille;
            (pause, node.chance(faults))
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        self.alive().await;
        if fails {
            Err(Failure::new(ErrorKind::Unavailable, format!("{name}: a fault of the simulation")))
        } else {
            Ok(())
        }
    }
}

impl Node {
    /// Draws from the seed.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.random.next() % 1000 < per_mille
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("World").field(&self.leftovers()).finish()
    }
}

//! In-memory ports driven by a seed: the same seed, the same run.
//!
//! A [`World`] is what a node would have: shims, addresses, writable layers, tasks, records. Its ports act on it after a delay
//! drawn from the seed, and fail as often as asked; the daemon can be made to die at the n-th step, in the middle of an effect
//! or just before or after it. Time is tokio's paused clock, tasks are tokio's on one thread. The world itself watches the laws
//! that hold at every step ([`World::violations`]), and counts what happened ([`World::tally`]).
//! Start at [`World::new`], then [`World::ports`].

mod bug;
mod clock;
mod failpoints;
mod images;
mod law;
mod network;
mod records;
mod runtime;
mod streams;
mod tally;

pub use bug::Bug;
pub use streams::{COPIES, WAITS};
pub use tally::{Fault, Tally};

use orlop_model::container::Resources;
use orlop_model::container_state::Ended;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::image::{Image, ImageConfig};
use orlop_model::ports::{Ports, RuntimeListener};
use orlop_model::record::{Durability, Loaded};
use orlop_model::{ContainerId, ImageId, SandboxId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest time an effect takes in a simulation.
const EFFECT_MS_MAX: u64 = 20;
/// How long one takes that is slow: longer than any bound of a caller.
const SLOW: Duration = Duration::from_secs(150);
/// Of so many faults of an effect, one is that it is slow.
const ONE_SLOW_OF: u64 = 4;
/// How long the ask of a silent shim takes; what the real adapter waits.
const SILENT_ASK: Duration = Duration::from_secs(10);

/// A limit on memory that every container is above: it can't be set while one runs.
pub const TOO_LITTLE_MEMORY: i64 = 1;

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
    pub(crate) addresses: BTreeMap<SandboxId, Ipv4Addr>,
    /// Writable layers, with the image each was made on.
    pub(crate) layers: BTreeMap<ContainerId, (ImageId, ImageConfig)>,
    /// What each running container may use, as written to its cgroup.
    pub(crate) limits: BTreeMap<ContainerId, Resources>,
    /// Output of each container that was heard or said something.
    pub(crate) voices: BTreeMap<ContainerId, streams::Voice>,
    /// Containers that run on a terminal.
    pub(crate) terminals: BTreeSet<ContainerId>,
    pub(crate) images: Vec<Image>,
    pub(crate) records: Loaded,
    pub(crate) listener: Option<Arc<dyn RuntimeListener>>,
    pub(crate) next_pid: u32,
    /// The daemon that lives.
    daemon: u64,
    /// Steps done by the daemon that lives: each is a moment at which it may die.
    steps: u64,
    /// The step at which it dies.
    dies_at: Option<u64>,
    /// Whether it has.
    died: bool,
    /// What happened.
    pub(crate) tally: Tally,
    /// Laws that were broken.
    pub(crate) violations: Vec<String>,
    /// What is wrong with this orlop.
    bug: Option<Bug>,
    /// Whether some faults are that an effect is slow.
    slow: bool,
    /// Of a thousand programs, how many don't heed their stop signal.
    pub(crate) deaf_per_mille: u64,
    /// A record that is written when the next one comes; see [`Bug::ActBeforeRecord`].
    pub(crate) late_record: Option<records::Late>,
    /// How often each port's method was called.
    pub calls: BTreeMap<&'static str, u64>,
}

/// A shim in memory, or what is left of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shim {
    pub(crate) alive: bool,
    /// It does not answer.
    pub(crate) silent: bool,
    /// How long it takes to be seen.
    pub(crate) slow: Duration,
    /// Taken down: only ends are left, for whoever has not heard of them.
    pub(crate) dropped: bool,
    pub(crate) tasks: BTreeMap<ContainerId, Task>,
}

/// A process in memory.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Running { pid: u32, started: Timestamp, frozen: bool },
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
            addresses: BTreeMap::new(),
            layers: BTreeMap::new(),
            limits: BTreeMap::new(),
            voices: BTreeMap::new(),
            terminals: BTreeSet::new(),
            images,
            records: Loaded::default(),
            listener: None,
            next_pid: 1000,
            daemon: 0,
            steps: 0,
            dies_at: None,
            died: false,
            tally: Tally::default(),
            violations: Vec::new(),
            bug: None,
            slow: false,
            deaf_per_mille: 0,
            late_record: None,
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
        (node.steps, node.dies_at, node.died, node.late_record) = (0, None, false, None);
        Self { inner: Arc::clone(&self.inner), daemon: node.daemon }
    }

    /// Boots the node anew: no daemon, no shim and no process is left, and no record that does not outlast a boot. Addresses and
    /// writable layers stay, as those on a disk do.
    #[must_use]
    pub fn reboot(&self) -> Self {
        let next = self.kill_daemon();
        let mut node = next.node();
        node.shims.clear();
        node.limits.clear();
        node.records.sandboxes.retain(|(asked, _)| asked.durability == Durability::Node);
        let broken = node.has(Bug::PromiseBroken);
        node.records.containers.retain(|(asked, _)| asked.durability == Durability::Node && !broken);
        node.records.sandboxes.iter_mut().for_each(|(_, state)| *state = None);
        node.records.containers.iter_mut().for_each(|(_, state)| *state = None);
        drop(node);
        next
    }

    /// Takes the records of a container away, as damage to both does.
    pub fn lose_records(&self, container: &ContainerId) {
        self.node().records.containers.retain(|(asked, _)| asked.id != *container);
    }

    /// Returns whether a container's processes are frozen.
    #[must_use]
    pub fn is_frozen(&self, sandbox: &SandboxId, container: &ContainerId) -> bool {
        let node = self.node();
        let task = node.shims.get(sandbox).and_then(|shim| shim.tasks.get(container));
        matches!(task, Some(Task::Running { frozen: true, .. }))
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
        node.daemon != self.daemon || node.died
    }

    /// One moment in the middle of an effect at which the daemon may die. Never returns to a daemon that is dead.
    async fn alive(&self) {
        let dead = self.node().dies_now(self.daemon, |tally| tally.hit(Fault::DaemonDies));
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
            failpoints: Arc::new(self.clone()),
        }
    }

    /// Returns how often what happened.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.node().tally.clone()
    }

    /// Notes a fault that the test itself makes.
    pub fn hit(&self, fault: Fault) {
        self.node().tally.hit(fault);
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
        node.voices.remove(container);
        node.terminals.remove(container);
        let listener = node.listener.clone();
        drop(node);
        if let Some(listener) = listener {
            listener.ended(sandbox, container, ended);
        }
    }

    /// Returns whether a container has a process.
    #[must_use]
    pub fn runs(&self, sandbox: &SandboxId, container: &ContainerId) -> bool {
        let node = self.node();
        let task = node.shims.get(sandbox).and_then(|shim| shim.tasks.get(container));
        matches!(task, Some(Task::Running { .. }))
    }

    /// Makes programs of a thousand starts end before anybody hears that they were started.
    pub fn set_short_lives(&self, per_mille: u64) {
        self.node().short_lives_per_mille = per_mille;
    }

    /// Lets the task of an effect panic, once.
    pub fn panic_once(&self, effect: &'static str) {
        self.node().panics = Some(effect);
    }

    /// Lets some of the faulty effects be slow instead.
    pub fn allow_slow(&self) {
        self.node().slow = true;
    }

    /// Makes programs of a thousand stop signals not heed them.
    pub fn set_deaf(&self, per_mille: u64) {
        self.node().deaf_per_mille = per_mille;
    }

    /// Lets programs ignore every signal but SIGKILL.
    pub fn ignore_signals(&self) {
        self.node().signals_ignored = true;
    }

    /// Lets a shim stop, or start again, to answer.
    pub fn silence(&self, sandbox: &SandboxId, silent: bool) {
        let mut node = self.node();
        let Some(shim) = node.shims.get_mut(sandbox) else { return };
        shim.silent = silent;
        if silent {
            node.tally.hit(Fault::ShimSilent);
        }
    }

    /// Lets a shim take this long when it is asked what it runs.
    pub fn slow_down(&self, sandbox: &SandboxId, slow: Duration) {
        if let Some(shim) = self.node().shims.get_mut(sandbox) {
            shim.slow = slow;
        }
    }

    /// Kills a shim with every process in it, unseen; ends it had written down stay. Tells the listener.
    pub fn kill_shim(&self, sandbox: &SandboxId) {
        let mut node = self.node();
        let was_there = node.shims.get_mut(sandbox).is_some_and(|shim| {
            shim.tasks.retain(|_, task| matches!(task, Task::Ended(_)));
            std::mem::replace(&mut shim.alive, false)
        });
        if was_there {
            node.tally.hit(Fault::ShimDies);
        }
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
            addresses: node.addresses.keys().cloned().collect(),
            layers: node.layers.keys().cloned().collect(),
            sandbox_records: node.records.sandboxes.iter().map(|(asked, _)| asked.id.clone()).collect(),
            container_records: node.records.containers.iter().map(|(asked, _)| asked.id.clone()).collect(),
        }
    }

    /// Returns what a running container may use, as its cgroup has it.
    #[must_use]
    pub fn limits(&self, container: &ContainerId) -> Option<Resources> {
        self.node().limits.get(container).cloned()
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
            let pause = Duration::from_millis(node.random.next() % EFFECT_MS_MAX);
            let faults = node.faults_per_mille;
            let faulty = node.chance(faults);
            let slow = faulty && node.slow && node.random.next().is_multiple_of(ONE_SLOW_OF);
            if faulty {
                node.tally.hit(fault(name, slow));
            }
            (if slow { SLOW } else { pause }, faulty && !slow)
        };
        tokio::time::sleep(pause).await;
        self.alive().await;
        if fails {
            Err(Failure::new(ErrorKind::Unavailable, format!("{name}: a fault of the simulation")))
        } else {
            Ok(())
        }
    }
}

fn fault(effect: &str, slow: bool) -> Fault {
    match effect {
        _ if slow => Fault::Slow,
        records::PUT => Fault::RecordFails,
        _ => Fault::Fails,
    }
}

impl Node {
    /// One moment at which the daemon may die: says whether it has. `here` notes where it died, once.
    pub(crate) fn dies_now(&mut self, daemon: u64, here: impl FnOnce(&mut Tally)) -> bool {
        if daemon != self.daemon || self.died {
            return true;
        }
        if self.dies_at.is_some_and(|at| self.steps >= at) {
            self.died = true;
            self.listener = None;
            here(&mut self.tally);
            return true;
        }
        self.steps += 1;
        false
    }

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

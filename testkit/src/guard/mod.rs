//! The leak guard: what was there before a test is there after it, and nothing else.
//!
//! Make a [`Guard`] first in a test, then the grounds, nodes and pods; they are dropped in the opposite order, and the guard
//! compares last. Tests may go on beside each other: what carries the mark of another living test is that one's. It compares the mount table, temporary and run folders, IPAM reservations, processes and zombies, links,
//! addresses, routes, nf_tables, sysctls and control groups, on the host and on every ground, and gives the kernel ten
//! seconds to finish. A test that panics is compared too. What is left is named and the test fails; then the guard removes
//! what carries its mark, so that the next test starts clean.

mod clean;
mod host;
mod network;
mod process;
mod snapshot;

pub use clean::{clear, remove_cgroups, unmount_below};
pub use host::hierarchies;
pub(crate) use host::{add_reservations, add_tree, is_folder};
pub(crate) use network::add_network;
pub use process::{Marks, Process, processes};
pub use snapshot::{Kind, Leak, Name, Snapshot};

use crate::ground::Ground;
use crate::host_lock::HostLock;
use crate::mark::{MARK, is_living, is_of_this_process, marks_in};
use crate::wait::wait_for;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the kernel may take to finish: links vanish some 40 ms after their namespace, pid 1 reaps after up to 2 s.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// Set when other work runs on the machine at the same time: then only what carries our mark, or lies on a ground, counts.
const SHARED_HOST: &str = "ORLOP_SHARED_HOST";

/// Compares before with after; see the module's page.
#[derive(Debug)]
pub struct Guard {
    patience: Duration,
    alone: bool,
    shared_host: bool,
    host: Snapshot,
    processes: BTreeSet<(u32, u64)>,
    grounds: Mutex<Vec<(Arc<Ground>, Snapshot)>>,
    finished: bool,
    _lock: HostLock,
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

impl Guard {
    /// Waits until it is alone on this machine, then notes what is there.
    #[must_use]
    pub fn new() -> Self {
        Self::with(HostLock::alone(), true)
    }

    /// The same for a test that may go on beside others: that measures nothing, and changes nothing of the whole host.
    #[must_use]
    pub fn beside_others() -> Self {
        Self::with(HostLock::beside_others(), false)
    }

    /// Sets another limit for the kernel to finish; for tests of the guard itself.
    #[must_use]
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn with(lock: HostLock, alone: bool) -> Self {
        Self {
            patience: SETTLE_LIMIT,
            alone,
            shared_host: std::env::var_os(SHARED_HOST).is_some(),
            host: host_snapshot(),
            processes: processes().values().map(|process| (process.pid, process.started)).collect(),
            grounds: Mutex::default(),
            finished: false,
            _lock: lock,
        }
    }

    /// Makes a ground for a daemon; it is compared and removed with the guard.
    ///
    /// # Panics
    /// When it can't be made, for want of privileges.
    #[must_use]
    pub fn ground(&self) -> Arc<Ground> {
        self.keep(Ground::new().expect("tests of the whole daemon run as root, with iproute2 installed"))
    }

    /// Makes a ground in the network namespace of another: for daemons that live side by side.
    ///
    /// # Panics
    /// When it can't be made, for want of space.
    #[must_use]
    pub fn ground_beside(&self, other: &Ground) -> Arc<Ground> {
        self.keep(Ground::beside(other).expect("the temporary folder is writable"))
    }

    /// Makes a ground in the network namespace of this program: for a daemon that must reach what the host reaches.
    ///
    /// # Panics
    /// When it can't be made, for want of space.
    #[must_use]
    pub fn ground_on_host_network(&self) -> Arc<Ground> {
        self.keep(Ground::on_host_network().expect("the temporary folder is writable"))
    }

    fn keep(&self, ground: Ground) -> Arc<Ground> {
        let ground = Arc::new(ground);
        let snapshot = ground.snapshot();
        self.grounds().push((Arc::clone(&ground), snapshot));
        ground
    }

    /// Waits until nothing differs from the beginning; returns what still does when patience ends.
    #[must_use]
    pub fn leaks(&self) -> Vec<Leak> {
        self.lasting(|| self.look())
    }

    /// Looks until there is nothing. What carries nobody's mark counts if it was there at the first look: what comes later
    /// is another test's. Otherwise returns what was there at every look of the second half, for the same reason.
    fn lasting(&self, look: impl Fn() -> Vec<Leak>) -> Vec<Leak> {
        let half = Instant::now() + self.patience / 2;
        let (mut first, mut leaks): (Option<Vec<Leak>>, Option<Vec<Leak>>) = (None, None);
        let settled = wait_for(self.patience, || {
            let mut seen = look();
            let first = first.get_or_insert_with(|| seen.clone());
            seen.retain(|leak| self.alone || self.is_mine(leak.name()) || first.iter().any(|one| one.is_same(leak)));
            if seen.is_empty() {
                return Some(());
            }
            match &mut leaks {
                Some(leaks) => leaks.retain(|leak| seen.contains(leak)),
                None if Instant::now() >= half => leaks = Some(seen),
                None => (),
            }
            None
        });
        if settled.is_some() { Vec::new() } else { leaks.unwrap_or_default() }
    }

    /// Compares and cleans up now; for programs that tell themselves what is left.
    #[must_use]
    pub fn finish(mut self) -> Vec<Leak> {
        self.finished = true;
        let leaks = self.leaks();
        self.clean(&leaks);
        leaks
    }

    /// The same without what is on one ground or carries its name: a server of others there leaves what it likes.
    #[must_use]
    pub fn finish_except(mut self, ground: &Ground) -> Vec<Leak> {
        self.finished = true;
        let ours = |leak: &Leak| leak.name().place != ground.name() && !leak.name().name.contains(ground.name());
        let leaks = self.lasting(|| self.look().into_iter().filter(ours).collect());
        self.clean(&leaks);
        leaks
    }

    /// Lists everything watched, processes too, at this moment: to compare later with [`Guard::differences`].
    #[must_use]
    pub fn now(&self) -> Snapshot {
        let mut snapshot = host_snapshot();
        for (ground, _) in self.grounds().iter() {
            snapshot.extend(ground.snapshot());
        }
        self.add_processes(&mut snapshot);
        snapshot.retain(|name| self.counts(name));
        snapshot
    }

    /// Waits until everything is again as it was at `before`; returns what still differs when patience ends.
    #[must_use]
    pub fn differences(&self, before: &Snapshot) -> Vec<Leak> {
        self.lasting(|| before.leaks_until(&self.now()))
    }

    /// The same but for some kinds of things.
    #[must_use]
    pub fn differences_but(&self, before: &Snapshot, ignored: &[Kind]) -> Vec<Leak> {
        self.lasting(|| {
            let mut leaks = before.leaks_until(&self.now());
            leaks.retain(|leak| !ignored.contains(&leak.kind()));
            leaks
        })
    }

    fn look(&self) -> Vec<Leak> {
        let mut before = self.host.clone();
        for (_, snapshot) in self.grounds().iter() {
            before.extend(snapshot.clone());
        }
        before.retain(|name| self.counts(name));
        before.leaks_until(&self.now())
    }

    fn add_processes(&self, snapshot: &mut Snapshot) {
        let all = processes();
        let marks = self.marks();
        for process in marks.ours(&all) {
            if !self.processes.contains(&(process.pid, process.started)) && Process::read(process.pid).is_some() {
                let kind = if process.zombie { Kind::Zombie } else { Kind::Process };
                snapshot.add(kind, marks.ground_of(process).unwrap_or_default(), process.describe(), "");
            }
        }
    }

    /// Returns by what processes of this test are known.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let grounds = self.grounds();
        Marks {
            names: grounds.iter().map(|(ground, _)| ground.name().to_owned()).collect(),
            netns: grounds.iter().map(|(ground, _)| ground.netns_inode()).collect(),
            orphans_count: !self.shared_host,
        }
    }

    /// The folder of a living ground is no leak, nor is what another living test has; on a shared host nothing is that
    /// doesn't carry our mark.
    fn counts(&self, name: &Name) -> bool {
        let is_ground = || self.grounds().iter().any(|(ground, _)| Path::new(&name.name) == ground.path());
        let is_process = matches!(name.kind, Kind::Process | Kind::Zombie);
        // Beside others, what a test before this one left was told by that one.
        let of_another =
            || marks_in(&name.name).any(|mark| is_living(mark) || (!self.alone && is_of_this_process(mark)));
        let marked = || name.name.contains(&format!("{MARK}{}-", std::process::id()));
        if is_process || self.is_mine(name) {
            return !is_ground();
        }
        !of_another() && (!self.shared_host || marked())
    }

    /// Says whether a thing is on one of this guard's grounds, or carries the name of one.
    fn is_mine(&self, name: &Name) -> bool {
        let is_mine = |mark: &str| self.grounds().iter().any(|(ground, _)| ground.name() == mark);
        !name.place.is_empty() || marks_in(&name.name).any(is_mine)
    }

    fn grounds(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<Ground>, Snapshot)>> {
        // A test that panicked must still be compared.
        self.grounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what carries our mark, and when alone also the processes among `leaks`. Goes on after an error: what stays is
    /// what the next guard finds.
    fn clean(&self, leaks: &[Leak]) {
        let grounds: Vec<_> = std::mem::take(&mut *self.grounds());
        let names: Vec<String> = grounds.iter().map(|(ground, _)| ground.name().to_owned()).collect();
        let netns = grounds.iter().map(|(ground, _)| ground.netns_inode()).collect();
        let marks = Marks { names, netns, orphans_count: false };
        let young = |process: &Process| !self.processes.contains(&(process.pid, process.started));
        // A child without a mark may be one of a test without a guard in this program, at work: it must have been told of.
        let told = |process: &Process| leaks.iter().any(|leak| leak.name().name == process.describe());
        let certain = |process: &Process| marks.marks(process) || (self.alone && told(process));
        let doomed = |process: &Process| young(process) && certain(process);
        clean::kill_until_none(|all| marks.ours(all).into_iter().filter(|process| doomed(process)).collect());
        for (ground, _) in &grounds {
            clean::unmount_below(ground.path());
            for cgroup in ground.cgroups() {
                let _ = fs::remove_dir(cgroup);
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let leaks = self.leaks();
        self.clean(&leaks);
        if leaks.is_empty() {
            return;
        }
        let lines: Vec<String> = leaks.iter().map(|leak| format!("  {leak}")).collect();
        let report = format!("the test left the machine changed:\n{}", lines.join("\n"));
        if std::thread::panicking() {
            // A second panic would abort the whole run and hide the first.
            eprintln!("{report}");
        } else {
            panic!("{report}");
        }
    }
}

fn host_snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    host::add_mounts(&mut snapshot);
    host::add_folders(&mut snapshot);
    host::add_cgroups(&mut snapshot);
    network::add_network(&mut snapshot, "");
    network::add_host_sysctls(&mut snapshot);
    snapshot
}

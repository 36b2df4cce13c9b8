//! Killing every process of a cgroup: in one go, or one look at a time by who must not wait.

use crate::{Error, Leaf};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long killed processes may take to go, in milliseconds. A process writing a large core or leaving a stuck file
/// system takes long; longer than this, the caller hears of it and may come again.
pub(crate) const WAIT_MS_MAX: u64 = 10_000;

/// First and longest pause between two looks. Most processes are gone within the first millisecond.
const PAUSE_FIRST: Duration = Duration::from_micros(200);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Rounds that trust `cgroup.kill`. In hybrid mode a process can sit in a v1 hierarchy alone; after these it is sought there.
const ROUNDS_UNIFIED: u32 = 3;

/// A killing under way, for who can't wait for its end.
#[derive(Debug)]
pub struct Killing {
    round: u32,
    began: Instant,
    pause: Duration,
    next_look: Instant,
}

// === impl Killing ===

impl Killing {
    /// Begins one; nothing is killed yet.
    #[must_use]
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { round: 0, began: now, pause: PAUSE_FIRST, next_look: now }
    }

    /// Kills what is there now; says whether nothing was. Does not wait.
    ///
    /// # Errors
    /// [`Error::StillRunning`] when something is left after ten seconds.
    pub fn go_on(&mut self, leaf: &Leaf) -> Result<bool, Error> {
        // Each round anew: a process may have been forked, or have moved, since the last.
        let all_at_once = kill_unified(leaf)?;
        leaf.ask_thaw()?;
        let left = leaf.procs()?;
        self.next_look = Instant::now() + self.pause;
        let Some(first) = left.first() else { return Ok(true) };
        if self.is_late() {
            let (path, count) = (leaf.path().clone(), left.len());
            return Err(Error::StillRunning { path, count, first: *first, waited_ms: WAIT_MS_MAX });
        }
        if !all_at_once || self.round >= ROUNDS_UNIFIED {
            kill_each(leaf, &left)?;
        }
        self.round += 1;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(false)
    }

    /// Returns when to look again.
    #[must_use]
    pub fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks again at once.
    pub fn hurry(&mut self) {
        self.next_look = self.began;
    }

    /// Says whether it has taken longer than it may: ten seconds.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.began.elapsed() >= Duration::from_millis(WAIT_MS_MAX)
    }
}

pub(crate) fn kill(leaf: &Leaf) -> Result<(), Error> {
    let mut killing = Killing::begin();
    while !killing.go_on(leaf)? {
        sleep(killing.next_look().saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// One write kills all, forks included; `false` when that can't be. Linux 5.14; Documentation/admin-guide/cgroup-v2.rst
/// "cgroup.kill".
fn kill_unified(leaf: &Leaf) -> Result<bool, Error> {
    let Some(folder) = leaf.folder("") else { return Ok(false) };
    match folder.write("cgroup.kill", "1") {
        Ok(()) => Ok(true),
        // Without the file (old kernel) or the cgroup (removed meanwhile), the walk does it.
        Err(Error::Io { source, .. } | Error::Write { source, .. }) if crate::leaf::is_gone(&source) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Kills processes one by one. A fork bomb can outrun one walk, so they are frozen meanwhile where that is possible.
fn kill_each(leaf: &Leaf, pids: &[u32]) -> Result<(), Error> {
    // Not waited for: a process that is about to freeze can't fork any more.
    let _no_freezer = leaf.ask_freeze();
    let result = signal_members(leaf, pids);
    leaf.ask_thaw()?;
    result
}

/// Sends SIGKILL to those that are still members while we hold them by pidfd: a process id may have passed to a stranger
/// between reading it and opening it, but then it is no longer in the list read afterwards.
fn signal_members(leaf: &Leaf, pids: &[u32]) -> Result<(), Error> {
    let mut held = Vec::with_capacity(pids.len());
    for pid in pids {
        let Some(id) = i32::try_from(*pid).ok().and_then(Pid::from_raw) else { continue };
        // Gone already.
        let Ok(fd) = pidfd_open(id, PidfdFlags::empty()) else { continue };
        held.push((*pid, fd));
    }
    let members = leaf.procs()?;
    for (pid, fd) in held {
        if members.binary_search(&pid).is_ok() {
            let _gone = pidfd_send_signal(fd, Signal::KILL);
        }
    }
    Ok(())
}

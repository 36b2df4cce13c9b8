//! Killing every process of a cgroup.

use crate::{Error, Leaf};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long killed processes may take to go, in milliseconds. A process writing a large core or leaving a stuck file
/// system takes long; longer than this, the caller hears of it and may come again.
pub const WAIT_MS_MAX: u64 = 10_000;

/// First and longest pause between two looks. Most processes are gone within the first millisecond.
const PAUSE_FIRST: Duration = Duration::from_micros(200);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Rounds that trust `cgroup.kill`. In hybrid mode a process can sit in a v1 hierarchy alone; after these it is sought there.
const ROUNDS_UNIFIED: u32 = 3;

pub(crate) fn kill(leaf: &Leaf) -> Result<(), Error> {
    let began = Instant::now();
    let mut pause = PAUSE_FIRST;
    for round in 0_u32.. {
        // Each round anew: a process may have been forked, or have moved, since the last.
        let all_at_once = kill_unified(leaf)?;
        leaf.ask_thaw()?;
        let left = leaf.procs()?;
        let Some(first) = left.first() else { return Ok(()) };
        if began.elapsed() >= Duration::from_millis(WAIT_MS_MAX) {
            let (path, count) = (leaf.path().clone(), left.len());
            return Err(Error::StillRunning { path, count, first: *first, waited_ms: WAIT_MS_MAX });
        }
        if !all_at_once || round >= ROUNDS_UNIFIED {
            kill_each(leaf, &left)?;
        }
        sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
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

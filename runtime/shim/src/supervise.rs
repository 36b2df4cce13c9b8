//! What spawner and shim have in common: both take in orphans, reap, and listen.

use crate::error::{Failed, Result, Tried};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use orlop_sys::seqpacket;
use orlop_wire::exit::ExitStatus;
use rustix::process::{WaitOptions, WaitStatus};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A process that was reaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
}

/// Becomes the one that orphans fall to, in a session of its own, deaf to signals that would end it.
pub(crate) fn become_supervisor() -> Result<SignalFd> {
    // Quiet when we lead a session already.
    let _ = rustix::process::setsid();
    orlop_sys::child::undumpable().tried("hide from other processes")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).tried("become a sub-reaper")?;
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE, Signal::SIGQUIT] {
        blocked.add(signal);
    }
    blocked.thread_block().map_err(std::io::Error::from).tried("block signals")?;
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    SignalFd::with_flags(&ended, flags).map_err(std::io::Error::from).tried("wait for signals")
}

/// Children reaped before others have their turn: a fork bomb that shares the node's processes leaves orphans without end.
const REAPED_MAX: usize = 256;

/// Reaps children that have ended. Where more may be left we are woken again.
pub(crate) fn reap_some() -> Vec<Reaped> {
    let mut all = Vec::new();
    for _ in 0..REAPED_MAX {
        let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) else { return all };
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        all.extend(exit_status(status).map(|status| Reaped { pid, status }));
    }
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::CHILD);
    all
}

fn exit_status(status: WaitStatus) -> Option<ExitStatus> {
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok()).map(ExitStatus::Code);
    code.or_else(|| status.terminating_signal().and_then(|signal| u8::try_from(signal).ok()).map(ExitStatus::Signal))
}

/// Listens at a path. What a dead process left there is replaced, a living one is not.
pub(crate) fn listen(path: &Path) -> Result<OwnedFd> {
    let tried = format!("listen at {}", path.display());
    match seqpacket::connect(path, seqpacket::Waits::No) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {
            std::fs::remove_file(path).tried(&tried)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failed::io(tried, &error)),
        Ok(_) => return Err(Failed::refused(tried, "another process listens there", libc::EADDRINUSE)),
    }
    seqpacket::listen(path).tried(tried)
}

//! The first process of a PID namespace that containers share: reaps what they leave behind, and nothing else.
//!
//! Containers see it, and one that may trace processes can take it over: see [`Hollow`] for what it keeps of the node.

use crate::error::{Failed, Result, Tried};
use orlop_cgroups::{CgroupPath, Hierarchies, Leaf};
use orlop_exec::Hollow;
use orlop_sys::child::become_user;
use orlop_sys::clone::{Birth, Child, Under, spawn, spawn_under};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, pidfd_send_signal, wait};
use std::os::fd::{AsFd, BorrowedFd};

/// Its cgroup, a leaf below the sandbox's, as on v2 a cgroup with children can't hold a process.
const LEAF: &str = "orlop-init";
/// What `ps` shows.
const NAME: &std::ffi::CStr = c"orlop-init";
/// How long it may take until nothing of the node is left in it, in seconds; it takes a millisecond.
const HOLLOW_WITHIN_SECONDS: i64 = 10;
/// Status when it can't take its place; the shim sees a namespace without a first process.
const FAILED: u8 = 1;

/// The running init.
#[derive(Debug)]
pub(crate) struct PodInit(Child);

// === impl PodInit ===

impl PodInit {
    /// Starts it in the namespaces of its sandbox, and waits until it is hollow: the next process of its namespace may be one
    /// that traces it.
    pub(crate) fn start(
        sandbox: &CgroupPath,
        hierarchies: &Hierarchies,
        joins: &[(BorrowedFd<'_>, u64)],
        null: BorrowedFd<'_>,
        users: Option<BorrowedFd<'_>>,
    ) -> Result<Self> {
        let tried = "start the pod's init";
        let path = CgroupPath::parse(&format!("{}/{LEAF}", sandbox.as_str())).tried(tried)?;
        let leaf = Leaf::create(hierarchies, &path).tried(tried)?;
        let entries = leaf.entry_fds().tried(tried)?;
        let birth = Birth { namespaces: libc::CLONE_NEWPID as u64, cgroup: leaf.unified_dir_fd() };
        let (wait, done) = pipe_with(PipeFlags::CLOEXEC).tried(tried)?;
        let hollow = Hollow { joins, null, done: done.as_fd() };
        let become_it = || {
            for entry in &entries {
                if rustix::io::write(entry, b"0").is_err() {
                    return FAILED;
                }
            }
            if users.is_some() && become_user(0, 0, &[]).is_err() {
                return FAILED;
            }
            let _ = rustix::thread::set_name(NAME);
            // The shim's words name folders of the node.
            orlop_sys::title::replace(NAME);
            match hollow.become_it() {
                Ok(()) => be_init(),
                Err(_) => FAILED,
            }
        };
        let child = match users {
            None => spawn(&birth, become_it),
            Some(users) => spawn_under(Under { users, pid: None }, &birth, || (), |()| become_it()),
        };
        let init = Self(child.map_err(|error| Failed::io(tried, &error))?);
        drop(done);
        // Nothing that it holds open is written to: what comes is the end. It died, or it is hollow.
        let timeout = Timespec { tv_sec: HOLLOW_WITHIN_SECONDS, tv_nsec: 0 };
        match retry_on_intr(|| poll(&mut [PollFd::new(&wait, PollFlags::IN)], Some(&timeout))).tried(tried)? {
            0 => {
                // Its end is taken in as any other child's is.
                let _ = pidfd_send_signal(init.pidfd(), Signal::KILL);
                Err(Failed::refused(tried, "it did not give up the node's files in time", libc::ETIMEDOUT))
            }
            _ => Ok(init),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Names the namespace too: setns(2) takes a pidfd.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }
}

/// Runs in the child, for as long as the namespace lives. SIGCHLD is blocked, as in the shim; all other signals from inside
/// the namespace do nothing to a first process that does not ask for them.
fn be_init() -> u8 {
    let mut ended = nix::sys::signal::SigSet::empty();
    ended.add(nix::sys::signal::Signal::SIGCHLD);
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        // A child that ends between the two stays pending and ends the wait at once.
        if ended.wait().is_err() {
            return FAILED;
        }
    }
}

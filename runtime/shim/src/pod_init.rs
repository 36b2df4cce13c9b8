//! The first process of a PID namespace that containers share: reaps what they leave behind, and nothing else.
//!
//! Containers see it, and one that may trace processes can take it over: see [`Hollow`] for what it keeps of the node.

use crate::error::{Failed, Result, Tried};
use orlop_cgroups::{CgroupPath, Hierarchies, Leaf};
use orlop_exec::Hollow;
use orlop_sys::child::become_user;
use orlop_sys::clone::{Birth, Child, Under, spawn, spawn_under};
use rustix::process::{WaitOptions, wait};
use std::os::fd::{AsFd, BorrowedFd};

/// Its cgroup, a leaf below the sandbox's, as on v2 a cgroup with children can't hold a process.
const LEAF: &str = "orlop-init";
/// What `ps` shows.
const NAME: &std::ffi::CStr = c"orlop-init";
/// Status when it can't take its place; the shim sees a namespace without a first process.
const FAILED: u8 = 1;

/// The running init.
#[derive(Debug)]
pub(crate) struct PodInit(Child);

// === impl PodInit ===

impl PodInit {
    /// Starts it in the namespaces of its sandbox.
    pub(crate) fn start(
        sandbox: &CgroupPath,
        hierarchies: &Hierarchies,
        hollow: &Hollow<'_>,
        users: Option<BorrowedFd<'_>>,
    ) -> Result<Self> {
        let tried = "start the pod's init";
        let path = CgroupPath::parse(&format!("{}/{LEAF}", sandbox.as_str())).tried(tried)?;
        let leaf = Leaf::create(hierarchies, &path).tried(tried)?;
        let entries = leaf.entry_fds().tried(tried)?;
        let birth = Birth { namespaces: libc::CLONE_NEWPID as u64, cgroup: leaf.unified_dir_fd() };
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
        Ok(Self(child.map_err(|error| Failed::io(tried, &error))?))
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

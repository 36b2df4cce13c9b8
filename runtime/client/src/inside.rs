//! What is inside a running container: its processes, its files.

use crate::client::Client;
use crate::config::ASK_WITHIN;
use crate::error::{Error, Result};
use crate::sandbox;
use orlop_model::{ContainerId, SandboxId};
use orlop_sys::process::send_signal;
use orlop_wire::frame::{Reply, Request};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Lists the processes of a container, by its cgroup.
pub(crate) async fn processes(client: &Client, sandbox: &SandboxId, id: &ContainerId) -> Result<Vec<u32>> {
    let tried = format!("list the processes of container {id}");
    let stopped = || Error::Stopped(format!("{tried}: it is not running"));
    let cgroup = sandbox::cgroup(client, sandbox).await?.ok_or_else(stopped)?;
    let (cgroups, id) = (Arc::clone(&client.cgroups), id.clone());
    let list = move || match cgroups.container(&cgroup, &id)? {
        Some(leaf) => leaf.procs().map_err(|error| crate::cgroup::failed("list processes", &error)),
        None => Ok(Vec::new()),
    };
    let found = client.threads.own(&tried, list).await?;
    if found.is_empty() { Err(stopped()) } else { Ok(found) }
}

/// Opens the root folder of a container, as its first process has it.
pub(crate) async fn root_of(client: &Client, sandbox: &SandboxId, id: &ContainerId) -> Result<OwnedFd> {
    let tried = format!("open the root of container {id}");
    let shim = client.shims.need(sandbox, &tried).await?;
    let request = Request::FirstProcess { container: id.to_string() };
    let mut answered = shim.ask(tried.clone(), request, Vec::new(), ASK_WITHIN).await.map_err(Error::or_stopped)?;
    let (Reply::FirstProcess { pid }, Some(pidfd)) = (answered.reply, answered.slots.pop()) else {
        return Err(Error::Unexpected { tried });
    };
    open_root(pid, &pidfd, &tried)
}

fn open_root(pid: u32, pidfd: &OwnedFd, tried: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty());
    let ended = || Error::Stopped(format!("{tried}: it has ended"));
    // A process that is not reaped still has its number: what was opened by it was its own.
    match (send_signal(pidfd.as_fd(), 0), root) {
        (Ok(()), Ok(root)) => Ok(root),
        (Err(error), _) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Err(ended()),
        // One that waits to be reaped has no root.
        (Ok(()), Err(Errno::NOENT)) => Err(ended()),
        (Err(error), _) => Err(Error::io(tried, error)),
        (Ok(()), Err(errno)) => Err(Error::io(tried, errno)),
    }
}

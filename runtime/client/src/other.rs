//! What a container takes of another sandbox: the namespaces of a container there, and the sandbox's `/dev/shm`.

use crate::client::Client;
use crate::config::ASK_WITHIN;
use crate::error::{Error, Result};
use orlop_model::SandboxId;
use orlop_wire::frame::{Reply, Request, TaskState};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;

/// Returns the pidfd of the first process of a container, by which its namespaces can be entered.
pub(crate) async fn first_process(client: &Client, sandbox: &str, container: &str) -> Result<OwnedFd> {
    let tried = format!("join a namespace of container {container}");
    let pid = running(client, sandbox, container, &tried).await?;
    let opened = Pid::from_raw(pid.cast_signed()).ok_or(rustix::io::Errno::SRCH);
    let opened = opened.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let pidfd = opened.map_err(|error| Error::io(tried.clone(), error))?;
    // Its number may have become another's before it was opened; not when it still runs now.
    if running(client, sandbox, container, &tried).await? == pid { Ok(pidfd) } else { Err(stopped(&tried)) }
}

async fn running(client: &Client, sandbox: &str, container: &str, tried: &str) -> Result<u32> {
    let shim = client.shims.need(&id(sandbox)?, tried).await?;
    let Reply::Tasks(tasks) = shim.ask(tried, Request::List, Vec::new(), ASK_WITHIN).await?.reply else {
        return Err(Error::Unexpected { tried: tried.to_owned() });
    };
    let pid = tasks.iter().find_map(|(id, state)| match state {
        TaskState::Running { pid, .. } if id == container => Some(*pid),
        TaskState::Running { .. } | TaskState::Ended(_) => None,
    });
    pid.ok_or_else(|| stopped(tried))
}

/// Returns the `/dev/shm` of a sandbox, a detached mount.
pub(crate) async fn shm(client: &Client, sandbox: &str) -> Result<OwnedFd> {
    let tried = "share /dev/shm of another sandbox";
    let shim = client.shims.need(&id(sandbox)?, tried).await?;
    let answered = shim.ask(tried, Request::Shm, Vec::new(), ASK_WITHIN).await?;
    match (answered.reply, <[OwnedFd; 1]>::try_from(answered.slots)) {
        (Reply::Shm, Ok([mount])) => Ok(mount),
        _ => Err(Error::Unexpected { tried: tried.to_owned() }),
    }
}

fn id(sandbox: &str) -> Result<SandboxId> {
    SandboxId::parse(sandbox).map_err(|error| Error::Invalid(error.to_string()))
}

fn stopped(tried: &str) -> Error {
    Error::Stopped(format!("{tried}: it is not running"))
}

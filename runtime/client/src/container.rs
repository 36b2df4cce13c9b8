//! What is done to a container that was started. Without a shim, by its cgroup.

use crate::client::Client;
use crate::config::{DROP_TASK_WITHIN, KILL_WITHIN};
use crate::error::{Error, Result};
use crate::sandbox;
use orlop_model::{ContainerId, SandboxId};
use orlop_wire::frame::{Reply, Request};
use std::sync::Arc;

/// Sends a signal to the first process. Quiet when it has ended, with its shim too.
pub(crate) async fn signal(client: &Client, sandbox: &SandboxId, id: &ContainerId, signal: u8) -> Result<()> {
    let request = Request::Signal { container: id.to_string(), signal };
    match client.shims.find(sandbox).await? {
        Some(shim) => shim.ask_done(format!("send signal {signal} to container {id}"), request).await,
        // What is left of it is killed when the sandbox is dropped, which the death of the shim leads to.
        None => Ok(()),
    }
}

/// Kills every process.
pub(crate) async fn kill(client: &Client, sandbox: &SandboxId, id: &ContainerId) -> Result<()> {
    let tried = format!("kill container {id}");
    if let Some(shim) = client.shims.find(sandbox).await? {
        let request = Request::Kill { container: id.to_string() };
        return shim.ask(tried, request, Vec::new(), KILL_WITHIN).await.map(std::mem::drop);
    }
    let Some(cgroup) = sandbox::cgroup(client, sandbox).await? else {
        return Ok(());
    };
    let (cgroups, id) = (Arc::clone(&client.cgroups), id.clone());
    client.threads.own(&tried, move || cgroups.kill_container(&cgroup, &id)).await
}

/// Freezes every process.
pub(crate) async fn freeze(client: &Client, sandbox: &SandboxId, id: &ContainerId) -> Result<()> {
    let tried = format!("freeze container {id}");
    let shim = client.shims.need(sandbox, &tried).await?;
    shim.ask_done(tried, Request::Freeze { container: id.to_string() }).await
}

/// Thaws every process.
pub(crate) async fn thaw(client: &Client, sandbox: &SandboxId, id: &ContainerId) -> Result<()> {
    let tried = format!("thaw container {id}");
    let shim = client.shims.need(sandbox, &tried).await?;
    shim.ask_done(tried, Request::Thaw { container: id.to_string() }).await
}

/// Kills what is left, lets the shim forget it, removes its cgroup and the record of its end.
pub(crate) async fn drop(client: &Client, sandbox: &SandboxId, id: &ContainerId) -> Result<()> {
    let tried = format!("drop the task of container {id}");
    let by_shim = match client.shims.find(sandbox).await? {
        Some(shim) => {
            let request = Request::DropTask { container: id.to_string() };
            match shim.ask(tried.clone(), request, Vec::new(), DROP_TASK_WITHIN).await {
                Ok(answered) if answered.reply == Reply::Done => true,
                Ok(_) => return Err(Error::Unexpected { tried }),
                Err(Error::Gone { .. }) => false,
                Err(error) => return Err(error),
            }
        }
        None => false,
    };
    let cgroup = if by_shim { None } else { sandbox::cgroup(client, sandbox).await? };
    let (cgroups, folder, id) = (Arc::clone(&client.cgroups), client.folders.sandbox(sandbox), id.clone());
    let remove = move || {
        if let Some(cgroup) = cgroup {
            cgroups.remove_container(&cgroup, &id)?;
        }
        folder.forget_exit(&id)
    };
    // Not while the sandbox is raised again: the folder that goes with its last record would be the one just made.
    let cell = client.shims.cell(sandbox);
    let held = cell.lock().await;
    let removed = client.threads.own(&tried, remove).await;
    let shimless = held.is_none();
    std::mem::drop(held);
    if shimless {
        client.shims.forget_unused(sandbox, &cell);
    }
    removed
}

//! Lets a running container's log go on in a fresh file.

use crate::client::Client;
use crate::error::{Error, Result};
use crate::log_file;
use orlop_model::container::LogPath;
use orlop_model::{ContainerId, SandboxId};
use orlop_wire::frame::{Reply, Request};
use rustix::io::Errno;

/// Opens the file as the first one was opened, then hands it to the shim, which writes every later line to it.
pub(crate) async fn reopen(client: &Client, sandbox: &SandboxId, id: &ContainerId, log: &LogPath) -> Result<()> {
    let tried = format!("reopen the log of container {id}");
    // First, so that no file is made for a sandbox that has nobody to write to it.
    let shim = client.shims.need(sandbox, &tried).await?;
    let path = log.clone();
    let (file, made) = client.threads.foreign(&tried, move || log_file::open_fresh(&path)).await?;
    let request = Request::ReopenLog { container: id.to_string(), log: 0 };
    let answered = shim.ask(tried.clone(), request, vec![file], crate::config::ASK_WITHIN).await;
    let refused = match answered {
        Ok(answered) if answered.reply == Reply::Done => return Ok(()),
        Ok(_) => Error::Unexpected { tried: tried.clone() },
        Err(Error::Refused { message, errno, .. }) if errno == Errno::SRCH.raw_os_error() => Error::Stopped(message),
        Err(error) => error,
    };
    // It ended just now: what was made for it goes again. A shim that is late may still write to it.
    if let (Some(made), false) = (made, matches!(refused, Error::Late { .. })) {
        client.threads.foreign(&tried, move || made.unmake()).await?;
    }
    Err(refused)
}

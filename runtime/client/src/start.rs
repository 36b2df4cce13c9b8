//! Checks a container before a process exists, and starts its process.

use crate::client::Client;
use crate::config::START_WITHIN;
use crate::error::{Error, Result};
use crate::prepare::Look;
use crate::{log_file, prepare};
use orlop_model::Timestamp;
use orlop_model::container::{ContainerSpec, Stdin};
use orlop_model::container_state::{Checked, Ended, Exit};
use orlop_model::ports::{Launched, Start};
use orlop_wire::frame::{self, Console, Reply, Request};
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

/// Checks all that can be checked: what is found wrong here would fail the start.
pub(crate) async fn check(client: &Client, start: Start<'_>) -> Result<Checked> {
    if let Some(log) = &start.container.log {
        log_file::check(log)?;
    }
    Ok(prepare::container(client, &start, Look::Whole).await?.checked)
}

/// Starts the process: one frame with the plan and its descriptors.
pub(crate) async fn start(client: &Client, start: Start<'_>) -> Result<Launched> {
    let tried = format!("start container {}", start.id);
    let prepared = prepare::container(client, &start, Look::Needed).await?;
    let (plan, mut slots) = prepared.into_slots(client, start.rootfs).await?;
    let log = open_log(client, start.container).await?;
    let log_slot = log.as_ref().map(|_| u32::try_from(slots.len()).unwrap_or(u32::MAX));
    slots.extend(log);
    let request = Request::Start(frame::Start {
        container: start.id.to_string(),
        plan,
        stdin: stdin(start.container.process.stdin),
        console: if start.container.process.terminal { Console::Terminal } else { Console::Pipes },
        log: log_slot,
        line_bytes_max: client.config.log_line_bytes_max,
    });
    let shim = client.shims.need(start.sandbox_id, &tried).await?;
    // Until this function has answered: nobody must hear of an end before its beginning.
    let _starting = shim.starting(start.id);
    let reply = shim.ask(&tried, request, slots, START_WITHIN).await?.reply;
    if let Reply::Failed(failed) = &reply {
        return Ok(Launched::Failed(never_started(failed)));
    }
    let Reply::Started { pid, at_ns } = reply else {
        return Err(Error::Unexpected { tried });
    };
    Ok(Launched::Running { pid, at: Timestamp(at_ns) })
}

fn never_started(failed: &frame::Failed) -> Ended {
    let (code, message) = prepare::never_started(failed);
    Ended { started: None, finished: now(), exit: Exit::NeverStarted { code, message } }
}

async fn open_log(client: &Client, container: &ContainerSpec) -> Result<Option<OwnedFd>> {
    match container.log.clone() {
        Some(log) => client.threads.foreign("open the log", move || log_file::open(&log)).await.map(Some),
        None => Ok(None),
    }
}

fn stdin(stdin: Stdin) -> frame::Stdin {
    match stdin {
        Stdin::Null => frame::Stdin::Null,
        Stdin::Open => frame::Stdin::Open,
        Stdin::Once => frame::Stdin::Once,
    }
}

/// Returns the wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    Timestamp(i64::try_from(since).unwrap_or(i64::MAX))
}

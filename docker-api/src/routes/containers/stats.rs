//! `GET /containers/{id}/stats`: what a container uses, once a second or once.

use super::find::{self, Found};
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json, streamed, typed};
use crate::http::server::Call;
use crate::time::{NEVER, rfc3339};
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use orlop_model::usage::{InterfaceUsage, Usage};
use serde_json::{Map, Value, json};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Nanoseconds in one tick of `/proc/stat`: the kernel tells hundredths of a second there whatever its own clock.
const TICK_NS: u64 = 10_000_000;

/// One look at a container.
#[derive(Clone, Debug, Default)]
struct Look {
    usage: Option<Usage>,
    interfaces: Vec<InterfaceUsage>,
    /// Processor time of the whole node, nanoseconds.
    node_ns: u64,
}

pub(crate) async fn answer(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let app = Arc::clone(&call.app);
    if call.query.flag_or("stream", true) {
        let looks = stream::unfold((app, found, None::<Look>), |(app, found, before)| async move {
            if before.is_some() {
                tokio::time::sleep(PAUSE).await;
            }
            // One that is gone has nothing to tell.
            let found = find::container(&app, found.id().as_str()).ok()?;
            let look = look(&app, &found).await.ok()?;
            let line = shown(&found, before.as_ref(), &look);
            Some((Bytes::from(format!("{line}\n")), (app, found, Some(look))))
        });
        return Ok(typed(StatusCode::OK, "application/json", streamed(looks)));
    }
    let mut before = None;
    if !call.query.flag("one-shot") && found.view.state.task().is_some() {
        before = Some(look(&app, &found).await?);
        tokio::time::sleep(PAUSE).await;
    }
    let now = look(&app, &found).await?;
    json(&shown(&found, before.as_ref(), &now))
}

async fn look(app: &App, found: &Found) -> Result<Look, ApiError> {
    if found.view.state.task().is_none() {
        return Ok(Look::default());
    }
    let sandboxes: Vec<_> = app.facade.sandbox_of(&found.view).into_iter().collect();
    let used = app.facade.sandbox_usage(sandboxes).await?.into_iter().next();
    let Some(used) = used else { return Ok(Look::default()) };
    let usage = used.containers.into_iter().find(|one| one.view.asked.id == *found.id()).map(|one| one.usage);
    Ok(Look { usage, interfaces: used.interfaces, node_ns: node_ns() })
}

/// Returns the processor time of the whole node, nanoseconds. proc_stat(5)
fn node_ns() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    // Time of guests is within that of users.
    first.split_whitespace().skip(1).take(8).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * TICK_NS
}

fn shown(found: &Found, before: Option<&Look>, now: &Look) -> Value {
    let read = now.usage.as_ref().map_or_else(|| NEVER.to_owned(), |usage| rfc3339(usage.at));
    let preread =
        before.and_then(|look| look.usage.as_ref()).map_or_else(|| NEVER.to_owned(), |usage| rfc3339(usage.at));
    let mut shown = json!({
        "name": format!("/{}", found.annex.name),
        "id": found.id().as_str(),
        "read": read,
        "preread": preread,
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": processor(now),
        "precpu_stats": before.map_or_else(|| processor(&Look::default()), processor),
        "memory_stats": memory(found, now),
        "pids_stats": pids(now),
        "blkio_stats": {
            "io_service_bytes_recursive": null, "io_serviced_recursive": null, "io_queue_recursive": null,
            "io_service_time_recursive": null, "io_wait_time_recursive": null, "io_merged_recursive": null,
            "io_time_recursive": null, "sectors_recursive": null,
        },
    });
    if !now.interfaces.is_empty() {
        shown["networks"] = networks(&now.interfaces);
    }
    shown
}

fn processor(look: &Look) -> Value {
    let throttling = json!({ "periods": 0, "throttled_periods": 0, "throttled_time": 0 });
    let total = look.usage.as_ref().and_then(|usage| usage.cpu_ns).unwrap_or_default();
    let usage = json!({ "total_usage": total, "usage_in_kernelmode": 0, "usage_in_usermode": total });
    if look.usage.is_none() {
        return json!({ "cpu_usage": usage, "throttling_data": throttling });
    }
    let online = std::thread::available_parallelism().map_or(1, usize::from);
    json!({ "cpu_usage": usage, "system_cpu_usage": look.node_ns, "online_cpus": online, "throttling_data": throttling })
}

fn memory(found: &Found, look: &Look) -> Value {
    let Some(memory) = look.usage.as_ref().and_then(|usage| usage.memory) else { return json!({}) };
    let cache = memory.usage_bytes.saturating_sub(memory.working_set_bytes);
    let own = u64::try_from(found.annex.host_config.limits.memory).ok().filter(|limit| *limit > 0);
    let limit = own.map_or_else(crate::routes::memory_bytes, Value::from);
    json!({
        "usage": memory.usage_bytes,
        "limit": limit,
        // Under both names: which one a client subtracts depends on the hierarchy it believes in.
        "stats": { "inactive_file": cache, "total_inactive_file": cache, "anon": memory.rss_bytes, "pgfault": memory.page_faults, "pgmajfault": memory.major_page_faults },
    })
}

fn pids(look: &Look) -> Value {
    match look.usage.as_ref().and_then(|usage| usage.tasks) {
        Some(tasks) => json!({ "current": tasks }),
        None => json!({}),
    }
}

fn networks(interfaces: &[InterfaceUsage]) -> Value {
    let each = interfaces.iter().map(|one| {
        let counted = json!({
            "rx_bytes": one.rx_bytes, "rx_packets": 0, "rx_errors": one.rx_errors, "rx_dropped": 0,
            "tx_bytes": one.tx_bytes, "tx_packets": 0, "tx_errors": one.tx_errors, "tx_dropped": 0,
        });
        (one.name.clone(), counted)
    });
    Value::Object(each.collect::<Map<_, _>>())
}

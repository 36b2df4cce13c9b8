//! A kubelet that listens to the runtime's events hears what happens to its pods, and goes on listening.

use crate::kubelet::config::READ_ONLY_PORT;
use crate::kubelet::pod::{LIMIT, Pod, container, wait};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

/// What makes it listen; off by default.
const LISTENING: &str = "--feature-gates=EventedPLEG=true";
/// What it counts: events, streams that began, and streams that ended.
const EVENTS: &str = "kubelet_evented_pleg_connection_latency_seconds_count";
const BEGUN: &str = "kubelet_evented_pleg_connection_success_count";
const ENDED: &str = "kubelet_evented_pleg_connection_error_count";

pub fn play(stage: &Stage) -> Verdict {
    stage.kubelet().end();
    stage.kubelet().start_with(&[LISTENING])?;
    let heard = listen(stage);
    // Others are not to be disturbed by what this one tries.
    stage.kubelet().end();
    stage.kubelet().start()?;
    heard
}

fn listen(stage: &Stage) -> Verdict {
    wait(LIMIT, || (count(stage, BEGUN) == Some(1)).then_some(()))?.ok_or("the kubelet does not listen")?;
    let script = "while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 5";
    let spec = json!({"restartPolicy": "Never", "containers": [container(stage, "main", script)]});
    let pod = Pod::ask(stage, "events", spec)?;
    pod.ready()?;
    // The pod was created and started, and so was its container.
    let risen = at_least(stage, 4)?;
    pod.exec("main", &["touch", "/tmp/end"])?;
    let state = pod.ended()?;
    let main = state.container("main").and_then(|main| main.end().map(|end| (end.code, main.restarts())));
    same("exit code and restarts", main, Some((5, 0)))?;
    let ended = at_least(stage, risen + 1)?;
    pod.remove()?;
    at_least(stage, ended + 1)?;
    same("streams that ended", count(stage, ENDED), Some(0))
}

/// Waits until the kubelet has heard so many events; returns how many those are.
fn at_least(stage: &Stage, events: u64) -> Verdict<u64> {
    let heard = wait(LIMIT, || count(stage, EVENTS).filter(|heard| *heard >= events))?;
    heard.ok_or_else(|| format!("the kubelet has heard {:?} events, not {events}", count(stage, EVENTS)))
}

/// Returns a figure of the kubelet's own metrics.
fn count(stage: &Stage, name: &str) -> Option<u64> {
    let page = stage.page("127.0.0.1", READ_ONLY_PORT, "/metrics").ok()?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

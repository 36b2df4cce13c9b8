//! What the kubelet's summary says of time, memory and network is what was spent, within a tenth.

use crate::kubelet::config::NODE_ADDRESS;
use crate::kubelet::pod::{LIMIT, Pod, container, wait};
use crate::kubelet::stage::Stage;
use crate::script::Verdict;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Seconds of processor time that one container spends: enough that a shell's start is nothing beside it.
const SPENT_SECONDS: f64 = 6.0;
/// What another holds.
const HELD_MIB: u64 = 64;
/// What a third sends and receives.
const MOVED_BYTES: u64 = 50_000_000;
/// The port from which it receives, and to which it sends.
const SOURCE_PORT: u16 = 18083;
const DRAIN_PORT: u16 = 18084;
/// How far a figure may be from what was spent.
const TOLERANCE: f64 = 0.1;
/// Cores that it uses while it spends, on a busy machine too, and then: one at most, and next to none.
const BUSY_CORES: RangeInclusive<f64> = 0.05..=1.1;
const IDLE_CORES: RangeInclusive<f64> = 0.0..=0.02;
/// Pause between two questions for the summary.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Pause between two looks at a listener that nobody has come to.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub fn play(stage: &Stage) -> Verdict {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = |port| stage.ground().inside(|| TcpListener::bind((NODE_ADDRESS, port))).map_err(|e| e.to_string());
        let (source, drain) = (ask(SOURCE_PORT)?, ask(DRAIN_PORT)?);
        let ended = &ended;
        scope.spawn(move || serve(&source, ended, |stream| write_zeros(stream, MOVED_BYTES)));
        scope.spawn(move || serve(&drain, ended, |stream| io::copy(stream, &mut io::sink()).map(|_| ())));
        let verdict = measure(stage);
        ended.store(true, Ordering::Relaxed);
        verdict
    })
}

fn measure(stage: &Stage) -> Verdict {
    let pod =
        |name: &str, script: &str| Pod::ask(stage, name, json!({"containers": [container(stage, "main", script)]}));
    let moves = format!(
        "nc {NODE_ADDRESS} {SOURCE_PORT} </dev/null | wc -c; head -c {MOVED_BYTES} /dev/zero | nc {NODE_ADDRESS} {DRAIN_PORT}; \
         echo moved; exec sleep 1000"
    );
    let (spends, holds) = (
        pod("stats-time", &format!("exec /burn cpu {SPENT_SECONDS}"))?,
        pod("stats-memory", &format!("exec /burn memory {HELD_MIB}"))?,
    );
    let moves = pod("stats-network", &moves)?;
    // Usage in cores comes from two samples: while a core is kept busy, and when it is not any more.
    rate_of_time(stage, "while it spends", BUSY_CORES)?;
    let log = spends.says("main", "spent ")?;
    let spent: f64 = log.split_whitespace().nth(1).and_then(|word| word.parse().ok()).ok_or("no figure in the log")?;
    holds.says("main", "holds ")?;
    let log = moves.says("main", "moved")?;
    crate::script::holds("what the third received", &log, &[&MOVED_BYTES.to_string()])?;

    let about = |path: &'static [&'static str], pod: &'static str, expected: f64| {
        move |summary: &Value| {
            near(find(summary, pod, path), expected).map_err(|why| format!("{pod} {}: {why}", path.join(".")))
        }
    };
    let time = about(&["cpu", "usageCoreNanoSeconds"], "stats-time", spent * 1e9);
    let memory = about(&["memory", "workingSetBytes"], "stats-memory", (HELD_MIB << 20) as f64);
    let received = about(&["rxBytes"], "stats-network", MOVED_BYTES as f64);
    let sent = about(&["txBytes"], "stats-network", MOVED_BYTES as f64);
    until_summary(stage, |summary| {
        time(summary)?;
        memory(summary)?;
        received(summary)?;
        sent(summary)?;
        about_the_node(summary)
    })?;
    rate_of_time(stage, "when all is spent", IDLE_CORES)
}

/// Asks for the summary until it is as it should be: the kubelet may answer with figures that are some seconds old.
fn until_summary(stage: &Stage, judge: impl Fn(&Value) -> Verdict) -> Verdict {
    let (mut said, mut asked): (Verdict, Option<Instant>) = (Err("the kubelet never answered".to_owned()), None);
    let found = wait(LIMIT, || {
        // An answer costs the kubelet and the runtime a look at all pods.
        if asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            said = stage.kubelet_page("/stats/summary").and_then(|summary| judge(&summary));
            asked = Some(Instant::now());
        }
        said.is_ok().then_some(())
    })?;
    found.map_or(said, Ok)
}

/// Waits until the one that spends time uses so many cores.
fn rate_of_time(stage: &Stage, when: &str, cores: RangeInclusive<f64>) -> Verdict {
    until_summary(stage, |summary| {
        let nano = find(summary, "stats-time", &["cpu", "usageNanoCores"]).ok_or("no usageNanoCores of stats-time")?;
        let now = nano / 1e9;
        if cores.contains(&now) { Ok(()) } else { Err(format!("{now:.3} cores of stats-time {when}")) }
    })
}

/// File systems have a size and something in them.
fn about_the_node(summary: &Value) -> Verdict {
    for system in ["imageFs", "containerFs"] {
        let system = &summary["node"]["runtime"][system];
        if system["capacityBytes"].as_u64().unwrap_or_default() == 0
            || system["usedBytes"].as_u64().unwrap_or_default() == 0
        {
            return Err(format!("a file system of the runtime is {system}"));
        }
    }
    Ok(())
}

fn near(figure: Option<f64>, expected: f64) -> Verdict {
    let figure = figure.ok_or("is not told")?;
    let off = (figure - expected).abs() / expected;
    if off <= TOLERANCE { Ok(()) } else { Err(format!("is {figure:.0}, not about {expected:.0}")) }
}

fn pod_of<'a>(summary: &'a Value, name: &str) -> Option<&'a Value> {
    let full = format!("{name}-{}", crate::kubelet::config::NODE);
    summary["pods"].as_array()?.iter().find(|pod| pod["podRef"]["name"] == full.as_str())
}

fn container_of<'a>(summary: &'a Value, pod: &str) -> Option<&'a Value> {
    pod_of(summary, pod)?["containers"].as_array()?.iter().find(|container| container["name"] == "main")
}

/// Finds a figure: of the container, or with a single word of the pod's network.
fn find(summary: &Value, pod: &str, path: &[&str]) -> Option<f64> {
    let (root, path) = match path {
        [word] => (&pod_of(summary, pod)?["network"], std::slice::from_ref(word)),
        _ => (container_of(summary, pod)?, path),
    };
    path.iter().fold(root, |value, key| &value[*key]).as_f64()
}

/// Serves connections one by one until told to end.
fn serve(listener: &TcpListener, ended: &AtomicBool, work: impl Fn(&mut std::net::TcpStream) -> io::Result<()>) {
    let _ = listener.set_nonblocking(true);
    while !ended.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                let _ = stream.set_nonblocking(false).and_then(|()| work(&mut stream));
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn write_zeros(stream: &mut std::net::TcpStream, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(bytes), stream)?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_and_judged() {
        let summary = json!({"pods": [{"podRef": {"name": "a-node1"}, "network": {"rxBytes": 95},
            "containers": [{"name": "main", "memory": {"workingSetBytes": 111}}]}]});
        assert_eq!(find(&summary, "a", &["rxBytes"]), Some(95.0));
        assert!(near(find(&summary, "a", &["rxBytes"]), 100.0).is_ok());
        assert!(near(find(&summary, "a", &["memory", "workingSetBytes"]), 100.0).is_err());
        assert!(near(find(&summary, "b", &["rxBytes"]), 100.0).is_err());
    }
}

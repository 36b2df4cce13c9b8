//! orlopd is killed under ten running pods and comes again: they never notice, and no line of their logs is missing.

use super::alike::Alike;
use crate::kubelet::pod::{LIMIT, Pod, container, wait, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Pods that only write numbered lines; the others make them ten.
const WRITERS: usize = 8;
/// Lines a second of each.
const RATE: usize = 20;
/// How long no daemon runs: some probes, some looks of the kubelet, and a hundred lines.
const DEAD: Duration = Duration::from_secs(6);
/// What the kubelet asks every second: it takes a good part of one, so that a moment in the middle can be met.
const PROBE: &str = "echo begun >> /v/probes; sleep 0.4; echo ended >> /v/probes";
/// How many probes must have ended before the daemon is killed, and after it has come back.
const PROBES_MIN: usize = 3;
/// What the exiting one ends with.
const CODE: i64 = 23;

pub fn play(stage: &Stage) -> Verdict {
    let writes = format!("exec /lines 1000000 {RATE} 60");
    let folder = stage.ground().join("root").join("killed");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let volumes = json!([{"name": "v", "hostPath": {"path": folder.display().to_string()}}]);
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let probe = json!({"exec": {"command": ["sh", "-c", PROBE]}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 1});
    let mut pods = Vec::new();
    for n in 0..WRITERS {
        pods.push(Pod::ask(stage, &format!("writer-{n}"), json!({"containers": [container(stage, "main", &writes)]}))?);
    }
    let probed = with(with(container(stage, "main", &writes), json!({"livenessProbe": probe})), mounts.clone());
    pods.push(Pod::ask(stage, "writer-probed", json!({"containers": [probed], "volumes": volumes}))?);
    let script = format!("while [ ! -e /v/end ]; do sleep 0.1; done; echo last words; exit {CODE}");
    let exits = with(container(stage, "main", &script), mounts);
    let spec = json!({"restartPolicy": "Never", "containers": [exits], "volumes": volumes});
    let exits = Pod::ask(stage, "exits", spec)?;
    let before = pods.iter().map(Alike::of).collect::<Verdict<Vec<_>>>()?;
    exits.ready()?;
    exits.living()?;
    // A daemon killed in the middle of a probe must not count against the container.
    let probes = || Probes::of(&folder);
    let probed = wait(LIMIT, || (probes().ended >= PROBES_MIN && probes().begun > probes().ended).then_some(()))?;
    probed.ok_or_else(|| format!("no probe goes on: {:?}", probes()))?;

    stage.runtime().kill()?;
    let killed = Instant::now();
    fs::write(folder.join("end"), "").map_err(|e| e.to_string())?;
    wait(LIMIT, || exits.processes().is_empty().then_some(()))?.ok_or("the exiting program has not ended")?;
    wait(LIMIT, || (killed.elapsed() >= DEAD).then_some(()))?;
    stage.runtime().start_again()?;

    let (back, so_far) = (Instant::now(), probes().ended);
    let state = exits.ended()?;
    let main = state.container("main").and_then(|main| main.end().map(|end| (end.code, main.restarts())));
    same("exit code and restarts of the one that ended meanwhile", main, Some((CODE, 0)))?;
    same("its log", exits.log("main").as_str(), "last words\n")?;
    // Only what the kubelet says after it has heard from the new daemon counts.
    wait(LIMIT, || (back.elapsed() >= DEAD && stage.view().asked > back + DEAD).then_some(()))?
        .ok_or("the kubelet says nothing")?;
    // Counted for all first, so that all write on at the same time.
    let written: Vec<usize> = pods.iter().map(|pod| numbers(pod).len()).collect();
    for ((pod, before), written) in pods.iter().zip(&before).zip(written) {
        before.still(pod)?;
        whole(pod, written)?;
    }
    let probed = wait(LIMIT, || (probes().ended >= so_far + PROBES_MIN).then_some(()))?;
    probed.ok_or_else(|| format!("it is probed no more: {:?}, {so_far} had ended before", probes()))
}

/// How many probes have begun, and how many have ended by themselves.
#[derive(Debug)]
struct Probes {
    begun: usize,
    ended: usize,
}

impl Probes {
    /// Reads what the probes wrote into a folder.
    fn of(folder: &Path) -> Self {
        let words = fs::read_to_string(folder.join("probes")).unwrap_or_default();
        let count = |word: &str| words.lines().filter(|line| *line == word).count();
        Self { begun: count("begun"), ended: count("ended") }
    }
}

/// Succeeds when a log's lines count up without a gap, and go on counting.
fn whole(pod: &Pod<'_>, so_far: usize) -> Verdict {
    wait(LIMIT, || (numbers(pod).len() > so_far + RATE).then_some(()))?
        .ok_or_else(|| format!("{} writes no more", pod.name))?;
    match numbers(pod).iter().zip(1..).find(|(has, expected)| **has != *expected) {
        Some((has, expected)) => Err(format!("line {expected} of {} is {has}", pod.name)),
        None => Ok(()),
    }
}

fn numbers(pod: &Pod<'_>) -> Vec<usize> {
    pod.log("main").lines().filter_map(|line| line.parse().ok()).collect()
}

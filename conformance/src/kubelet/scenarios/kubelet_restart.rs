//! The kubelet ends, or is killed, and comes again: pods go on as they were.

use super::alike::Alike;
use crate::kubelet::pod::{LIMIT, Pod, container, wait, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;
use std::time::Instant;

pub fn play(stage: &Stage) -> Verdict {
    let probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 5});
    let probed = with(container(stage, "main", "exec /lines 1000000 20 60"), json!({"livenessProbe": probe}));
    let sidecar = with(container(stage, "sidecar", "sleep 1000"), json!({"restartPolicy": "Always"}));
    let pods = [
        Pod::ask(stage, "stays-probed", json!({"containers": [probed]}))?,
        Pod::ask(
            stage,
            "stays-with-sidecar",
            json!({"initContainers": [sidecar], "containers": [container(stage, "main", "sleep 1000")]}),
        )?,
    ];
    let ends = Pod::ask(
        stage,
        "ends-meanwhile",
        json!({
            "restartPolicy": "Never", "containers": [container(stage, "main", "while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 4")],
        }),
    )?;
    let before = pods.iter().map(Alike::of).collect::<Verdict<Vec<_>>>()?;
    ends.ready()?;

    // A runtime may keep a process of its own in the pod.
    let all = ends.processes().len();
    stage.kubelet().end();
    // What ends while no kubelet looks is told by the next one.
    ends.exec("main", &["touch", "/tmp/end"])?;
    wait(LIMIT, || (ends.processes().len() < all).then_some(()))?.ok_or("the program has not ended")?;
    again(stage, &pods, &before)?;
    let state = ends.ended()?;
    same(
        "exit code of the one that ended meanwhile",
        state.container("main").and_then(|c| c.end()).map(|end| end.code),
        Some(4),
    )?;

    stage.kubelet().kill();
    again(stage, &pods, &before)
}

fn again(stage: &Stage, pods: &[Pod<'_>], before: &[Alike]) -> Verdict {
    let begun = Instant::now();
    stage.kubelet().start()?;
    wait(LIMIT, || (stage.view().asked > begun).then_some(()))?.ok_or("the kubelet says nothing of pods")?;
    for (pod, before) in pods.iter().zip(before) {
        before.still(pod)?;
    }
    Ok(())
}

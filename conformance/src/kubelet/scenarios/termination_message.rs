//! The last words of a container: from its file, or from its log when it failed and that was asked for.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

/// What a kubelet takes at most of one container.
const BYTES_MAX: usize = 4096;

pub fn play(stage: &Stage) -> Verdict {
    let from_log = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
    let spec = json!({"restartPolicy": "Never", "containers": [
        container(stage, "usual", "printf 'the usual place' > /dev/termination-log; exit 1"),
        with(container(stage, "other", "printf 'another place' > /tmp/words"), json!({"terminationMessagePath": "/tmp/words"})),
        with(container(stage, "log", "echo one; echo two; exit 2"), from_log.clone()),
        with(container(stage, "log-unused", "echo one"), from_log),
        container(stage, "silent", "echo one; exit 3"),
    ]});
    let pod = Pod::ask(stage, "termination-message", spec)?;
    let long = "head -c 6000 /dev/zero | tr '\\0' x > /dev/termination-log";
    let spec = json!({"restartPolicy": "Never", "containers": [container(stage, "main", long)]});
    let long = Pod::ask(stage, "termination-message-long", spec)?;
    let state = pod.ended()?;
    for (name, code, message) in [
        ("usual", 1, "the usual place"),
        ("other", 0, "another place"),
        ("log", 2, "one\ntwo\n"),
        ("log-unused", 0, ""),
        ("silent", 3, ""),
    ] {
        let end = state.container(name).and_then(|container| container.end());
        same(&format!("end of {name}"), end.map(|end| (end.code, end.message)), Some((code, message)))?;
    }
    let last = long.ended()?.container("main").and_then(|main| main.end()).map(|end| end.message.len());
    same("bytes of the longest", last, Some(BYTES_MAX))
}

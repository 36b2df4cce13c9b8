//! Init containers run one after the other, each to its end, before the others start.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

pub fn play(stage: &Stage) -> Verdict {
    let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let volume = json!([{"name": "v", "emptyDir": {}}]);
    let step = |name: &str, script: &str| with(container(stage, name, script), mount.clone());
    // The first fails once: it is tried again, and nothing after it has run meanwhile.
    let first =
        "echo first >> /v/order; [ -e /v/again ] || { touch /v/again; exit 1; }; sleep 1; echo first ends >> /v/order";
    let spec = json!({
        "initContainers": [step("first", first), step("second", "echo second >> /v/order")],
        "containers": [step("main", "echo main >> /v/order; cat /v/order; sleep 1000")],
        "volumes": volume,
    });
    let pod = Pod::ask(stage, "init-order", spec)?;
    let state = pod.ready()?;
    let log = pod.says("main", "main")?;
    same("the order", log.as_str(), "first\nfirst\nfirst ends\nsecond\nmain\n")?;
    same("Initialized", state.has("Initialized"), true)?;
    same("restarts of the first", state.container("first").map(|first| first.restarts()), Some(1))?;

    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [step("first", "exit 5")],
        "containers": [step("main", "echo must not run")],
        "volumes": volume,
    });
    let pod = Pod::ask(stage, "init-fails", spec)?;
    let state = pod.ended()?;
    same("phase when the first step fails", state.phase(), "Failed")?;
    same("what ran then", pod.log("main").as_str(), "")
}

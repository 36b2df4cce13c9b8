//! Hooks: one after the start, before the container counts as running; one before it is told to end.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;
use std::fs;

pub fn play(stage: &Stage) -> Verdict {
    let folder = stage.ground().join("root").join("hooks");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let script = "trap 'echo term >> /h/order; exit 0' TERM; while true; do sleep 0.1; done";
    let hook = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
    let hooks = json!({
        "lifecycle": {"postStart": hook("sleep 1; echo post-start >> /h/order"),
                      "preStop": hook("echo pre-stop >> /h/order; sleep 1; echo pre-stop ends >> /h/order")},
        "volumeMounts": [{"name": "h", "mountPath": "/h"}],
    });
    let volume = json!([{"name": "h", "hostPath": {"path": folder.display().to_string(), "type": "Directory"}}]);
    let main = with(container(stage, "main", script), hooks);
    let spec = json!({"terminationGracePeriodSeconds": 30, "containers": [main], "volumes": volume});
    let pod = Pod::ask(stage, "hooks", spec)?;
    pod.ready()?;
    let order = || fs::read_to_string(folder.join("order")).unwrap_or_default();
    same("what had happened when it was ready", order().as_str(), "post-start\n")?;
    pod.remove()?;
    same("all that happened", order().as_str(), "post-start\npre-stop\npre-stop ends\nterm\n")?;

    // A hook that fails is the container's end.
    let broken = with(container(stage, "main", "sleep 1000"), json!({"lifecycle": {"postStart": hook("exit 9")}}));
    let pod = Pod::ask(stage, "hook-fails", json!({"restartPolicy": "Never", "containers": [broken]}))?;
    same("phase after a failed hook", pod.ended()?.phase(), "Failed")
}

//! Sidecars (init containers that are always restarted) start in order before the others, are restarted alone, and end after
//! them, the last one first.

use crate::kubelet::pod::{LIMIT, Pod, container, wait, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;
use std::fs;

pub fn play(stage: &Stage) -> Verdict {
    let folder = stage.ground().join("root").join("sidecar");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let step = |name: &str, script: &str| with(container(stage, name, script), mount.clone());
    let tells = |name: &str| {
        format!(
            "trap 'echo {name} ends >> /v/order; exit 0' TERM; echo {name} >> /v/order; touch /tmp/up; \
             while [ ! -e /tmp/die ]; do sleep 0.1; done; exit 1"
        )
    };
    let probe = json!({"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1, "timeoutSeconds": 10,
                       "failureThreshold": 60});
    let sidecar =
        |name: &str| with(step(name, &tells(name)), json!({"restartPolicy": "Always", "startupProbe": probe}));
    let spec = json!({
        "terminationGracePeriodSeconds": 30,
        "initContainers": [
            step("before", "echo before >> /v/order"), sidecar("sidecar"),
            step("between", "echo between >> /v/order"), sidecar("another"),
        ],
        "containers": [step("main", &tells("main"))],
        "volumes": [{"name": "v", "hostPath": {"path": folder.display().to_string()}}],
    });
    let pod = Pod::ask(stage, "sidecar", spec)?;
    pod.ready()?;
    let order = || fs::read_to_string(folder.join("order")).unwrap_or_default();
    // The last one is ready when it runs, which is before it says so.
    let started = wait(LIMIT, || order().ends_with("main\n").then(order))?.unwrap_or_else(order);
    same("the order of starts", started.as_str(), "before\nsidecar\nbetween\nanother\nmain\n")?;
    pod.exec("sidecar", &["touch", "/tmp/die"])?;
    let restarts = pod.until("the sidecar was started again", |state| {
        let sidecar = state.container("sidecar").filter(|sidecar| sidecar.restarts() == 1 && sidecar.started())?;
        let others = [state.container("another")?, state.container("main")?];
        sidecar.running().then(|| others.map(|other| other.restarts()))
    })?;
    same("restarts of the others", restarts, [0, 0])?;
    pod.remove()?;
    let expected = "before\nsidecar\nbetween\nanother\nmain\nsidecar\nmain ends\nanother ends\nsidecar ends\n";
    same("the order of all", order().as_str(), expected)
}

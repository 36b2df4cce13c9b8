//! A sidecar (an init container that is always restarted) starts before the others, is restarted alone, and ends after them.

use crate::kubelet::pod::{Pod, container, with};
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
    let sidecar = with(step("sidecar", &tells("sidecar")), json!({"restartPolicy": "Always", "startupProbe": probe}));
    let spec = json!({
        "terminationGracePeriodSeconds": 30,
        "initContainers": [step("before", "echo before >> /v/order"), sidecar, step("after", "echo after >> /v/order")],
        "containers": [step("main", &tells("main"))],
        "volumes": [{"name": "v", "hostPath": {"path": folder.display().to_string()}}],
    });
    let pod = Pod::ask(stage, "sidecar", spec)?;
    pod.ready()?;
    let order = || fs::read_to_string(folder.join("order")).unwrap_or_default();
    same("the order of starts", order().as_str(), "before\nsidecar\nafter\nmain\n")?;
    pod.exec("sidecar", &["touch", "/tmp/die"])?;
    let restarts = pod.until("the sidecar was started again", |state| {
        let (sidecar, main) = (state.container("sidecar")?, state.container("main")?);
        (sidecar.restarts() == 1 && sidecar.running() && sidecar.started()).then(|| main.restarts())
    })?;
    same("restarts of the main container", restarts, 0)?;
    pod.remove()?;
    let expected = "before\nsidecar\nafter\nmain\nsidecar\nmain ends\nsidecar ends\n";
    same("the order of all", order().as_str(), expected)
}

//! A pod is ready when and while its readiness probe says so, and is never restarted for it.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

pub fn play(stage: &Stage) -> Verdict {
    let script = "mkdir -p /tmp/www; exec httpd -f -p 8080 -h /tmp/www";
    let probe = json!({"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1,
                       "timeoutSeconds": 10});
    let main = with(container(stage, "main", script), json!({"readinessProbe": probe}));
    let pod = Pod::ask(stage, "readiness", json!({"containers": [main]}))?;
    pod.until("it runs and is not ready", |state| {
        (state.phase() == "Running" && state.container("main")?.running() && !state.has("Ready")).then_some(())
    })?;
    pod.exec("main", &["sh", "-c", "mkdir -p /tmp/www; touch /tmp/www/ready"])?;
    pod.until("it is ready", |state| state.has("Ready").then_some(()))?;
    pod.exec("main", &["rm", "/tmp/www/ready"])?;
    pod.until("it is not ready any more", |state| (!state.has("Ready")).then_some(()))?;
    let restarts = pod.until("it is known", |state| state.container("main").map(|main| main.restarts()))?;
    same("restarts", restarts, 0)
}

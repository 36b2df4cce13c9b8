//! A container whose page answers no more is killed and started again.

use crate::kubelet::pod::{LIMIT, Pod, container, wait, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

pub fn play(stage: &Stage) -> Verdict {
    let script = "mkdir -p /tmp/www; echo fine > /tmp/www/health; exec httpd -f -p 8080 -h /tmp/www";
    let probe = json!({"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2,
                       "timeoutSeconds": 10, "initialDelaySeconds": 2});
    let main = with(container(stage, "main", script), json!({"livenessProbe": probe}));
    let pod = Pod::ask(stage, "liveness-http", json!({"containers": [main]}))?;
    let ready = pod.ready()?;
    // A container counts as ready from its start: its server needs a moment more.
    let page = wait(LIMIT, || stage.page(ready.address(), 8080, "/health").ok())?;
    same("the page", page.unwrap_or_default().trim(), "fine")?;
    pod.exec("main", &["rm", "/tmp/www/health"])?;
    let address = pod.until("it was started again", |state| {
        let main = state.container("main")?;
        (main.restarts() >= 1 && main.running()).then(|| state.address().to_owned())
    })?;
    same("the pod's address after the restart", address.as_str(), ready.address())
}

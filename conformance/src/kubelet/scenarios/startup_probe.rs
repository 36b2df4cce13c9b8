//! While its startup probe has not succeeded, the other probes of a container wait.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

pub fn play(stage: &Stage) -> Verdict {
    // The liveness probe would kill it within a second or two; it needs about five to start.
    let slow = "sleep 5; touch /tmp/started; echo started; sleep 1000";
    let probe = |limit: u32| {
        json!({"exec": {"command": ["test", "-e", "/tmp/started"]}, "periodSeconds": 1,
                                    "failureThreshold": limit, "timeoutSeconds": 10})
    };
    let patient = with(container(stage, "main", slow), json!({"startupProbe": probe(60), "livenessProbe": probe(1)}));
    let never = with(container(stage, "main", "sleep 1000"), json!({"startupProbe": probe(3)}));
    let pod = Pod::ask(stage, "startup-slow", json!({"containers": [patient]}))?;
    let hopeless = Pod::ask(stage, "startup-never", json!({"restartPolicy": "Never", "containers": [never]}))?;
    pod.until("it runs and has not started", |state| {
        let main = state.container("main")?;
        (main.running() && !main.started() && !main.ready()).then_some(())
    })?;
    let restarts = pod.until("it has started", |state| {
        let main = state.container("main")?;
        (main.started() && main.ready()).then(|| main.restarts())
    })?;
    same("restarts", restarts, 0)?;
    same("the log", pod.log("main").as_str(), "started\n")?;
    // One that never starts is killed for it.
    let state = hopeless.ended()?;
    same("phase of one that never starts", state.phase(), "Failed")?;
    same("its exit code", state.container("main").and_then(|main| main.end()).map(|end| end.code), Some(137))
}

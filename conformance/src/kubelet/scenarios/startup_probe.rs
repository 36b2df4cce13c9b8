//! While its startup probe has not succeeded, the other probes of a container wait.

use crate::kubelet::pod::{LIMIT, Pod, container, wait, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

/// How often it is asked whether it has started, before it has. The liveness probe would have killed it at the first time.
const ASKED: usize = 4;

pub fn play(stage: &Stage) -> Verdict {
    // The liveness probe would kill it within a second or two; it starts when it is told to.
    let slow = "until [ -e /tmp/go ]; do sleep 0.1; done; touch /tmp/started; echo started; sleep 1000";
    let probe = |limit: u32| {
        json!({"exec": {"command": ["sh", "-c", "echo >> /tmp/asked; test -e /tmp/started"]}, "periodSeconds": 1,
                                    "failureThreshold": limit, "timeoutSeconds": 10})
    };
    let patient = with(container(stage, "main", slow), json!({"startupProbe": probe(300), "livenessProbe": probe(1)}));
    let never = with(container(stage, "main", "sleep 1000"), json!({"startupProbe": probe(3)}));
    let pod = Pod::ask(stage, "startup-slow", json!({"containers": [patient]}))?;
    let hopeless = Pod::ask(stage, "startup-never", json!({"restartPolicy": "Never", "containers": [never]}))?;
    pod.until("it runs and has not started", |state| {
        let main = state.container("main")?;
        (main.running() && !main.started() && !main.ready()).then_some(())
    })?;
    let asked = || pod.exec("main", &["sh", "-c", "wc -l < /tmp/asked"]).ok()?.trim().parse::<usize>().ok();
    wait(LIMIT, || asked().filter(|times| *times >= ASKED))?.ok_or("nobody asks whether it has started")?;
    pod.exec("main", &["touch", "/tmp/go"])?;
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

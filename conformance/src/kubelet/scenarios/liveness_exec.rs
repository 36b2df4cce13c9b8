//! A container whose liveness command fails is killed and started again.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds};
use serde_json::json;

pub fn play(stage: &Stage) -> Verdict {
    // Alive for some seconds, then sick; its end is by the probe alone.
    let script = "trap 'echo told to end; exit 0' TERM; touch /tmp/alive; echo up; sleep 4; rm /tmp/alive; \
                  while true; do sleep 0.2; done";
    let probe = json!({"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 2,
                       "timeoutSeconds": 10});
    let sick = with(container(stage, "sick", script), json!({"livenessProbe": probe}));
    let well = with(container(stage, "well", "touch /tmp/alive; sleep 1000"), json!({"livenessProbe": probe}));
    let spec = json!({"terminationGracePeriodSeconds": 5, "containers": [sick, well]});
    let pod = Pod::ask(stage, "liveness-exec", spec)?;
    let before = pod.until("both run", |state| {
        let all = ["sick", "well"].map(|name| state.container(name).filter(|c| c.running()).map(|c| c.id().to_owned()));
        match all {
            [Some(sick), Some(well)] => Some((sick, well)),
            [..] => None,
        }
    })?;
    pod.until("the sick one was started again", |state| {
        let sick = state.container("sick")?;
        (sick.restarts() >= 1 && sick.running() && sick.id() != before.0).then_some(())
    })?;
    let untouched = pod.until("the other is known", |state| {
        state.container("well").map(|well| well.restarts() == 0 && well.id() == before.1)
    })?;
    if !untouched {
        return Err("the other container was started again, too".to_owned());
    }
    // The kubelet keeps one dead container: the log of the attempt before.
    let log = pod.log_of("sick", 0).unwrap_or_default();
    holds("the first attempt's log", &log, &["up", "told to end"])
}

//! Whether a container is started again is the pod's restart policy's to say.

use crate::kubelet::pod::{Pod, container};
use crate::kubelet::stage::Stage;
use crate::kubelet::state::End;
use crate::script::{Verdict, same};
use serde_json::json;

/// Fails the first time and succeeds the second: the volume remembers.
const SECOND_TIME: &str = "if [ -e /v/seen ]; then echo second; exit 0; fi; touch /v/seen; echo first; exit 7";

pub fn play(stage: &Stage) -> Verdict {
    let spec = |policy: &str, script: &str| {
        let mut main = container(stage, "main", script);
        main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        json!({"restartPolicy": policy, "containers": [main], "volumes": [{"name": "v", "emptyDir": {}}]})
    };
    let never = Pod::ask(stage, "restart-never", spec("Never", "exit 3"))?;
    let failing = Pod::ask(stage, "restart-on-failure", spec("OnFailure", SECOND_TIME))?;
    let satisfied = Pod::ask(stage, "restart-not-needed", spec("OnFailure", "exit 0"))?;
    let always = Pod::ask(stage, "restart-always", spec("Always", "exit 0"))?;

    let state = never.ended()?;
    let main = state.container("main").ok_or("no status of the container")?;
    same("phase with Never", state.phase(), "Failed")?;
    same("restarts with Never", main.restarts(), 0)?;
    same("end with Never", main.end(), Some(End { code: 3, reason: "Error", message: "" }))?;

    let state = failing.ended()?;
    let main = state.container("main").ok_or("no status of the container")?;
    same("phase with OnFailure", state.phase(), "Succeeded")?;
    same("restarts with OnFailure", main.restarts(), 1)?;
    same("end with OnFailure", main.end(), Some(End { code: 0, reason: "Completed", message: "" }))?;
    same("last end with OnFailure", main.last_end(), Some(End { code: 7, reason: "Error", message: "" }))?;
    same("log of the second attempt", failing.log_of("main", 1).as_deref(), Some("second\n"))?;

    let state = satisfied.ended()?;
    same("phase with OnFailure and success", state.phase(), "Succeeded")?;
    same("restarts with success", state.container("main").map(|main| main.restarts()), Some(0))?;

    always.until("it was started again though it succeeded", |state| {
        let main = state.container("main")?;
        (main.restarts() >= 1 && main.last_end()?.code == 0).then_some(())
    })
}

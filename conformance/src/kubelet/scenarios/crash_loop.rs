//! A container that always fails is started again, with growing pauses.

use crate::kubelet::pod::{LIMIT, Pod, container, wait};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

/// The first pause that a kubelet makes, seconds, less what is lost by counting whole ones.
const FIRST_PAUSE: u64 = 9;

pub fn play(stage: &Stage) -> Verdict {
    let script = "cut -d. -f1 /proc/uptime >> /v/starts; cat /v/starts; exit 42";
    let mut main = container(stage, "main", script);
    main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let spec = json!({"containers": [main], "volumes": [{"name": "v", "emptyDir": {}}]});
    let pod = Pod::ask(stage, "crash-loop", spec)?;
    pod.until("it waits after a crash", |state| {
        let main = state.container("main")?;
        (main.waiting() == "CrashLoopBackOff" && main.restarts() >= 1).then_some(())
    })?;
    let code = pod.until("it was started a third time", |state| {
        let main = state.container("main")?;
        (main.restarts() >= 2).then(|| main.last_end().map(|end| end.code))
    })?;
    same("exit code of the attempt before", code, Some(42))?;
    let starts =
        wait(LIMIT, || Some(numbers(&pod.log_of("main", 2)?)).filter(|starts| starts.len() == 3))?.unwrap_or_default();
    match starts[..] {
        [first, second, third] if third - second >= FIRST_PAUSE && third - second > second - first => Ok(()),
        [..] => Err(format!("it was started at the seconds {starts:?}")),
    }
}

fn numbers(log: &str) -> Vec<u64> {
    log.lines().flat_map(str::parse).collect()
}

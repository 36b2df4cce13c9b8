//! A container that always fails is started again, with growing pauses.

use crate::kubelet::pod::{Pod, container};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;
use std::time::{Duration, Instant};

/// The first pause that a kubelet makes, less what its clock may differ.
const FIRST_PAUSE: Duration = Duration::from_secs(8);

pub fn play(stage: &Stage) -> Verdict {
    let script = "echo attempt; exit 42";
    let pod = Pod::ask(stage, "crash-loop", json!({"containers": [container(stage, "main", script)]}))?;
    pod.until("it waits after a crash", |state| {
        let main = state.container("main")?;
        (main.waiting() == "CrashLoopBackOff" && main.restarts() >= 1).then_some(())
    })?;
    let first = Instant::now();
    let code = pod.until("it was started a third time", |state| {
        let main = state.container("main")?;
        (main.restarts() >= 2).then(|| main.last_end().map(|end| end.code))
    })?;
    same("exit code of the attempt before", code, Some(42))?;
    if first.elapsed() < FIRST_PAUSE {
        return Err(format!("the pause was only {:?}", first.elapsed()));
    }
    same("log of the last attempt", pod.log_of("main", 2).as_deref(), Some("attempt\n"))
}

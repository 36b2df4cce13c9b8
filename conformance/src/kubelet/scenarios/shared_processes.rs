//! Containers of a pod that shares its processes see and signal each other's; those of another pod don't.

use crate::kubelet::pod::{Pod, container};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;

// A kubelet makes one dollar sign of two.
pub fn play(stage: &Stage) -> Verdict {
    let quiet = "trap 'echo was told; exit 0' HUP; while true; do sleep 0.1; done";
    let looks = "while ! ps | grep -q [w]as.told; do sleep 0.2; done; \
                 echo own=$$$$; ps; echo end; sleep 1000";
    let looks_alone = "echo own=$$$$; ps; echo end; sleep 1000";
    let spec = json!({
        "shareProcessNamespace": true,
        "containers": [container(stage, "quiet", quiet), container(stage, "looks", looks)],
    });
    let shared = Pod::ask(stage, "shared-processes", spec)?;
    let spec = json!({"containers": [container(stage, "quiet", quiet), container(stage, "looks", looks_alone)]});
    let alone = Pod::ask(stage, "own-processes", spec)?;

    shared.ready()?;
    let log = shared.says("looks", "end")?;
    holds("the processes it sees", &log, &["was told"])?;
    same("whether it is the first process", log.contains("own=1\n"), false)?;
    shared.exec("looks", &["sh", "-c", "kill -HUP `ps | grep '[w]as told' | awk '{print $1}' | head -1`"])?;
    shared.says("quiet", "was told")?;

    alone.ready()?;
    let log = alone.says("looks", "end")?;
    holds("what one alone sees", &log, &["own=1\n"])?;
    same("whether it sees the other", log.contains("was told"), false)
}

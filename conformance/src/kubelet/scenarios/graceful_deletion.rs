//! A pod that is taken away is told to end, has its grace, and is killed after it; one that listens is gone sooner.

use crate::kubelet::pod::{Pod, container};
use crate::kubelet::stage::Stage;
use crate::script::Verdict;
use serde_json::json;
use std::fs;
use std::time::Duration;

/// Grace of the one that doesn't listen, and of the one that does, seconds.
const SHORT: u64 = 5;
const LONG: u64 = 60;
/// What the kubelet needs at most on a busy machine, beside the grace.
const OVERHEAD_MAX: Duration = Duration::from_secs(20);

pub fn play(stage: &Stage) -> Verdict {
    let folder = stage.ground().join("root").join("deletion");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let volumes = json!([{"name": "v", "hostPath": {"path": folder.display().to_string()}}]);
    let ask = |name: &str, grace: u64, on_term: &str| {
        let script = format!("trap 'echo {name} was told >> /v/words; {on_term}' TERM; while true; do sleep 0.1; done");
        let mut main = container(stage, "main", &script);
        main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        Pod::ask(stage, name, json!({"terminationGracePeriodSeconds": grace, "containers": [main], "volumes": volumes}))
    };
    let deaf = ask("ignores-term", SHORT, "true")?;
    let polite = ask("heeds-term", LONG, "exit 0")?;
    deaf.ready()?;
    polite.ready()?;
    let processes: Vec<(u32, u64)> = deaf.living()?.into_iter().chain(polite.living()?).collect();
    let took = deaf.remove()?;
    if took < Duration::from_secs(SHORT) || took > Duration::from_secs(SHORT) + OVERHEAD_MAX {
        return Err(format!("the one that ignores SIGTERM was gone after {took:?}, with a grace of {SHORT} s"));
    }
    let took = polite.remove()?;
    if took > OVERHEAD_MAX {
        return Err(format!("the one that heeds SIGTERM was gone only after {took:?}"));
    }
    let words = fs::read_to_string(folder.join("words")).unwrap_or_default();
    crate::script::holds("what they wrote", &words, &["ignores-term was told", "heeds-term was told"])?;
    let living = |(pid, started): &(u32, u64)| {
        orlop_testkit::guard::Process::read(*pid).is_some_and(|process| process.started == *started && !process.zombie)
    };
    match processes.iter().find(|process| living(process)) {
        Some((pid, _)) => Err(format!("process {pid} still lives")),
        None => Ok(()),
    }
}

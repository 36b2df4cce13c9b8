//! Logs through the kubelet: all, the last lines, those since a while, with times, of the attempt before, and followed.

use crate::kubelet::pod::{LIMIT, Pod, container, wait};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;

pub fn play(stage: &Stage) -> Verdict {
    // The pause is for runtimes that read the two outputs beside each other.
    let script = "[ -e /v/again ] || { touch /v/again; echo before; exit 1; }; \
                  for n in 1 2 3; do echo line $n; done; sleep 0.5; echo warning >&2; \
                  while [ ! -e /v/go ]; do sleep 0.1; done; echo followed; printf 'no end'; sleep 1; exit 0";
    let mut main = container(stage, "main", script);
    main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let spec = json!({"restartPolicy": "OnFailure", "containers": [main], "volumes": [{"name": "v", "emptyDir": {}}]});
    let pod = Pod::ask(stage, "logs", spec)?;
    pod.until("it was started again", |state| {
        let main = state.container("main")?;
        (main.restarts() == 1 && main.running()).then_some(())
    })?;
    pod.says("main", "warning")?;
    let path = pod.path();
    let logs = |query: &str| stage.call(&["logs", "-pod", &path, "-container", "main", "-query", query]);
    let text = |query: &str| Ok::<_, String>(logs(query)?.end()?.stdout);

    let all = text("")?;
    same("all of it", all.contains("line 1\nline 2\nline 3\n") && all.contains("warning\n"), true)?;
    same("the last two", text("tailLines=2")?.lines().count(), 2)?;
    same("those since an hour", text("sinceSeconds=3600")?.as_str(), all.as_str())?;
    let nothing = wait(LIMIT, || text("sinceSeconds=1").ok().filter(String::is_empty))?;
    same("those since a second, after some", nothing.as_deref(), Some(""))?;
    same("its first bytes", text("limitBytes=6")?.as_str(), "line 1")?;
    same("the attempt before", text("previous=true")?.as_str(), "before\n")?;
    let timed = text("timestamps=true")?;
    let begins_with_a_time = |line: &str| line.len() > 30 && line.as_bytes()[4] == b'-' && line.as_bytes()[10] == b'T';
    same("whether each line begins with its time", timed.lines().all(begins_with_a_time), true)?;

    let follow = logs("follow=true&tailLines=1")?;
    follow.until("something is heard", |heard| (!heard.stdout.is_empty()).then_some(()))?;
    pod.exec("main", &["touch", "/v/go"])?;
    follow.says("followed")?;
    // The end of the container is the end of the log.
    let heard = follow.end()?;
    same("the end of what was followed", heard.stdout.ends_with("followed\nno end"), true)
}

//! A pod with users of its own: root inside is nobody outside, also as the owner of its volumes' files.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// A kubelet gives pods users from here on, as many as this each.
const USERS: u32 = 65536;

pub fn play(stage: &Stage) -> Verdict {
    let script =
        "cat /proc/self/uid_map; id -u; touch /v/mine; ls -ln /v/mine; ls -ln /etc/passwd; echo end; sleep 1000";
    let spec = || {
        let main = with(container(stage, "main", script), json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
        json!({"hostUsers": false, "containers": [main], "volumes": [{"name": "v", "emptyDir": {}}]})
    };
    let pods = [Pod::ask(stage, "own-users", spec())?, Pod::ask(stage, "own-users-too", spec())?];
    let mut firsts = Vec::new();
    for pod in &pods {
        let state = pod.ready()?;
        let log = pod.says("main", "end")?;
        let map: Vec<u32> = log.lines().next().unwrap_or_default().split_whitespace().flat_map(str::parse).collect();
        let [inside, outside, count] = map[..] else { return Err(format!("no map in the log: {log}")) };
        same("the map's inside and count", (inside, count), (0, USERS))?;
        if outside < USERS {
            return Err(format!("root inside is {outside} outside"));
        }
        same("the user inside", log.lines().nth(1), Some("0"))?;
        let owned = |name: &str| log.lines().any(|line| line.ends_with(name) && line.contains(" 0        0 "));
        same("whether root owns its files inside", (owned("/v/mine"), owned("/etc/passwd")), (true, true))?;
        // The kernel knows the process by its outer user.
        for (pid, _) in pod.living()? {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            holds("the process's status outside", &status, &[&format!("Uid:\t{outside}\t")])?;
        }
        // Volumes are mounted with the map, so that their files are root's on disk.
        let file = stage.ground().join("kubelet/pods").join(state.uid()).join("volumes/kubernetes.io~empty-dir/v/mine");
        same("the file's owner outside", fs::metadata(file).map(|m| m.uid()).map_err(|e| e.to_string())?, 0)?;
        firsts.push(outside);
    }
    same("whether two pods share users", firsts[0] == firsts[1], false)
}

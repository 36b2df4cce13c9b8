//! A part of a volume: a folder, one named by the environment, a file; a link that leads out is refused.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;
use std::fs;

pub fn play(stage: &Stage) -> Verdict {
    let folder = stage.ground().join("root").join("sub-path");
    let prepared = fs::create_dir_all(folder.join("part"))
        .and_then(|()| fs::write(folder.join("part/word"), "of the part\n"))
        .and_then(|()| fs::write(folder.join("single"), "one file\n"))
        .and_then(|()| std::os::unix::fs::symlink("/etc", folder.join("leads-out")));
    prepared.map_err(|e| e.to_string())?;
    let volumes = json!([{"name": "v", "hostPath": {"path": folder.display().to_string(), "type": "Directory"}}]);
    let script = "ls /part; cat /part/word; cat /etc/single; echo `ls /own | wc -l` entries; echo written > /own/made; echo end; \
                  sleep 1000";
    let main = with(
        container(stage, "main", script),
        json!({
            "env": [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "volumeMounts": [
                {"name": "v", "mountPath": "/part", "subPath": "part"},
                {"name": "v", "mountPath": "/etc/single", "subPath": "single"},
                {"name": "v", "mountPath": "/own", "subPathExpr": "of-$(WHO)"},
            ],
        }),
    );
    let out = with(
        container(stage, "main", "ls /out"),
        json!({
            "volumeMounts": [{"name": "v", "mountPath": "/out", "subPath": "leads-out"}],
        }),
    );
    let pod = Pod::ask(stage, "sub-path", json!({"containers": [main], "volumes": volumes}))?;
    let escaping = Pod::ask(stage, "sub-path-out", json!({"containers": [out], "volumes": volumes}))?;
    let log = pod.says("main", "end")?;
    same("the log", log.as_str(), "word\nof the part\none file\n0 entries\nend\n")?;
    let own = folder.join(format!("of-sub-path-{}", crate::kubelet::config::NODE)).join("made");
    same("what the host reads", fs::read_to_string(own).unwrap_or_default().as_str(), "written\n")?;
    let why = escaping.until("the link that leads out is refused", |state| {
        let main = state.container("main")?;
        main.waiting().contains("Error").then(|| main.waiting().to_owned())
    })?;
    holds("the reason", &why, &["CreateContainerConfigError"])?;
    same("what it listed", escaping.log("main").as_str(), "")
}

//! Folders and files of the host: seen, written, read-only, made when asked for, refused when missing.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;
use std::fs;

pub fn play(stage: &Stage) -> Verdict {
    let folder = stage.ground().join("root").join("host-path");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join("file"), "from the host\n"))
        .map_err(|e| e.to_string())?;
    let path = |name: &str| folder.join(name).display().to_string();
    let script = "cat /folder/file; echo from the pod > /folder/answer; cat /file; \
                  echo x > /read-only/x || echo refused; touch /made/it; echo end; sleep 1000";
    let mounts = json!({"volumeMounts": [
        {"name": "folder", "mountPath": "/folder"}, {"name": "folder", "mountPath": "/read-only", "readOnly": true},
        {"name": "file", "mountPath": "/file"}, {"name": "made", "mountPath": "/made"},
    ]});
    let volume = |name: &str, path: String, kind: &str| json!({"name": name, "hostPath": {"path": path, "type": kind}});
    let spec = json!({
        "containers": [with(container(stage, "main", script), mounts)],
        "volumes": [
            volume("folder", folder.display().to_string(), "Directory"),
            volume("file", path("file"), "File"),
            volume("made", path("made"), "DirectoryOrCreate"),
        ],
    });
    let pod = Pod::ask(stage, "host-path", spec)?;
    let missing = Pod::ask(
        stage,
        "host-path-missing",
        json!({
            "containers": [with(container(stage, "main", "true"), json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))],
            "volumes": [volume("v", path("missing"), "Directory")],
        }),
    )?;
    let log = pod.says("main", "end")?;
    same("what was read", log.lines().filter(|line| *line == "from the host").count(), 2)?;
    holds("the log", &log, &["refused"])?;
    same(
        "what the host reads",
        fs::read_to_string(folder.join("answer")).unwrap_or_default().as_str(),
        "from the pod\n",
    )?;
    same("the folder that was made holds a file", folder.join("made/it").exists(), true)?;
    missing.until("the missing one waits", |state| {
        (state.phase() == "Pending" && state.container("main")?.waiting() == "ContainerCreating").then_some(())
    })
}

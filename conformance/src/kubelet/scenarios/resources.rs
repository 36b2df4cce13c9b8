//! Requests and limits become settings of cgroups, and one that takes more memory than it may is killed for it.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

pub fn play(stage: &Stage) -> Verdict {
    let limits = json!({"resources": {
        "requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "48Mi"},
    }});
    let main = with(container(stage, "main", "sleep 1000"), limits.clone());
    let pod = Pod::ask(stage, "resources", json!({"containers": [main]}))?;
    let greedy = with(container(stage, "main", "/burn memory 200"), limits);
    let greedy = Pod::ask(stage, "out-of-memory", json!({"restartPolicy": "OnFailure", "containers": [greedy]}))?;

    let state = pod.ready()?;
    let id = state.container("main").map(|main| main.id()).ok_or("no status of the container")?;
    for (hierarchy, v1, v2) in [
        ("memory", ("memory.limit_in_bytes", "50331648"), ("memory.max", "50331648")),
        ("cpu", ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
        ("cpu", ("cpu.shares", "102"), ("cpu.weight", "4")),
    ] {
        let folder = pod.cgroup(hierarchy).ok_or_else(|| format!("the pod has no cgroup of {hierarchy}"))?;
        let (file, value) = if Path::new("/sys/fs/cgroup").join(hierarchy).exists() { v1 } else { v2 };
        same(&format!("{file} of the pod"), read(&folder, file).as_str(), value)?;
        let container = below(&folder, id).ok_or("the container has no cgroup")?;
        same(&format!("{file} of the container"), read(&container, file).as_str(), value)?;
    }

    greedy.until("it was killed for want of memory, and started again", |state| {
        let main = state.container("main")?;
        let end = main.last_end().filter(|_| main.restarts() >= 1)?;
        (end.reason == "OOMKilled" && end.code == 137).then_some(())
    })?;
    same("what it could say before", greedy.log("main").as_str(), "")
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_owned()
}

/// Returns the folder below another that has a word in its name.
fn below(folder: &Path, word: &str) -> Option<PathBuf> {
    let all: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    let named = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(word));
    all.iter().find(named).cloned().or_else(|| all.iter().find_map(|path| below(path, word)))
}

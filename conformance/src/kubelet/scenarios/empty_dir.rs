//! Empty folders on disk and in memory: shared by a pod's containers, kept over a restart, gone with the pod.

use crate::kubelet::pod::{LIMIT, Pod, container, wait, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;

pub fn play(stage: &Stage) -> Verdict {
    let mounts =
        json!({"volumeMounts": [{"name": "disk", "mountPath": "/disk"}, {"name": "memory", "mountPath": "/memory"}]});
    let writer = "date +%N >> /disk/starts; echo from the writer > /memory/word; touch /memory/done; \
                  while [ ! -e /disk/die ]; do sleep 0.1; done; rm /disk/die; exit 1";
    let reader = "while [ ! -e /memory/done ]; do sleep 0.1; done; cat /memory/word; grep -E ' /(disk|memory) ' /proc/mounts; \
                  dd if=/dev/zero of=/memory/big bs=1M count=12 2>/dev/null; echo $((`stat -c %s /memory/big` / 1048576)) MiB fit; \
                  rm /memory/big; sleep 1000";
    let spec = json!({
        "containers": [
            with(container(stage, "writer", writer), mounts.clone()),
            with(container(stage, "reader", reader), with(mounts, json!({"resources": {"limits": {"memory": "64Mi"}}}))),
        ],
        "volumes": [{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}],
    });
    let pod = Pod::ask(stage, "empty-dir", spec)?;
    let state = pod.ready()?;
    let log = pod.says("reader", "fit")?;
    holds("the reader's log", &log, &["from the writer", "tmpfs /memory tmpfs", " /disk "])?;
    // The two files that are there take a page each.
    same("what fits into 8 MiB", log.lines().last(), Some("7 MiB fit"))?;
    pod.exec("writer", &["touch", "/disk/die"])?;
    pod.until("the writer was started again", |state| {
        let writer = state.container("writer")?;
        (writer.restarts() == 1 && writer.running()).then_some(())
    })?;
    // It runs before it writes.
    let starts = || pod.exec("reader", &["wc", "-l", "/disk/starts"]).unwrap_or_default();
    let written = wait(LIMIT, || Some(starts()).filter(|starts| starts.starts_with('2')))?;
    same("starts that the disk remembers", written.unwrap_or_else(starts).trim(), "2 /disk/starts")?;
    let folder = stage.ground().join("kubelet/pods").join(state.uid());
    same("folder of the volumes", folder.join("volumes/kubernetes.io~empty-dir/disk/starts").exists(), true)?;
    pod.remove()?;
    let gone = wait(LIMIT, || (!folder.exists()).then_some(()))?;
    gone.ok_or_else(|| format!("{} is still there", folder.display()))
}

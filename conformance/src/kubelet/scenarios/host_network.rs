//! A pod in the node's network: its address is the node's, it sees the node's links, and serves on the node's loopback.

use crate::kubelet::config::NODE_ADDRESS;
use crate::kubelet::pod::{LIMIT, Pod, container, wait};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;

const PORT: u16 = 18082;

pub fn play(stage: &Stage) -> Verdict {
    let script = format!(
        "ip addr; hostname; mkdir /tmp/www; echo here > /tmp/www/who; echo end; exec httpd -f -p 127.0.0.1:{PORT} -h /tmp/www"
    );
    let spec = json!({"hostNetwork": true, "containers": [container(stage, "main", &script)]});
    let pod = Pod::ask(stage, "host-network", spec)?;
    let state = pod.ready()?;
    // Without an API server a kubelet gives such a pod no address; its namespace says whose network it is in.
    same("the pod's address", state.address(), "")?;
    for (pid, _) in pod.living()? {
        let namespace =
            fs::metadata(format!("/proc/{pid}/ns/net")).map(|metadata| metadata.ino()).map_err(|e| e.to_string());
        same("the process's network namespace", namespace, Ok(stage.ground().netns_inode()))?;
    }
    pod.told("main", &["node0", NODE_ADDRESS], "end")?;
    let page = wait(LIMIT, || stage.page("127.0.0.1", PORT, "/who").ok())?;
    same("the page on the loopback", page.unwrap_or_default().trim(), "here")
}

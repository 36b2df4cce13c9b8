//! A pod in the node's network: its address is the node's, it sees the node's links, and serves on the node's loopback.

use crate::kubelet::config::NODE_ADDRESS;
use crate::kubelet::pod::{LIMIT, Pod, container, wait};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;

const PORT: u16 = 18082;

pub fn play(stage: &Stage) -> Verdict {
    let script = format!(
        "ip -o link; hostname; mkdir /tmp/www; echo here > /tmp/www/who; echo end; exec httpd -f -p 127.0.0.1:{PORT} -h /tmp/www"
    );
    let spec = json!({"hostNetwork": true, "containers": [container(stage, "main", &script)]});
    let pod = Pod::ask(stage, "host-network", spec)?;
    let state = pod.ready()?;
    same("the pod's address", state.address(), NODE_ADDRESS)?;
    let log = pod.says("main", "end")?;
    holds("the links it sees", &log, &["node0"])?;
    let page = wait(LIMIT, || stage.page("127.0.0.1", PORT, "/who").ok())?;
    same("the page on the loopback", page.unwrap_or_default().trim(), "here")
}

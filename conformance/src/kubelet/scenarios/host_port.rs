//! A port of the node leads to a pod: on every address, on one alone, and no more once the pod is gone.

use crate::kubelet::config::NODE_ADDRESS;
use crate::kubelet::pod::{LIMIT, Pod, container, wait, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use serde_json::{Value, json};

/// Ports of the node, of no other scenario.
const EVERYWHERE: u16 = 18080;
const ONE_ADDRESS: u16 = 18081;

pub fn play(stage: &Stage) -> Verdict {
    let web = |name: &str, port: u16, ports: Value| {
        let script = format!("mkdir /tmp/www; echo {name} > /tmp/www/who; exec httpd -f -p {port} -h /tmp/www");
        with(container(stage, name, &script), json!({"ports": ports}))
    };
    let first = web("first", 80, json!([{"containerPort": 80, "hostPort": EVERYWHERE}]));
    let bound = json!([{"containerPort": 81, "hostPort": ONE_ADDRESS, "hostIP": NODE_ADDRESS}]);
    let pod = Pod::ask(stage, "host-port", json!({"containers": [first, web("second", 81, bound)]}))?;
    pod.ready()?;
    for address in [NODE_ADDRESS, "127.0.0.1"] {
        served(stage, address, EVERYWHERE, "first")?;
    }
    served(stage, NODE_ADDRESS, ONE_ADDRESS, "second")?;
    same(
        "whether the loopback serves what is bound elsewhere",
        stage.page("127.0.0.1", ONE_ADDRESS, "/who").is_ok(),
        false,
    )?;
    pod.remove()?;
    let closed = wait(LIMIT, || stage.page(NODE_ADDRESS, EVERYWHERE, "/who").is_err().then_some(()))?;
    closed.ok_or_else(|| "the port is still served".to_owned())
}

/// The server needs a moment after its container runs.
fn served(stage: &Stage, address: &str, port: u16, who: &str) -> Verdict {
    let page = wait(LIMIT, || stage.page(address, port, "/who").ok())?;
    same(&format!("the page of {address}:{port}"), page.unwrap_or_default().trim(), who)
}

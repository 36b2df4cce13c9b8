//! What a pod is told of itself: in its environment and in files; and who it is to itself: its name, hosts, name servers.

use crate::kubelet::config::{NAME_SERVER, NODE, NODE_ADDRESS};
use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::{Value, json};

pub fn play(stage: &Stage) -> Verdict {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let limit = |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "containerName": "main"}}});
    let environment = json!([
        field("NAME", "metadata.name"), field("SPACE", "metadata.namespace"), field("ID", "metadata.uid"),
        field("POD_IP", "status.podIP"), field("HOST_IP", "status.hostIP"), field("NODE", "spec.nodeName"),
        limit("MEMORY", "limits.memory"), limit("CPU", "requests.cpu"),
        {"name": "PUT_TOGETHER", "value": "$(NAME) in $(SPACE)"},
    ]);
    let script = "env; \
                  sed 's/^/label /' /info/labels; sed 's/^/note /' /info/notes; echo; \
                  echo hostname=`hostname`; cat /etc/resolv.conf; cat /etc/hosts; ls -ln /info/..data/labels; \
                  ip addr show eth0; echo end; sleep 1000";
    let main = with(
        container(stage, "main", script),
        json!({
            "env": environment,
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}},
            "volumeMounts": [{"name": "info", "mountPath": "/info"}],
        }),
    );
    let item = |name: &str, path: &str| json!({"path": name, "fieldRef": {"fieldPath": path}});
    let items = json!([item("labels", "metadata.labels"), item("notes", "metadata.annotations")]);
    let volumes: Value = json!([{"name": "info", "downwardAPI": {"items": items, "defaultMode": 0o440}}]);
    let metadata = json!({"labels": {"ship": "vasa"}, "annotations": {"deck": "the lowest"}});
    let spec = json!({
        "containers": [main], "volumes": volumes,
        "hostAliases": [{"ip": "192.0.2.99", "hostnames": ["alias.test"]}],
    });
    let pod = Pod::ask_with(stage, "downward-api", metadata, spec)?;
    let state = pod.ready()?;
    let log = pod.says("main", "end")?;
    let name = format!("downward-api-{NODE}");
    for (key, value) in [
        ("NAME", name.as_str()),
        ("SPACE", "default"),
        ("ID", state.uid()),
        ("POD_IP", state.address()),
        ("HOST_IP", NODE_ADDRESS),
        ("NODE", NODE),
        ("MEMORY", "67108864"),
        ("CPU", "1"),
        ("PUT_TOGETHER", &format!("{name} in default")),
        ("hostname", &name),
    ] {
        let line = format!("{key}={value}");
        same(&format!("the line of {key}"), log.lines().any(|has| has == line), true)
            .map_err(|why| format!("{why}: {log}"))?;
    }
    let address = format!("{}\t{name}", state.address());
    let server = format!("nameserver {NAME_SERVER}");
    let words = ["label ship=\"vasa\"", "note deck=\"the lowest\"", "-r--r-----", "192.0.2.99\talias.test"];
    holds("the log", &log, &words)?;
    holds("the log", &log, &[address.as_str(), &server, "search pods.test", &format!("inet {}/", state.address())])
}

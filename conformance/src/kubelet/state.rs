//! What the kubelet says of pods: its answer to `/pods`, read as far as scenarios ask.

use super::config::NODE;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState(Value);

/// One container of a pod, or one that runs before them.
#[derive(Clone, Copy, Debug)]
pub struct ContainerState<'a>(&'a Value);

/// Reads the kubelet's answer: pods by the names of their manifests.
pub fn parse(json: &str) -> Result<BTreeMap<String, Arc<PodState>>, serde_json::Error> {
    let mut list: Value = serde_json::from_str(json)?;
    let pods: Vec<Value> = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let named = pods.into_iter().map(PodState).map(|pod| {
        let name = pod.name();
        (name.strip_suffix(&format!("-{NODE}")).unwrap_or(name).to_owned(), Arc::new(pod))
    });
    Ok(named.collect())
}

// === impl PodState ===

impl PodState {
    /// Its name; the node's is a part of it.
    pub fn name(&self) -> &str {
        text(&self.0["metadata"]["name"])
    }

    /// Its id.
    pub fn uid(&self) -> &str {
        text(&self.0["metadata"]["uid"])
    }

    /// How far it is: `Pending`, `Running`, `Succeeded`, `Failed`.
    pub fn phase(&self) -> &str {
        text(&self.0["status"]["phase"])
    }

    /// Its address; empty until it has one.
    pub fn address(&self) -> &str {
        text(&self.0["status"]["podIP"])
    }

    /// Whether a condition, such as `Ready`, holds.
    pub fn has(&self, condition: &str) -> bool {
        let conditions = self.0["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == condition && one["status"] == "True")
    }

    /// A container, once the kubelet knows something of it.
    pub fn container(&self, name: &str) -> Option<ContainerState<'_>> {
        self.containers().find(|container| container.name() == name)
    }

    /// All containers of which something is known.
    pub fn containers(&self) -> impl Iterator<Item = ContainerState<'_>> {
        let lists = ["initContainerStatuses", "containerStatuses"].map(|key| self.0["status"][key].as_array());
        lists.into_iter().flatten().flatten().map(ContainerState)
    }

    /// What is told when a wait was in vain.
    pub fn describe(&self) -> String {
        let containers: Vec<String> = self
            .containers()
            .map(|c| format!("{} {} ready={} restarts={}", c.name(), c.0["state"], c.ready(), c.restarts()))
            .collect();
        format!("{} {} {} [{}]", self.phase(), text(&self.0["status"]["reason"]), self.address(), containers.join("; "))
    }
}

// === impl ContainerState ===

impl<'a> ContainerState<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        text(&self.0["name"])
    }

    /// Its id in the runtime, without the runtime's name.
    pub fn id(&self) -> &'a str {
        let id = text(&self.0["containerID"]);
        id.split_once("://").map_or(id, |(_, id)| id)
    }

    /// Whether it is ready.
    pub fn ready(&self) -> bool {
        self.0["ready"] == true
    }

    /// Whether its startup probe has succeeded, or it has none and runs.
    pub fn started(&self) -> bool {
        self.0["started"] == true
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.0["restartCount"].as_u64().unwrap_or_default()
    }

    /// Whether it runs.
    pub fn running(&self) -> bool {
        self.0["state"]["running"].is_object()
    }

    /// Why it waits; empty when it doesn't.
    pub fn waiting(&self) -> &'a str {
        text(&self.0["state"]["waiting"]["reason"])
    }

    /// How it ended, when it has.
    pub fn end(&self) -> Option<End<'a>> {
        end(&self.0["state"]["terminated"])
    }

    /// How it ended the last time, before it was started again.
    pub fn last_end(&self) -> Option<End<'a>> {
        end(&self.0["lastState"]["terminated"])
    }
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// Its exit code.
    pub code: i64,
    /// `Completed`, `Error`, `OOMKilled`.
    pub reason: &'a str,
    /// Its termination message.
    pub message: &'a str,
}

fn end(terminated: &Value) -> Option<End<'_>> {
    let code = terminated["exitCode"].as_i64()?;
    Some(End { code, reason: text(&terminated["reason"]), message: text(&terminated["message"]) })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_is_read_from_the_kubelets_answer() {
        let pods = parse(
            r#"{"items": [{"metadata": {"name": "web-node1", "uid": "u"}, "status": {"phase": "Running", "podIP": "10.0.0.2",
              "conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}],
              "initContainerStatuses": [{"name": "first", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
              "containerStatuses": [{"name": "main", "ready": false, "started": true, "restartCount": 2,
                "containerID": "orlop://abc", "state": {"running": {}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "m"}}}]}}]}"#,
        )
        .unwrap();
        let pod = &pods["web"];
        assert_eq!(
            (pod.phase(), pod.address(), pod.has("Ready"), pod.has("Initialized")),
            ("Running", "10.0.0.2", false, true)
        );
        let main = pod.container("main").unwrap();
        assert_eq!(
            (main.id(), main.restarts(), main.running(), main.started(), main.waiting()),
            ("abc", 2, true, true, "")
        );
        assert_eq!(main.last_end(), Some(End { code: 137, reason: "OOMKilled", message: "m" }));
        assert_eq!(pod.container("first").unwrap().end().unwrap().reason, "Completed");
        assert!(pod.container("first").unwrap().last_end().is_none() && pod.container("other").is_none());
        assert!(parse("{}").unwrap().is_empty() && parse("<html>").is_err());
    }
}

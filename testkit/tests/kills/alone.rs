//! The scenarios of containers alone, over the Docker socket.

use crate::http::{DockerClient, DockerReply};
use crate::scenario::Scenario;
use crate::stage::{Stage, WAITS};
use orlop_testkit::{Code, Status, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

/// A port of the node, inside the ground's own namespace, that leads into the container.
const HOST_PORT: &str = "18081";
/// How long a sandbox may take to go down after its container has ended.
const DOWN_LIMIT: Duration = Duration::from_secs(20);

/// All of them.
pub const OF_CONTAINERS_ALONE: &[Scenario] = &[
    Scenario {
        operation: "create-alone",
        name: "with a host port",
        prepare: |_| {},
        act: Stage::create_alone,
        holds: |stage| {
            let listed = stage.docker("GET", "/containers/json?all=1", None, &[]).unwrap().body;
            assert_eq!(listed.as_array().map(Vec::len), Some(1), "one name, one container: {listed}");
            assert_eq!(stage.alone_state()["Status"], "created");
        },
    },
    Scenario {
        operation: "start-alone",
        name: "with a host port",
        prepare: |stage| stage.create_alone().unwrap(),
        act: Stage::start_alone,
        holds: |stage| assert_eq!(stage.alone_state()["Running"], true, "{}", stage.alone_state()),
    },
    Scenario {
        operation: "end-alone",
        name: "after its stop signal",
        prepare: Stage::run_alone,
        act: |stage| {
            stage.docker("POST", &stage.of_alone("stop?t=30"), None, &[304])?;
            stage.settle_alone();
            Ok(())
        },
        holds: |stage| {
            let state = stage.alone_state();
            assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(0)), "{state}");
        },
    },
    Scenario {
        operation: "remove-alone",
        name: "that runs",
        prepare: Stage::run_alone,
        act: |stage| {
            // One that a daemon before this one has begun is told of; it goes on.
            let reply = stage.docker("DELETE", &stage.of_alone(""), None, &[404, 409])?;
            if reply.status == 409 {
                wait_until(DOWN_LIMIT, "the container is gone", || stage.alone().is_err().then_some(()));
            }
            Ok(())
        },
        holds: |stage| {
            let listed = stage.docker("GET", "/containers/json?all=1", None, &[]).unwrap().body;
            assert_eq!(listed, json!([]), "a removed container is there");
        },
    },
    Scenario {
        operation: "freeze-container",
        name: "alone",
        prepare: Stage::run_alone,
        act: |stage| unless_so(stage, "pause", "Paused", true),
        holds: |stage| assert_eq!(stage.alone_state()["Paused"], true, "{}", stage.alone_state()),
    },
    Scenario {
        operation: "thaw-container",
        name: "alone",
        prepare: |stage| {
            stage.run_alone();
            unless_so(stage, "pause", "Paused", true).unwrap();
        },
        act: |stage| unless_so(stage, "unpause", "Paused", false),
        holds: |stage| {
            let state = stage.alone_state();
            assert_eq!((&state["Paused"], &state["Running"]), (&json!(false), &json!(true)), "{state}");
        },
    },
    Scenario {
        operation: "update-annex",
        name: "by another name",
        prepare: |stage| stage.create_alone().unwrap(),
        act: |stage| {
            let name = stage.renamed();
            if stage.alone()?["Name"] == format!("/{name}") {
                return Ok(());
            }
            stage.docker("POST", &stage.of_alone(&format!("rename?name={name}")), None, &[]).map(drop)
        },
        holds: |stage| assert_eq!(stage.alone().unwrap()["Name"], format!("/{}", stage.renamed())),
    },
];

/// Asks for something, unless it is so already: who was told so has what was asked for.
fn unless_so(stage: &mut Stage, verb: &str, field: &str, wanted: bool) -> Result<(), Status> {
    if stage.alone()?["State"][field] == wanted {
        return Ok(());
    }
    stage.docker("POST", &stage.of_alone(verb), None, &[]).map(drop)
}

impl Stage {
    /// The name of this scenario's container.
    fn name(&self) -> String {
        format!("alone{}", self.pods)
    }

    fn renamed(&self) -> String {
        format!("renamed{}", self.pods)
    }

    /// Returns the path of a request about this scenario's container; of its removal by force, with no verb.
    fn of_alone(&self, verb: &str) -> String {
        let id = self.container();
        if verb.is_empty() { format!("/containers/{id}?force=1") } else { format!("/containers/{id}/{verb}") }
    }

    /// Makes a request; a status of `quiet` says that it was so already.
    fn docker(&self, method: &str, path: &str, body: Option<&Value>, quiet: &[u16]) -> Result<DockerReply, Status> {
        let gone = |error: std::io::Error| Status::new(Code::Unavailable, error.to_string());
        let reply = DockerClient::new(&self.lab.node.docker().socket()).call(method, path, body).map_err(gone)?;
        if (200..300).contains(&reply.status) || quiet.contains(&reply.status) {
            return Ok(reply);
        }
        Err(Status::new(Code::Unknown, format!("{method} {path}: {} {}", reply.status, reply.message())))
    }

    /// Creates the container; one that has the name already is the one that was asked for.
    pub fn create_alone(&mut self) -> Result<(), Status> {
        let body = json!({
            "Image": self.lab.image(),
            "Cmd": WAITS,
            "ExposedPorts": { "80/tcp": {} },
            "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": HOST_PORT }] } },
        });
        let reply = self.docker("POST", &format!("/containers/create?name={}", self.name()), Some(&body), &[409])?;
        let id = match reply.status {
            409 => self.docker("GET", &format!("/containers/{}/json", self.name()), None, &[])?.body,
            _ => reply.body,
        };
        self.container = Some(id["Id"].as_str().unwrap_or_default().to_owned());
        Ok(())
    }

    pub fn start_alone(&mut self) -> Result<(), Status> {
        self.docker("POST", &self.of_alone("start"), None, &[304]).map(drop)
    }

    /// A container that runs and has set its trap.
    pub fn run_alone(&mut self) {
        self.create_alone().unwrap();
        self.start_alone().unwrap();
        let limit = orlop_testkit::pod::PROGRAM_LIMIT;
        let log = self.alone().unwrap()["LogPath"].as_str().unwrap_or_default().to_owned();
        let ready = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("ready")).then_some(());
        wait_until(limit, "the program is ready", ready);
    }

    /// What inspect says of the container.
    fn alone(&self) -> Result<Value, Status> {
        self.docker("GET", &self.of_alone("json"), None, &[]).map(|reply| reply.body)
    }

    fn alone_state(&self) -> Value {
        self.alone().unwrap()["State"].clone()
    }

    /// Waits until the sandbox is down, which comes after the answer; or until the daemon died over it.
    fn settle_alone(&mut self) {
        let record = self.lab.node.ground().join(&format!("run/records/sandbox-state/{}", self.container()));
        wait_until(DOWN_LIMIT, "the sandbox is down", || {
            let down = std::fs::read_to_string(&record).is_ok_and(|text| text.contains("\"NotReady\""));
            (down || self.ended().is_some()).then_some(())
        });
        // The last moment comes just after that record.
        let _ = orlop_testkit::wait_for(crate::stage::LAST_MOMENT, || self.ended());
    }

    /// Removes every container.
    pub fn clear_alone(&self) {
        let all = self.docker("GET", "/containers/json?all=1", None, &[]).unwrap().body;
        for container in all.as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default();
            self.docker("DELETE", &format!("/containers/{id}?force=1"), None, &[404]).unwrap();
        }
    }
}

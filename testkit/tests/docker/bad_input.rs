//! Requests that can't be right, as bytes: the status and the message that users of the API know, and nothing left behind.

use crate::wire::Wire;
use orlop_testkit::lab::Lab;
use serde_json::{Value, json};

#[test]
fn bad_requests_get_the_status_and_the_message_that_users_know() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    docker.ok(["create", "--name", "stopped", &image, "true"]);
    docker.ok(["run", "-d", "--name", "runs", "-p", "18081:80", &image, "sleep", "1000"]);
    let create = |more: Value| {
        let mut asked = json!({ "Image": image, "Cmd": ["true"] });
        if let (Value::Object(asked), Value::Object(more)) = (&mut asked, more) {
            asked.extend(more);
        }
        asked.to_string()
    };
    // More than a connection takes in before anybody reads.
    let long = json!({ "Memory": 67_108_864, "Pad": "x".repeat(2 << 20) }).to_string();
    let missing = json!({ "HostConfig": { "Mounts": [{ "Type": "bind", "Source": "/no/such", "Target": "/x" }] } });
    let volumes: serde_json::Map<_, _> = (0..257).map(|n| (format!("/v{n}"), json!({}))).collect();
    let cases = [
        ("/containers/create", "not json".to_owned(), 400, "invalid JSON: "),
        ("/containers/create", "{\"Image\": \"a\"".to_owned(), 400, "unexpected EOF"),
        ("/containers/create", "[]".to_owned(), 400, "cannot unmarshal array into Go value"),
        ("/containers/create", String::new(), 400, "config cannot be empty"),
        ("/containers/create", create(json!({ "Image": 5 })), 400, "cannot unmarshal number into Go struct field"),
        ("/containers/create", create(json!({ "Cmd": { "a": 1 } })), 400, "cannot unmarshal object"),
        ("/containers/create", create(json!({ "Tty": "yes" })), 400, "cannot unmarshal string into Go struct field"),
        ("/containers/create", create(json!({ "HostConfig": { "Memory": "1g" } })), 400, "cannot unmarshal string"),
        ("/containers/create", create(missing), 400, "bind source path does not exist: /no/such"),
        (
            "/containers/create",
            create(json!({ "Volumes": volumes })),
            400,
            "257 volumes for one container: at most 256",
        ),
        ("/containers/create?name=runs", create(json!({})), 409, "The container name \"/runs\" is already in use"),
        ("/containers/create?name=a/b", create(json!({})), 400, "Invalid container name (a/b)"),
        ("/containers/create", create(json!({ "Image": "nosuch" })), 404, "No such image: nosuch:latest"),
        ("/containers/stopped/exec", json!({ "Cmd": ["true"] }).to_string(), 409, "is not running"),
        ("/containers/runs/exec", json!({ "Cmd": "true" }).to_string(), 400, "cannot unmarshal string"),
        ("/containers/runs/exec", json!({ "Cmd": [] }).to_string(), 400, "No exec command specified"),
        (
            "/containers/runs/exec",
            json!({ "Cmd": ["id"], "User": "nosuch" }).to_string(),
            400,
            "unable to find user nosuch",
        ),
        ("/exec/nosuch/start", json!({ "Detach": false }).to_string(), 404, "No such exec instance: nosuch"),
        ("/containers/nosuch/attach?stream=1&stdout=1", String::new(), 404, "No such container: nosuch"),
        (
            "/containers/runs/attach?stream=1&detachKeys=ctrl-",
            String::new(),
            400,
            "Invalid detach keys (ctrl-) provided",
        ),
        ("/containers/runs/wait?condition=nosuch", String::new(), 400, "invalid condition"),
        ("/containers/runs/resize?h=x&w=1", String::new(), 400, ""),
        ("/containers/stopped/kill", String::new(), 409, "is not running"),
        ("/containers/nosuch/update", long.clone(), 404, "No such container: nosuch"),
        ("/exec/nosuch/start", long, 404, "No such exec instance: nosuch"),
    ];
    for (path, body, status, says) in cases {
        let answer = Wire::ask(&docker, "POST", path, &body);
        let message: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let message = message["message"].as_str().unwrap_or_default();
        assert_eq!(answer.status, status, "POST {path} {body}: {answer:?}");
        assert!(!message.is_empty() && message.contains(says), "POST {path} {body}: {answer:?}");
    }
    assert_eq!(docker.ok(["ps", "-a", "--format", "{{.Names}}"]), "runs\nstopped");
}

#[test]
fn a_port_that_is_taken_leaves_a_container_that_can_be_started_later() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["run", "-d", "--name", "first", "-p", "18083:80", &image, "sleep", "1000"]);
    let refused = docker.run(["run", "-d", "--name", "second", "-p", "18083:80", &image, "sleep", "1000"]);
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(
        refused.stderr.contains("on endpoint second (")
            && refused.stderr.contains("): Bind for 0.0.0.0:18083 failed: port is already allocated"),
        "{refused:?}"
    );
    assert_eq!(docker.ok(["ps", "-a", "--filter", "name=second", "--format", "{{.Status}}"]), "Created");
    docker.ok(["rm", "-f", "first"]);
    docker.ok(["start", "second"]);
}

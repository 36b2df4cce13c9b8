//! Clients that disappear in the middle of something: nothing of them stays, and nobody else notices.

use crate::slow_registry::SlowRegistry;
use crate::wire::{LIMIT, Wire};
use orlop_testkit::lab::Lab;
use orlop_testkit::{Node, wait_until};
use std::fs;

/// How often a client comes and goes: what stays behind each time would be seen.
const TIMES: usize = 20;

/// Counts the descriptors of the daemon.
fn descriptors(node: &Node) -> usize {
    fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count()
}

#[test]
fn a_pull_whose_client_has_gone_is_given_up() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let registry = SlowRegistry::start(lab.node.ground());
    // The first look at anything opens what stays open.
    docker.ok(["images"]);
    let before = descriptors(&lab.node);
    let path = format!("/images/create?fromImage={}/slow&tag=1", registry.host());
    let mut client = Wire::follow(&docker, "POST", &path);
    client.until("Downloading");
    drop(client);
    wait_until(LIMIT, "the registry is let go of", || registry.was_left().then_some(()));
    wait_until(LIMIT, "no descriptor stays", || (descriptors(&lab.node) <= before).then_some(()));
    assert_eq!(docker.ok(["images", "-aq"]), "");
    // The daemon pulls on: what comes next is not held up by it.
    docker.ok(["pull", "-q", &lab.image()]);
}

#[test]
fn of_clients_that_followed_or_attached_and_went_nothing_stays() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    // Silent: nothing that it writes would tell that nobody listens.
    let program = "echo begun; exec sleep 1000";
    docker.ok(["run", "-d", "-i", "--name", "box", &image, "sh", "-c", program]);
    let attach = "/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1&logs=1";
    let logs = "/containers/box/logs?follow=1&stdout=1&stderr=1";
    let come_and_go = || {
        Wire::take_over(&docker, attach, "").until("begun\n");
        Wire::follow(&docker, "GET", logs).until("begun\n");
        // An older client, whose stream is an ordinary answer.
        Wire::follow(&docker, "POST", attach).until("begun\n");
    };
    come_and_go();
    let pid = docker.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
    let shim = parent_of(&pid);
    let of_shim = || fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    let (before, before_of_shim) = (descriptors(&lab.node), of_shim());
    (0..TIMES).for_each(|_| come_and_go());
    wait_until(LIMIT, "no descriptor of the daemon stays", || (descriptors(&lab.node) <= before).then_some(()));
    // What the last one had is let go of with the next one, or with the next byte.
    assert!(of_shim() <= before_of_shim + 8, "{before_of_shim} descriptors became {}", of_shim());
    assert_eq!(docker.ok(["inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "box"]), format!("{pid} running"));
    assert_eq!(docker.ok(["logs", "box"]), "begun");
}

fn parent_of(pid: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().to_owned()
}

#[test]
fn what_a_client_sent_before_it_went_is_taken() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    docker.ok(["pull", "-q", &lab.image()]);
    for time in 0..TIMES {
        let name = format!("box{time}");
        docker.ok(["create", "-i", "--name", &name, &lab.image(), "cat"]);
        docker.ok(["start", &name]);
        let mut client = Wire::take_over(&docker, &format!("/containers/{name}/attach?stream=1&stdin=1"), "");
        client.send(b"sent\n");
        drop(client);
        // Standard input ends with its first client.
        assert_eq!(docker.ok(["wait", &name]), "0");
        assert_eq!(docker.ok(["logs", &name]), "sent");
    }
}

#[test]
fn what_takes_several_steps_goes_on_when_its_client_has_gone() {
    let mut lab = Lab::with_docker();
    let image = lab.image();
    lab.node.docker().ok(["pull", "-q", &image]);
    lab.node.kill();
    lab.node.set_failpoints(Some("container.prepare-rootfs:after=hold:500; image.keep-layers:before=hold:6000"));
    lab.node.start_again();
    let docker = lab.node.docker();
    let asked = format!(r#"{{"Image":"{image}","Cmd":["sleep","1000"],"HostConfig":{{"Binds":["data:/data"]}}}}"#);
    // Who goes before it is under way has asked for nothing.
    let goes_at = |client: Wire, effect: &str| {
        let struck = format!("failpoint effect={effect}");
        wait_until(LIMIT, &struck, || lab.node.log().contains(&struck).then_some(()));
        drop(client);
    };
    goes_at(Wire::begin(&docker, "/containers/create?name=box", &asked), "container.prepare-rootfs");
    wait_until(LIMIT, "the container is there", || (docker.run(["inspect", "box"]).code == 0).then_some(()));
    docker.ok(["start", "box"]);
    goes_at(Wire::begin(&docker, "/commit?container=box&repo=made", "{}"), "image.keep-layers");
    let state = || docker.ok(["inspect", "-f", "{{.State.Status}}", "box"]);
    assert_eq!(state(), "paused", "for the commit, which is held");
    wait_until(LIMIT, "it is thawed", || (state() == "running").then_some(()));
    assert_eq!(docker.ok(["images", "-q", "made"]).len(), 12);
    docker.ok(["rm", "-f", "box"]);
    assert_eq!(docker.ok(["volume", "ls", "-q"]), "data", "what has a name outlives its container");
    docker.ok(["volume", "rm", "data"]);
}

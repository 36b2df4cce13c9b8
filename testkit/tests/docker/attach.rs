//! Clients at the streams of a container: over the wire, where it can be seen what each byte does.

use crate::wire::Wire;
use orlop_testkit::docker::Docker;
use orlop_testkit::lab::Lab;
use orlop_testkit::wait_until;

/// A shell that asks for a line, and does it.
const SHELL: &str = "while printf 'box> '; read -r line; do eval \"$line\"; done";
const ATTACH: &str = "attach?stream=1&stdin=1&stdout=1&stderr=1";

fn with_image() -> (Lab, String) {
    let lab = Lab::with_docker();
    let image = lab.image();
    lab.node.docker().ok(["pull", "-q", &image]);
    (lab, image)
}

fn heard(docker: &Docker<'_>, name: &str, event: &str) -> bool {
    let filters = ["--filter", &format!("container={name}"), "--filter", &format!("event={event}")];
    let ask = ["events", "--since", "5m", "--until=-0s"];
    !docker.ok(ask.into_iter().chain(filters).collect::<Vec<_>>()).is_empty()
}

#[test]
fn who_leaves_a_terminal_by_its_keys_finds_it_again() {
    let (lab, image) = with_image();
    let docker = lab.node.docker();
    docker.ok(["create", "-it", "--name", "box", &image, "sh", "-c", SHELL]);
    let mut first = Wire::take_over(&docker, &format!("/containers/box/{ATTACH}"), "");
    docker.ok(["start", "box"]);
    first.until("box> ");
    // The keys in two pieces; what is before them is still typed.
    first.send(b"echo bef\x10");
    first.send(b"\x11");
    first.rest();
    wait_until(crate::wire::LIMIT, "the leaving is told", || heard(&docker, "box", "detach").then_some(()));
    assert_eq!(docker.ok(["inspect", "-f", "{{.State.Status}}", "box"]), "running");

    let mut second = Wire::take_over(&docker, &format!("/containers/box/{ATTACH}"), "");
    second.send(b"ore; exit 7\r");
    second.until("before\r\n");
    second.rest();
    assert_eq!(docker.ok(["wait", "box"]), "7");
    assert!(docker.ok(["logs", "box"]).contains("box> echo before; exit 7"));
}

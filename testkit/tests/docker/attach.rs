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

#[test]
fn who_attaches_later_hears_what_is_new_and_a_second_run_from_its_beginning() {
    let (lab, image) = with_image();
    let docker = lab.node.docker();
    docker.ok(["create", "-it", "--name", "box", &image, "sh", "-c", SHELL]);
    let mut early = Wire::take_over(&docker, &format!("/containers/box/{ATTACH}"), "");
    docker.ok(["start", "box"]);
    early.until("box> ");
    drop(early);
    let mut late = Wire::take_over(&docker, &format!("/containers/box/{ATTACH}"), "");
    late.send(b"exit\r");
    let heard = String::from_utf8_lossy(&late.rest()).into_owned();
    assert!(heard.starts_with("exit\r\n"), "{heard:?}");
    docker.ok(["wait", "box"]);
    // Before it is started anew: its end has just come.
    let mut second = Wire::take_over(&docker, &format!("/containers/box/{ATTACH}"), "");
    docker.ok(["start", "box"]);
    second.until("box> ");
    second.send(b"exit 3\r");
    second.rest();
    assert_eq!(docker.ok(["wait", "box"]), "3");
}

#[test]
fn a_terminal_has_its_size_before_its_program_asks() {
    let (lab, image) = with_image();
    let docker = lab.node.docker();
    let asked = serde_json::json!({
        "Image": image, "Cmd": ["stty", "size"], "Tty": true, "HostConfig": { "ConsoleSize": [33, 77] },
    });
    let made = Wire::ask(&docker, "POST", "/containers/create?name=sized", &asked.to_string());
    assert_eq!(made.status, 201, "{made:?}");
    docker.ok(["start", "sized"]);
    docker.ok(["wait", "sized"]);
    assert_eq!(docker.ok(["logs", "sized"]), "33 77");
}

#[test]
fn a_client_that_does_not_read_holds_nothing_up_and_misses_nothing() {
    /// Lines enough to fill every buffer on the way many times.
    const LINES: usize = 300_000;
    let (lab, image) = with_image();
    let docker = lab.node.docker();
    docker.ok(["create", "--name", "box", &image, "seq", &LINES.to_string()]);
    let mut slow = Wire::take_over(&docker, "/containers/box/attach?stream=1&stdout=1&stderr=1", "");
    docker.ok(["start", "box"]);
    assert_eq!(docker.ok(["wait", "box"]), "0");
    let whole: String = (1..=LINES).map(|number| format!("{number}\n")).collect();
    let log = docker.run(["logs", "box"]).stdout;
    assert!(log == whole, "the log has {} of {} bytes", log.len(), whole.len());
    let heard = out_of_frames(&slow.rest());
    assert!(heard == whole.as_bytes(), "the client heard {} of {} bytes", heard.len(), whole.len());
}

/// Takes standard output out of its frames: a kind, three zeros, a length of four bytes.
fn out_of_frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let [1, 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap();
        content.extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "{bytes:?} begins no frame");
    content
}

#[test]
fn who_sends_nothing_more_has_not_gone() {
    let (lab, image) = with_image();
    let docker = lab.node.docker();
    docker.ok(["create", "-i", "--name", "box", &image, "sh", "-c", "cat; sleep 1; echo end"]);
    let mut client = Wire::take_over(&docker, &format!("/containers/box/{ATTACH}"), "");
    docker.ok(["start", "box"]);
    client.send(b"sent\n");
    client.end_input();
    assert_eq!(out_of_frames(&client.rest()), b"sent\nend\n");
    assert_eq!(docker.ok(["wait", "box"]), "0");
}

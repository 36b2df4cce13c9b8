//! A daemon that dies while an image is made of a container, which is frozen for it.

use super::look::{LIMIT, becomes, state};
use orlop_testkit::lab::Lab;
use orlop_testkit::wait_until;

const STATUS: &str = "{{.State.Status}}";

#[test]
fn a_container_is_not_left_frozen_by_a_daemon_that_died_over_a_commit() {
    let mut lab = Lab::with_docker();
    let image = lab.image();
    lab.node.docker().ok(["pull", "-q", &image]);
    lab.node.kill();
    lab.node.set_failpoints(Some("image.keep-layers:before=kill"));
    lab.node.start_again();
    let docker = lab.node.docker();
    for name in ["box", "paused"] {
        docker.ok(["run", "-d", "--name", name, &image, "sleep", "1000"]);
    }
    docker.ok(["pause", "paused"]);
    assert_ne!(docker.run(["commit", "box", "made"]).code, 0);
    wait_until(LIMIT, "the daemon died over it", || lab.node.has_ended());

    lab.node.set_failpoints(None);
    lab.node.start_again();
    let docker = lab.node.docker();
    becomes(&docker, "box", STATUS, "running");
    assert_eq!(docker.ok(["exec", "box", "echo", "alive"]), "alive");
    assert_eq!(state(&docker, "paused", STATUS), "paused", "as its user wants");
    assert_eq!(docker.ok(["images", "-q", "made"]), "");
    docker.ok(["commit", "box", "made"]);
    assert_eq!(docker.ok(["images", "-q", "made"]).len(), 12);
}

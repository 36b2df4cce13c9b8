//! Files in and out.

use orlop_testkit::lab::Lab;
use std::fs;

#[test]
fn files_are_copied_into_and_out_of_a_container_that_runs_or_not() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    docker.ok(["create", "--name", "box", &image, "sleep", "1000"]);
    let file = lab.node.ground().join("in");
    fs::write(&file, "content\n").unwrap();
    let (from, to) = (file.display().to_string(), lab.node.ground().join("out").display().to_string());
    docker.ok(["cp", &from, "box:/tmp-in"]);
    docker.ok(["cp", "box:/tmp-in", &to]);
    assert_eq!(fs::read_to_string(&to).unwrap(), "content\n");
    let missing = docker.run(["cp", "box:/nosuch", &to]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("Could not find the file /nosuch in container box"), "{missing:?}");
}

//! Containers in the foreground: output, exit status, removal at the end.

use orlop_testkit::lab::Lab;

#[test]
fn a_program_in_the_foreground_gives_its_output_and_status_and_is_gone() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    // Without an image, it is pulled first.
    let said = docker.run(["run", "--rm", &image, "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((said.code, said.stdout.as_str()), (3, "out\n"), "{said:?}");
    assert!(said.stderr.ends_with("err\n"), "{said:?}");
    assert_eq!(docker.ok(["ps", "-aq"]), "");

    let said = docker.run(["run", "--rm", &image, "printf", "no end"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "no end"), "{said:?}");
    let missing = docker.run(["run", "--rm", &image, "nosuch"]);
    assert_eq!(missing.code, 127, "{missing:?}");
    assert!(missing.stderr.contains("executable file not found in $PATH"), "{missing:?}");
    let denied = docker.run(["run", "--rm", &image, "/www/index.html"]);
    assert_eq!(denied.code, 126, "{denied:?}");
    assert_eq!(docker.ok(["ps", "-aq"]), "");
}

#[test]
fn nothing_written_before_the_first_read_is_lost() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    let said = docker.run(["run", "--rm", &image, "seq", "1", "20000"]);
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(said.code, 0);
    assert!(said.stdout == expected, "{} of {} bytes", said.stdout.len(), expected.len());
    docker.ok(["create", "--name", "again", &image, "seq", "3"]);
    for _ in 0..2 {
        assert_eq!(docker.ok(["start", "-a", "again"]), "1\n2\n3");
    }
    assert_eq!(docker.ok(["logs", "again"]), "1\n2\n3\n1\n2\n3");
    assert_eq!(docker.ok(["logs", "--tail", "2", "again"]), "2\n3");
}

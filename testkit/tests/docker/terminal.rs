//! Standard input, terminals, programs run beside.

use orlop_testkit::docker::said;
use orlop_testkit::lab::Lab;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a docker command in a terminal of its own, given by script(1), and types into it.
fn typed(mut docker: Command, input: &str) -> String {
    let words: Vec<String> = std::iter::once(docker.get_program())
        .chain(docker.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]).envs(docker.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let mut child =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("script is there");
    let mut keys = child.stdin.take().expect("it is a pipe");
    keys.write_all(input.as_bytes()).expect("script reads it");
    drop(keys);
    docker.stdin(Stdio::null());
    said(&child.wait_with_output().expect("it is our child")).stdout
}

#[test]
fn what_is_piped_in_is_read_to_its_end() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    let mut command = docker.command(["run", "--rm", "-i", &image, "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"one\ntwo").unwrap();
    let said = said(&child.wait_with_output().unwrap());
    assert_eq!((said.code, said.stdout.as_str()), (0, "one\ntwo"), "{said:?}");
}

#[test]
fn programs_run_beside_give_their_output_and_status() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["run", "-d", "--name", "box", &image, "sleep", "1000"]);
    let said = docker.run(["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 4"]);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (4, "out\n", "err\n"));
    assert_eq!(
        docker.ok(["exec", "-e", "A=b", "-w", "/www", "-u", "1234", "box", "sh", "-c", "echo $A $PWD $(id -u)"]),
        "b /www 1234"
    );
    let missing = docker.run(["exec", "box", "nosuch"]);
    assert_eq!(missing.code, 127, "{missing:?}");
    docker.ok(["exec", "-d", "box", "sh", "-c", "echo x > /made"]);
    orlop_testkit::wait::wait_until(std::time::Duration::from_secs(10), "it ran", || {
        (docker.run(["exec", "box", "cat", "/made"]).stdout == "x\n").then_some(())
    });
    assert!(docker.ok(["top", "box"]).contains("sleep 1000"));
    docker.ok(["stop", "-t", "0", "box"]);
    let stopped = docker.run(["exec", "box", "true"]);
    assert!(stopped.stderr.contains("is not running"), "{stopped:?}");
}

#[test]
fn terminals_are_given_to_containers_and_programs() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    docker.ok(["run", "-d", "--name", "box", &image, "sleep", "1000"]);
    let shown = typed(docker.command(["run", "--rm", "-it", &image, "sh", "-c", "tty; read a; echo got $a"]), "word\n");
    assert!(shown.contains("/dev/pts/") || shown.contains("/dev/console"), "{shown}");
    assert!(shown.contains("got word"), "{shown}");
    let shown = typed(docker.command(["exec", "-it", "box", "sh", "-c", "read a; echo got $a"]), "word\n");
    assert!(shown.contains("got word"), "{shown}");
}

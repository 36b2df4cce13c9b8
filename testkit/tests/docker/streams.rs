//! Lists, events, waits and other things that are followed.

use orlop_testkit::docker::said;
use orlop_testkit::lab::Lab;
use std::process::Stdio;

#[test]
fn events_waits_and_stats_tell_what_happens() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    let id = docker.ok(["run", "-d", "--name", "box", &image, "sleep", "1000"]);
    // By what stays: it may begin to wait only when the name is another one.
    let wait = docker.command(["wait", &id]).stdout(Stdio::piped()).spawn().unwrap();
    docker.ok(["pause", "box"]);
    assert!(docker.ok(["ps", "--format", "{{.Status}}"]).contains("(Paused)"));
    docker.ok(["unpause", "box"]);
    docker.ok(["rename", "box", "case"]);
    docker.ok(["update", "--memory", "64m", "--memory-swap", "64m", "case"]);
    assert_eq!(docker.ok(["inspect", "-f", "{{.HostConfig.Memory}}", "case"]), "67108864");
    let stats = docker.ok(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]);
    assert_eq!(stats, "case 1");
    docker.ok(["restart", "-t", "0", "case"]);
    docker.ok(["kill", "case"]);
    assert_eq!(said(&wait.wait_with_output().unwrap()).stdout, "137\n");
    docker.ok(["rm", "case"]);
    let actions =
        docker.ok(["events", "--since", "5m", "--until=-1s", "--format", "{{.Action}}", "--filter", "type=container"]);
    let actions: Vec<&str> = actions.lines().collect();
    let expected = [
        "create", "start", "pause", "unpause", "rename", "update", "kill", "kill", "die", "stop", "start", "restart",
        "kill", "die", "destroy",
    ];
    assert_eq!(actions, expected);
    assert!(docker.ok(["system", "df"]).contains("Images"));
    assert_eq!(docker.ok(["network", "ls", "--format", "{{.Name}}"]), "bridge\nhost\nnone");
    assert!(docker.ok(["info", "--format", "{{.OSType}} {{.Driver}}"]).starts_with("linux"));
}

#[test]
fn a_followed_log_ends_with_the_container() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["run", "-d", "--name", "box", &image, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done"]);
    let logs = said(&docker.command(["logs", "-f", "box"]).output().unwrap());
    assert_eq!((logs.code, logs.stdout.as_str()), (0, "1\n2\n3\n"));
    let stamped = docker.ok(["logs", "-t", "--tail", "1", "box"]);
    assert!(stamped.ends_with("Z 3"), "{stamped}");
}

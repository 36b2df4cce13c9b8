//! Stops that the daemon does not live to see the end of.

use super::look::{becomes, state};
use orlop_testkit::lab::Lab;
use orlop_testkit::wait_until;
use std::process::Stdio;
use std::time::Duration;

/// How long a container has until it is killed, in seconds: longer than a daemon needs to start again.
const GRACE: &str = "6";
/// How long a container may take to hear of its stop.
const LIMIT: Duration = Duration::from_secs(10);

/// Says what it hears, and takes no notice.
const DEAF: &str = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo ready; while :; do sleep 0.1; done";

#[test]
fn a_stop_goes_on_with_the_next_daemon_also_one_by_another_signal() {
    let mut lab = Lab::with_docker();
    let (docker, image) = (lab.node.docker(), lab.image());
    docker.ok(["pull", "-q", &image]);
    let stops: [(&str, &[&str], &str); 2] =
        [("own", &["stop", "-t", GRACE], "TERM"), ("by-int", &["stop", "-s", "INT", "-t", GRACE], "INT")];
    let mut asked = Vec::new();
    for (name, stop, heard) in stops {
        docker.ok(["run", "-d", "--restart", "unless-stopped", "--name", name, &image, "sh", "-c", DEAF]);
        wait_until(LIMIT, "it is ready", || docker.ok(["logs", name]).contains("ready").then_some(()));
        let stop = docker.command([stop, &[name]].concat()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(LIMIT, "it has heard of its stop", || docker.ok(["logs", name]).contains(heard).then_some(()));
        asked.push(stop);
    }
    lab.node.kill();
    for mut stop in asked {
        assert!(!stop.wait().unwrap().success(), "the daemon is gone, and somebody answered");
    }
    lab.node.start_again();

    let docker = lab.node.docker();
    for (name, _, heard) in stops {
        assert_eq!(state(&docker, name, "{{.State.Running}}"), "true", "it had its grace only in part");
        becomes(&docker, name, "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "exited 137 0");
        // Asked again, by the same signal: nobody knows whether the daemon before came to it.
        let log = docker.ok(["logs", name]);
        let said: Vec<&str> = log.lines().collect();
        assert!(said.len() >= 2 && said[0] == "ready" && said[1..].iter().all(|line| *line == heard), "{log}");
    }
}

//! Stops that the daemon does not live to see the end of.

use super::look::becomes;
use orlop_testkit::lab::Lab;
use orlop_testkit::wait_until;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a container has until it is killed: longer than it takes to kill a daemon.
const GRACE_SECONDS: u64 = 12;
/// How long a container may take to hear of its stop.
const LIMIT: Duration = Duration::from_secs(10);

/// Says what it hears, and takes no notice.
const DEAF: &str = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo ready; while :; do sleep 0.1; done";

#[test]
fn a_stop_goes_on_with_the_next_daemon_also_one_by_another_signal() {
    let mut lab = Lab::alone_with_docker();
    let (docker, image) = (lab.node.docker(), lab.image());
    docker.ok(["pull", "-q", &image]);
    let grace = GRACE_SECONDS.to_string();
    let stops: [(&str, &[&str], &str); 2] =
        [("own", &["stop", "-t", &grace], "TERM"), ("by-int", &["stop", "-s", "INT", "-t", &grace], "INT")];
    for (name, ..) in stops {
        docker.ok(["run", "-d", "--restart", "unless-stopped", "--name", name, &image, "sh", "-c", DEAF]);
        wait_until(LIMIT, "it is ready", || docker.ok(["logs", name]).contains("ready").then_some(()));
    }
    let begun = Instant::now();
    let asked =
        stops.map(|(name, stop, _)| docker.command([stop, &[name]].concat()).stderr(Stdio::null()).spawn().unwrap());
    for (name, _, heard) in stops {
        wait_until(LIMIT, "it has heard of its stop", || docker.ok(["logs", name]).contains(heard).then_some(()));
    }
    lab.node.kill();
    for mut stop in asked {
        assert!(!stop.wait().unwrap().success(), "the daemon is gone, and somebody answered");
    }
    lab.node.start_again();

    let docker = lab.node.docker();
    for (name, _, heard) in stops {
        becomes(&docker, name, "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "exited 137 0");
        assert!(begun.elapsed() >= Duration::from_secs(GRACE_SECONDS), "it had its grace only in part");
        // Asked again, by the same signal: nobody knows whether the daemon before came to it.
        let log = docker.ok(["logs", name]);
        let said: Vec<&str> = log.lines().collect();
        assert!(said.len() >= 2 && said[0] == "ready" && said[1..].iter().all(|line| *line == heard), "{log}");
    }
}

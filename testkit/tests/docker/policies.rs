//! Policies over a whole daemon: what is asked for is kept, also by the daemon after one that was killed.

use super::look::{LIMIT, becomes, end, pid, state};
use orlop_testkit::lab::Lab;
use orlop_testkit::wait_until;

#[test]
fn what_died_while_no_daemon_ran_is_started_again_or_removed_and_the_rest_never_notices() {
    let mut lab = Lab::with_docker();
    let image = lab.image();
    let docker = lab.node.docker();
    docker.ok(["pull", "-q", &image]);
    docker.ok(["run", "-d", "--name", "always", "--restart", "always", "-p", "18082:80", &image, "sleep", "1000"]);
    docker.ok(["run", "-d", "--name", "goes", "--rm", &image, "sleep", "1000"]);
    docker.ok(["run", "-d", "--name", "stays", &image, "sleep", "1000"]);
    let (always, goes, stays) = (pid(&docker, "always"), pid(&docker, "goes"), pid(&docker, "stays"));
    lab.node.kill();
    end(always);
    end(goes);
    lab.node.start_again();

    let docker = lab.node.docker();
    becomes(&docker, "always", "{{.State.Running}} {{.RestartCount}}", "true 1");
    wait_until(LIMIT, "the other one is removed", || {
        docker.ok(["ps", "-aq", "--filter", "name=goes"]).is_empty().then_some(())
    });
    assert_eq!(pid(&docker, "stays"), stays);
    end(pid(&docker, "always"));
    becomes(&docker, "always", "{{.State.Running}} {{.RestartCount}}", "true 2");

    docker.ok(["stop", "-t", "0", "always"]);
    assert_eq!(state(&docker, "always", "{{.State.Status}}"), "exited");
    // Its port is free at once.
    docker.ok(["run", "--rm", "-p", "18082:80", &image, "true"]);
    lab.node.kill();
    lab.node.start_again();
    becomes(&lab.node.docker(), "always", "{{.State.Running}}", "true");
}

#[test]
fn a_container_that_fails_is_started_again_as_often_as_asked() {
    let lab = Lab::with_docker();
    let (docker, image) = (lab.node.docker(), lab.image());
    docker.ok(["pull", "-q", &image]);
    docker.ok(["run", "-d", "--name", "fails", "--restart", "on-failure:2", &image, "sh", "-c", "echo tried; exit 4"]);
    becomes(&docker, "fails", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "exited 4 2");
    assert_eq!(docker.ok(["logs", "fails"]), "tried\ntried\ntried");
}

#[test]
fn health_is_looked_at_by_the_next_daemon_too() {
    let mut lab = Lab::with_docker();
    let image = lab.image();
    let docker = lab.node.docker();
    docker.ok(["pull", "-q", &image]);
    let looks = ["--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-retries", "2"];
    let run = ["run", "-d", "--name", "looked-at"];
    let program = "trap 'touch /ok' USR1; trap 'rm /ok' USR2; while :; do sleep 0.1; done";
    docker.ok(run.into_iter().chain(looks).chain([image.as_str(), "sh", "-c", program]).collect::<Vec<_>>());
    becomes(&docker, "looked-at", "{{.State.Health.Status}}", "unhealthy");
    docker.ok(["kill", "-s", "USR1", "looked-at"]);
    becomes(&docker, "looked-at", "{{.State.Health.Status}} {{len .State.Health.Log}}", "healthy 5");
    lab.node.kill();
    lab.node.start_again();
    let docker = lab.node.docker();
    assert_eq!(state(&docker, "looked-at", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "healthy 0");
    docker.ok(["kill", "-s", "USR2", "looked-at"]);
    becomes(&docker, "looked-at", "{{.State.Health.Status}}", "unhealthy");
}

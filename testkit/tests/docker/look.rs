//! How tests look at containers, and end them behind the daemon's back.

use orlop_testkit::docker::Docker;
use orlop_testkit::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// How long what is awaited may take; pauses before restarts are within a second here.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Returns what inspect says of a container.
pub fn state(docker: &Docker<'_>, name: &str, format: &str) -> String {
    docker.ok(["inspect", name, "--format", format])
}

/// Returns the process id of a container that runs.
pub fn pid(docker: &Docker<'_>, name: &str) -> i32 {
    state(docker, name, "{{.State.Pid}}").parse().unwrap()
}

/// Ends a container's first process, and waits until the kernel has forgotten it.
pub fn end(pid: i32) {
    let process = Pid::from_raw(pid).unwrap();
    kill_process(process, Signal::KILL).unwrap();
    wait_until(LIMIT, "its process is gone", || kill_process(process, Signal::CONT).is_err().then_some(()));
}

/// Waits until inspect says this of a container.
pub fn becomes(docker: &Docker<'_>, name: &str, format: &str, expected: &str) {
    wait_until(LIMIT, &format!("{name} becomes {expected}"), || {
        let said = docker.run(["inspect", name, "--format", format]);
        (said.stdout.trim_end() == expected).then_some(())
    });
}

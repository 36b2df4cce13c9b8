//! Programs run in a container.

use crate::client::Client;
use crate::containers::{exited, must_start};
use crate::node::{Node, wait_until};
use crate::plans::exec;
use orlop_wire::exit::ExitStatus;
use orlop_wire::frame::{Event, Phase, Reply, Request};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

/// Starts an exec; returns the reply and its output.
fn try_exec(client: &mut Client, number: u64, words: &[&str]) -> (Reply, OwnedFd) {
    let (output, end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let reply = client.ask_with(&Request::Exec(exec("c", number, words)), &[end.as_fd()]).0;
    (reply, output)
}

#[track_caller]
fn exec_exited(client: &mut Client, number: u64) -> ExitStatus {
    match client.event() {
        Event::ExecExited { container, exec, status } if container == "c" && exec == number => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn exec_runs_inside_its_container_and_its_end_is_reported() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "c", &["sleep", "1000"]);
    let script = "echo $(hostname) $(cat /proc/1/comm) $PWD $(cut -d: -f3 /proc/self/cgroup | sort -u) $(ls /proc/self/fd | wc -l); exit 5";
    let (reply, output) = try_exec(&mut client, 1, &["sh", "-c", script]);
    assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
    assert_eq!(exec_exited(&mut client, 1), ExitStatus::Code(5));
    let mut text = String::new();
    File::from(output).read_to_string(&mut text).unwrap();
    // In v1's hierarchies it is where its container is.
    let cgroups = if node.hierarchies.v1.is_empty() { "/exec-1" } else { "/ /exec-1" };
    assert_eq!(text.trim(), format!("a-pod sleep /tmp {cgroups} 4"));
}

#[test]
fn exec_that_takes_too_long_is_killed_with_all_it_started_and_nothing_else() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let first = must_start(&mut client, &node, "c", &["sleep", "1000"]);
    let (reply, _output) = try_exec(&mut client, 1, &["sh", "-c", "setsid sleep 1000 & sleep 1000"]);
    assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
    wait_until("it has forked", || node.procs().len() == 4);
    client.done(&Request::KillExec { container: "c".to_owned(), exec: 1 });
    assert_eq!(exec_exited(&mut client, 1), ExitStatus::Signal(9));
    wait_until("only the container is left", || node.procs() == [first]);
    client.done(&Request::KillExec { container: "c".to_owned(), exec: 1 });
}

#[test]
fn exec_of_a_missing_program_or_in_an_ended_container_says_so() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "c", &["sleep", "1000"]);
    let (reply, _) = try_exec(&mut client, 1, &["no-such-program"]);
    let Reply::Failed(failed) = reply else { panic!("{reply:?}") };
    assert_eq!((failed.errno, failed.phase), (libc::ENOENT, Phase::Exec));
    client.done(&Request::Kill { container: "c".to_owned() });
    exited(&mut client, "c");
    let (reply, _) = try_exec(&mut client, 2, &["true"]);
    assert!(matches!(reply, Reply::Error { errno: libc::ESRCH, .. }), "{reply:?}");
    let other = Request::Exec(exec("other", 3, &["true"]));
    assert!(matches!(client.ask(&other), Reply::Error { errno: libc::ENOENT, .. }));
}

#[test]
fn execs_end_with_their_container() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "c", &["sleep", "1000"]);
    assert!(matches!(try_exec(&mut client, 1, &["sleep", "1000"]).0, Reply::ExecStarted { .. }));
    client.done(&Request::DropTask { container: "c".to_owned() });
    let mut ends = [format!("{:?}", client.event()), format!("{:?}", client.event())];
    ends.sort();
    assert!(ends[0].starts_with("ExecExited") && ends[1].starts_with("Exited"), "{ends:?}");
    assert!(node.procs().is_empty());
}

#[test]
fn hundred_execs_leave_nothing() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "c", &["sleep", "1000"]);
    let shim = std::process::id();
    assert_ne!(shim, 0);
    for number in 1..=100 {
        assert!(matches!(try_exec(&mut client, number, &["true"]).0, Reply::ExecStarted { .. }));
        assert_eq!(exec_exited(&mut client, number), ExitStatus::Code(0));
    }
    assert_eq!(node.procs().len(), 1);
}

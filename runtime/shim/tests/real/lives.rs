//! Daemons, shims and spawners that come and go.

use crate::client::Client;
use crate::containers::{exited, log_lines, must_start, try_start};
use crate::node::{Node, wait_until};
use crate::plans::plan;
use orlop_sys::process::send_signal;
use orlop_wire::exit::{ExitRecord, ExitStatus};
use orlop_wire::frame::{Reply, Request, TaskState};
use std::os::fd::AsFd;

#[test]
fn container_that_ends_while_no_daemon_is_connected_is_found_later() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "gone", &["sh", "-c", "sleep 0.2; seq 1 1000; exit 7"]);
    let pid = must_start(&mut client, &node, "stays", &["sleep", "1000"]);
    drop(client);
    let file = node.dir("pod").join("exits/gone");
    wait_until("the record is written", || file.exists());
    let record = ExitRecord::from_file(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(record.status, ExitStatus::Code(7));
    assert_eq!(log_lines(&node, "gone").len(), 1000);
    let mut client = node.connect("pod");
    let Reply::Tasks(tasks) = client.ask(&Request::List) else { panic!() };
    assert_eq!(tasks[0], ("gone".to_owned(), TaskState::Ended(record)));
    assert!(matches!(tasks[1].1, TaskState::Running { pid: found, .. } if found == pid));
    // The new connection hears of what comes.
    client.done(&Request::Kill { container: "stays".to_owned() });
    assert_eq!(exited(&mut client, "stays").status, ExitStatus::Signal(9));
}

#[test]
fn two_connections_at_once_both_hear() {
    let mut node = Node::new();
    let mut one = node.sandbox();
    let mut two = node.connect("pod");
    must_start(&mut two, &node, "c", &["true"]);
    assert_eq!(exited(&mut one, "c"), exited(&mut two, "c"));
}

#[test]
fn connection_that_does_not_read_holds_nobody_up() {
    let mut node = Node::new();
    let mut one = node.sandbox();
    let _deaf = node.connect("pod");
    for _ in 0..20 {
        must_start(&mut one, &node, "c", &["true"]);
        exited(&mut one, "c");
        one.done(&Request::DropTask { container: "c".to_owned() });
    }
}

#[test]
fn stranger_bytes_close_the_connection_and_unknown_requests_are_answered() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    for bytes in [&b"\x07 no message"[..], b"\x01", b"\x00"] {
        let mut other = node.connect("pod");
        other.send_raw(bytes);
        assert!(other.is_closed(), "{bytes:?}");
    }
    // Number 5, request 200, as of a newer daemon.
    client.send_raw(&[0, 5, 200, 1]);
    assert_eq!(client.reply_to(5).0, Reply::Unsupported);
    assert_eq!(client.ask(&Request::Shims), Reply::Unsupported);
    assert_eq!(node.spawner().ask(&Request::List), Reply::Unsupported);
}

#[test]
fn shut_down_leaves_nothing() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "ended", &["true"]);
    exited(&mut client, "ended");
    must_start(&mut client, &node, "runs", &["sh", "-c", "sleep 1000 & sleep 1000"]);
    let Reply::Down(ends) = client.ask(&Request::ShutDown) else { panic!() };
    let ends: Vec<(&str, ExitStatus)> = ends.iter().map(|(id, record)| (id.as_str(), record.status)).collect();
    assert_eq!(ends, [("ended", ExitStatus::Code(0)), ("runs", ExitStatus::Signal(9))]);
    assert!(client.wait_gone());
    assert!(node.leaf().is_none());
    assert!(!node.socket("pod").exists());
    drop(client);
    wait_until("the spawner has reaped it", || node.spawner().ask(&Request::Shims) == Reply::Shims(Vec::new()));
    node.wait_for_spawner();
    assert!(!node.spawner_socket().exists());
}

#[test]
fn spawner_returns_the_shim_that_lives_and_ends_only_without_one() {
    let mut node = Node::new();
    let mut client = node.spawn("pod");
    let dir = node.dir("pod").to_str().unwrap().to_owned();
    let again = Request::Spawn { sandbox: "pod".to_owned(), dir };
    let mut spawner = node.spawner();
    let one = spawner.ask(&again);
    assert!(matches!(one, Reply::Spawned { .. }));
    assert_eq!(spawner.ask(&again), one);
    assert_eq!(spawner.ask(&Request::Shims), Reply::Shims(vec!["pod".to_owned()]));
    assert!(matches!(spawner.ask(&Request::End), Reply::Error { errno: libc::EBUSY, .. }));
    assert_eq!(client.ask(&Request::ShutDown), Reply::Down(Vec::new()));
    wait_until("it is reaped", || spawner.ask(&Request::Shims) == Reply::Shims(Vec::new()));
    spawner.done(&Request::End);
    node.wait_for_spawner();
}

#[test]
fn sandbox_that_was_shut_down_gets_a_new_shim_at_once() {
    let mut node = Node::new();
    for _ in 0..20 {
        let mut client = node.sandbox();
        assert_eq!(client.ask(&Request::ShutDown), Reply::Down(Vec::new()));
    }
}

#[test]
fn shim_that_can_not_start_is_reported() {
    let node = Node::new();
    let dir = node.log("a-file");
    std::fs::write(&dir, b"").unwrap();
    let dir = dir.join("below").to_str().unwrap().to_owned();
    let mut spawner = node.spawner();
    let reply = spawner.ask(&Request::Spawn { sandbox: "pod".to_owned(), dir });
    assert!(matches!(reply, Reply::Error { .. }), "{reply:?}");
    let relative = Request::Spawn { sandbox: "pod".to_owned(), dir: "pod".to_owned() };
    assert!(matches!(spawner.ask(&relative), Reply::Error { errno: libc::EINVAL, .. }));
}

#[test]
fn killed_shim_can_be_started_again_beside_what_it_left() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let pid = must_start(&mut client, &node, "c", &["sleep", "1000"]);
    send_signal(client.pidfd.as_fd(), 9).unwrap();
    assert!(client.is_closed() && client.wait_gone());
    wait_until("the spawner has reaped it", || node.spawner().ask(&Request::Shims) == Reply::Shims(Vec::new()));
    assert_eq!(node.procs(), [pid]);
    // The stale socket is replaced.
    let mut client = node.spawn("pod");
    assert_eq!(client.ask(&Request::List), Reply::Tasks(Vec::new()));
    client.done(&Request::SetUp(node.set_up()));
    let Reply::Down(_) = client.ask(&Request::ShutDown) else { panic!() };
    assert!(node.procs().is_empty() && node.leaf().is_none());
}

#[test]
fn spawner_and_shim_run_from_a_copy_that_can_not_be_written() {
    let mut node = Node::new();
    let client = node.sandbox();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&client.pidfd)));
    let info = info.unwrap();
    let shim = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned();
    for pid in [node.spawner_pid().to_string(), shim] {
        // While it runs, writing is ETXTBSY anyway; afterwards only the mount keeps others from it.
        let mount = rustix::fs::statvfs(format!("/proc/{pid}/exe")).unwrap();
        assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{pid}");
    }
}

#[test]
fn sockets_are_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut node = Node::new();
    let _client = node.spawn("pod");
    for path in [node.spawner_socket(), node.socket("pod")] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let run = node.spawner_socket();
    assert_eq!(std::fs::metadata(run.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn spawner_that_nobody_needs_ends_by_itself() {
    let mut node = Node::new();
    node.wait_for_spawner();
    assert!(Client::connect(&node.spawner_socket()).is_err());
}

#[test]
fn start_before_set_up_is_refused_where_it_needs_the_sandbox() {
    let mut node = Node::new();
    let mut client = node.spawn("pod");
    let plan = plan(&node.cgroup, "c", &["true"]);
    let reply = try_start(&mut client, &node, "c", plan);
    assert!(matches!(reply, Reply::Error { errno: libc::EINVAL, .. }), "{reply:?}");
}

//! What containers of a sandbox share.

use crate::containers::{exited, log_lines, must_start, try_start};
use crate::node::{Node, wait_until};
use crate::plans::plan;
use orlop_wire::exit::ExitStatus;
use orlop_wire::frame::{Reply, Request, Scope};
use orlop_wire::plan::{Join, JoinFrom, NamespaceKind};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

#[test]
fn network_namespace_comes_with_a_socket_made_inside() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let (reply, mut slots) = client.ask_with(&Request::NetworkNamespace, &[]);
    assert_eq!((reply, slots.len()), (Reply::NetworkNamespace, 2));
    let (socket, namespace) = (slots.pop().unwrap(), File::from(slots.pop().unwrap()));
    let ours = File::from(orlop_sys::netns::current().unwrap()).metadata().unwrap().ino();
    assert_ne!(namespace.metadata().unwrap().ino(), ours);
    assert!(rustix::net::getsockname(&socket).is_ok());
    // The container is in it.
    let pid = must_start(&mut client, &node, "c", &["sleep", "1000"]);
    let of_container = std::fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
    assert_eq!(namespace.metadata().unwrap().ino(), of_container);
}

#[test]
fn sandbox_of_the_node_has_no_network_namespace_and_takes_no_sysctl_of_it() {
    let mut node = Node::new();
    let mut client = node.spawn("pod");
    let mut set_up = node.set_up();
    set_up.network = Scope::Host;
    let reply = client.ask(&Request::SetUp(set_up.clone()));
    assert!(matches!(reply, Reply::Error { errno: libc::EINVAL, .. }), "{reply:?}");
    assert!(node.leaf().is_none());
    set_up.sysctls.clear();
    client.done(&Request::SetUp(set_up.clone()));
    client.done(&Request::SetUp(set_up));
    assert!(matches!(client.ask(&Request::NetworkNamespace), Reply::Error { errno: libc::EINVAL, .. }));
}

#[test]
fn sysctl_that_the_kernel_refuses_is_named() {
    let mut node = Node::new();
    let mut client = node.spawn("pod");
    let mut set_up = node.set_up();
    set_up.sysctls = vec![("net/ipv4/no_such_thing".to_owned(), "1".to_owned())];
    let Reply::Error { errno, message } = client.ask(&Request::SetUp(set_up)) else { panic!() };
    assert_eq!(errno, libc::ENOENT);
    assert!(message.contains("net.ipv4.no_such_thing"), "{message}");
    assert!(node.leaf().is_none());
}

#[test]
fn containers_that_share_processes_see_the_pods_init() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    for container in ["one", "two"] {
        // Orphans are init's.
        let script = "cat /proc/1/comm; (setsid sleep 1000 &) ; echo ready; sleep 1000";
        let mut plan = plan(&node.cgroup, container, &["sh", "-c", script]);
        plan.clone_flags &= !(libc::CLONE_NEWPID as u64);
        plan.join.push(Join { kind: NamespaceKind::Pid, from: JoinFrom::Sandbox });
        assert!(matches!(try_start(&mut client, &node, container, plan), Reply::Started { .. }));
    }
    for container in ["one", "two"] {
        wait_until("it speaks", || log_lines(&node, container).len() == 2);
        assert_eq!(log_lines(&node, container)[0], "stdout F orlop-init");
    }
    client.done(&Request::Kill { container: "one".to_owned() });
    assert_eq!(exited(&mut client, "one").status, ExitStatus::Signal(9));
    // The other one lives.
    wait_until("the others are left", || node.procs().len() == 4);
    let Reply::Down(ends) = client.ask(&Request::ShutDown) else { panic!() };
    assert_eq!(ends.len(), 2);
    assert!(node.leaf().is_none());
}

#[test]
fn container_joins_the_processes_of_another() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "target", &["sleep", "1000"]);
    let mut plan = plan(&node.cgroup, "c", &["sh", "-c", "cat /proc/1/comm"]);
    plan.clone_flags &= !(libc::CLONE_NEWPID as u64);
    plan.join.push(Join { kind: NamespaceKind::Pid, from: JoinFrom::Task("target".to_owned()) });
    assert!(matches!(try_start(&mut client, &node, "c", plan), Reply::Started { .. }));
    exited(&mut client, "c");
    assert_eq!(log_lines(&node, "c"), ["stdout F sleep"]);
    let Reply::Tasks(tasks) = client.ask(&Request::List) else { panic!() };
    assert_eq!(tasks.len(), 2);
}

//! How a daemon ends, and what the next finds.

use crate::WAITS;
use orlop_testkit::guard::Kind;
use orlop_testkit::lab::Lab;
use orlop_testkit::{Guard, Node, Pod};

#[test]
fn daemon_without_pods_ends_and_leaves_nothing() {
    let guard = Guard::new();
    let mut node = Node::start(&guard);
    let pod = Pod::run(&node, "gone");
    pod.stop().unwrap();
    pod.remove().unwrap();
    node.end();
    assert_eq!(guard.leaks(), []);
}

#[test]
fn daemon_with_a_pod_ends_and_leaves_it_running() {
    let mut lab = Lab::with_image();
    let mut pod = Pod::run(&lab.node, "stays");
    let id = pod.launch("waits", &lab.image(), WAITS);
    lab.node.end();
    let left = lab.guard.now();
    assert!(lab.guard.differences(&left).is_empty(), "nothing goes away by and by");
    lab.node.start_again();
    pod.reconnect(&lab.node);
    assert_eq!(pod.exec(&id, &["echo", "stayed"]).unwrap().1, "stayed\n");
}

#[test]
fn daemon_killed_without_pods_leaves_what_the_next_one_clears() {
    let guard = Guard::new();
    let mut node = Node::start(&guard);
    node.kill();
    node.start_again();
    node.end();
    assert_eq!(guard.leaks(), []);
}

#[test]
fn dead_shim_makes_its_pod_not_ready_and_leaves_nothing_after_removal() {
    use orlop_testkit::client::v1;
    use orlop_testkit::wait_until;
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "orphan");
    let id = pod.launch("waits", &lab.image(), WAITS);
    let shim = shim_of(&lab, &pod);
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    let limit = orlop_testkit::pod::PROGRAM_LIMIT;
    wait_until(limit, "the pod is not ready", || {
        (pod.status().state() == v1::PodSandboxState::SandboxNotready).then_some(())
    });
    assert_eq!(pod.ended(&id).state(), v1::ContainerState::ContainerExited);
    pod.stop().unwrap();
    pod.remove().unwrap();
}

/// The process whose command line names the pod and that is not the spawner.
fn shim_of(lab: &Lab, pod: &Pod) -> rustix::process::Pid {
    let ours = lab.guard.marks();
    let all = orlop_testkit::guard::processes();
    let found = ours.ours(&all).into_iter().find(|process| process.describe().contains(&pod.id));
    let process = found.unwrap_or_else(|| panic!("no {} names pod {}", Kind::Process, pod.id));
    rustix::process::Pid::from_raw(i32::try_from(process.pid).unwrap()).unwrap()
}

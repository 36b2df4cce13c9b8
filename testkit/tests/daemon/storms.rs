//! Callers that lose patience, and things that hang: one pod comes of it, and nobody else waits.

use crate::assert_refused;
use orlop_testkit::client::v1;
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{container_config, pod_config};
use orlop_testkit::{Client, Code, Node, Pod, Status, wait_until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Callers of one pod at a time, and the patience of each.
const CALLERS: usize = 20;
const PATIENCE: Duration = Duration::from_millis(50);
/// How long a caller goes on asking.
const ASKING_LIMIT: Duration = Duration::from_secs(20);
/// The longest that a stop may wait for what hangs.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// What a pod's other business may take while one of its containers is in its grace.
const ANSWER_LIMIT: Duration = Duration::from_millis(100);
/// How often that is tried: the middle one counts, since the machine may be busy with other things.
const ANSWERS: usize = 5;

/// Starts the daemon anew with failpoints.
fn armed(failpoints: &str) -> Lab {
    let mut lab = Lab::alone_with_image();
    lab.node.kill();
    lab.node.set_failpoints(Some(failpoints));
    lab.node.start_again();
    lab
}

/// Waits until the failpoint has struck: until then nobody's pod is the one of this name.
fn attach_is_held(node: &Node) {
    wait_until(ASKING_LIMIT, "the attach is held", || {
        node.log().contains("failpoint effect=sandbox.attach").then_some(())
    });
}

/// Asks for a pod, without more patience than that.
fn ask(client: &Client, config: v1::PodSandboxConfig) -> Result<String, Status> {
    let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
    client.wait(|mut runtime, _| async move {
        let mut request = tonic::Request::new(request);
        request.set_timeout(PATIENCE);
        Ok(runtime.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
    })
}

/// Asks again and again, as a kubelet does; returns the id, and how often the deadline came first.
fn ask_until_served(node: &Node) -> (String, usize) {
    let client = node.client();
    let mut early = 0;
    let id = wait_until(ASKING_LIMIT, "the pod is there", || match ask(&client, pod_config(node, "storm")) {
        Ok(id) => Some(id),
        Err(status) => {
            assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
            early += 1;
            None
        }
    });
    (id, early)
}

#[test]
fn a_storm_of_impatient_callers_makes_one_pod_and_no_name_is_stuck() {
    let lab = armed("sandbox.attach:before=hold:2000");
    let node = &lab.node;
    let (told, other) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| ask_until_served(node))).collect();
        attach_is_held(node);
        // One who wants another pod of this name learns so at once, and needs no more patience than they.
        let client = node.client();
        let mut config = pod_config(node, "storm");
        config.hostname = "another".to_owned();
        let other = wait_until(ASKING_LIMIT, "the name is taken", || {
            let answer = ask(&client, config.clone());
            matches!(&answer, Err(status) if status.code() == Code::AlreadyExists).then_some(answer)
        });
        (callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>(), other)
    });
    assert_refused("another hostname", other, &[Code::AlreadyExists], &["hostname"]);
    let ids: BTreeSet<_> = told.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids.len(), 1, "one pod: {ids:?}");
    assert!(told.iter().all(|(_, early)| *early > 0), "the attach was held: {told:?}");
    assert_eq!(crate::pods(&node.client()), ids.iter().cloned().collect::<Vec<_>>());
    let pod = Pod::run(node, "storm");
    assert!(ids.contains(&pod.id), "a later retry gets the same");
    pod.stop().unwrap();
    pod.remove().unwrap();
    assert!(!ids.contains(&Pod::run(node, "storm").id), "the name is free");
}

#[test]
fn a_pod_whose_attach_hangs_can_be_stopped() {
    let lab = armed("sandbox.attach:before=hold:600000");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| Pod::run_with(&lab.node, pod_config(&lab.node, "hangs")));
        let folder = lab.node.ground().join("run/sandboxes");
        attach_is_held(&lab.node);
        let entry = std::fs::read_dir(&folder).unwrap().next().expect("the shim is there").unwrap();
        let id = entry.file_name().into_string().unwrap();
        let begun = Instant::now();
        let stop = v1::StopPodSandboxRequest { pod_sandbox_id: id };
        lab.node.client().stop_pod_sandbox(stop).unwrap();
        let took = begun.elapsed();
        assert!(took < STOP_LIMIT, "stopped after {took:?}");
        let answer = run.join().unwrap();
        assert_refused("the run", answer, &[Code::Cancelled, Code::Aborted], &["stopped while it was being built"]);
    });
    assert!(crate::pods(&lab.node.client()).is_empty(), "a creation that was stopped leaves nothing");
    assert_eq!(Pod::run(&lab.node, "hangs").status().state(), v1::PodSandboxState::SandboxReady, "the name is free");
}

#[test]
fn a_container_in_its_grace_holds_up_nothing_else_in_its_pod() {
    let lab = Lab::alone_with_image();
    let pod = Pod::run(&lab.node, "patient");
    let deaf = pod.launch("deaf", &lab.image(), &["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]);
    let other = pod.launch("other", &lab.image(), crate::WAITS);
    wait_until(ASKING_LIMIT, "it is deaf", || (!pod.log("deaf").is_empty()).then_some(()));
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| {
            let client = lab.node.client();
            client.stop_container(v1::StopContainerRequest { container_id: deaf.clone(), timeout: 60 })
        });
        let record = lab.node.ground().join(&format!("run/records/container-state/{deaf}"));
        wait_until(ASKING_LIMIT, "it was asked to end", || {
            std::fs::read_to_string(&record).is_ok_and(|text| text.contains("Stopping")).then_some(())
        });
        answers_soon("ExecSync", |_| assert_eq!(pod.exec(&other, &["true"]).unwrap().0, 0));
        let created =
            (0..ANSWERS).map(|at| pod.create(container_config(&format!("c{at}"), &lab.image(), crate::WAITS)).unwrap());
        let created: Vec<_> = created.collect();
        answers_soon("StartContainer", |at| pod.start(&created[at]).unwrap());
        answers_soon("ReopenContainerLog", |_| reopen(&pod, &other));
        assert!(!stop.is_finished(), "the grace is long");
        pod.stop_container(&deaf, 0).unwrap();
        stop.join().unwrap().unwrap();
    });
    assert_eq!(pod.container(&deaf).exit_code, 137);
}

fn reopen(pod: &Pod, id: &str) {
    let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
    pod.client().wait(|mut runtime, _| async move { runtime.reopen_container_log(request).await.map(drop) }).unwrap();
}

/// Asserts that the middle one of some calls takes no longer than it may.
#[track_caller]
fn answers_soon(what: &str, mut call: impl FnMut(usize)) {
    let mut took: Vec<_> = (0..ANSWERS)
        .map(|at| {
            let begun = Instant::now();
            call(at);
            begun.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[ANSWERS / 2] < ANSWER_LIMIT, "{what}: {took:?}");
}

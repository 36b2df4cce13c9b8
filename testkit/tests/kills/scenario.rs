//! Every scenario: how to come to an operation, how to ask for it, and what must hold when it was asked for again.

use crate::stage::Stage;
use orlop_testkit::Status;
use orlop_testkit::client::v1;
use v1::ContainerState::{ContainerCreated, ContainerExited, ContainerRunning};
use v1::PodSandboxState::{SandboxNotready, SandboxReady};

/// One way to do an operation.
pub struct Scenario {
    /// The operation, as exported.
    pub operation: &'static str,
    /// What is special about this way.
    pub name: &'static str,
    /// Makes what it needs.
    pub prepare: fn(&mut Stage),
    /// Asks for it; the same request every time.
    pub act: fn(&mut Stage) -> Result<(), Status>,
    /// Asserts what must hold once it was served.
    pub holds: fn(&mut Stage),
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    OF_PODS.iter().chain(crate::alone::OF_CONTAINERS_ALONE)
}

const OF_PODS: &[Scenario] = &[
    Scenario {
        operation: "run-sandbox",
        name: "with a host port",
        prepare: |_| {},
        act: Stage::run_pod,
        holds: |stage| {
            let listed = stage.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
            assert_eq!(listed.len(), 1, "one name, one pod: {listed:?}");
            let pod = stage.pod();
            assert_eq!(listed[0].id, pod.id);
            assert_eq!(pod.status().state(), SandboxReady);
            assert!(pod.address().is_ipv4());
        },
    },
    Scenario {
        operation: "create-container",
        name: "in a new pod",
        prepare: |stage| stage.run_pod().unwrap(),
        act: Stage::create,
        holds: |stage| {
            let listed = stage.client().list_containers(v1::ListContainersRequest::default()).unwrap().containers;
            assert_eq!(listed.len(), 1, "one name, one container: {listed:?}");
            assert_eq!(stage.status().unwrap().state(), ContainerCreated);
        },
    },
    Scenario {
        operation: "start-container",
        name: "once created",
        prepare: |stage| {
            stage.run_pod().unwrap();
            stage.create().unwrap();
        },
        // Who is told that it runs already has what was asked for.
        act: |stage| match stage.status()?.state() {
            ContainerRunning => Ok(()),
            ContainerCreated | ContainerExited | v1::ContainerState::ContainerUnknown => stage.start(),
        },
        holds: |stage| {
            assert_eq!(stage.status().unwrap().state(), ContainerRunning);
            let id = stage.container();
            assert_eq!(stage.pod().exec(&id, &["echo", "here"]).unwrap().1, "here\n");
        },
    },
    Scenario {
        operation: "update-container",
        name: "that runs",
        prepare: Stage::run_all,
        act: Stage::update,
        holds: |stage| {
            stage.is_updated();
            let id = stage.container();
            assert_eq!(stage.pod().exec(&id, &["echo", "here"]).unwrap().1, "here\n");
        },
    },
    Scenario {
        operation: "update-container",
        name: "once created",
        prepare: |stage| {
            stage.run_pod().unwrap();
            stage.create().unwrap();
        },
        act: Stage::update,
        holds: |stage| {
            stage.start().unwrap();
            stage.is_updated();
        },
    },
    Scenario {
        operation: "stop-container",
        name: "with grace",
        prepare: Stage::run_all,
        act: |stage| {
            let id = stage.container();
            stage.pod().stop_container(&id, 30)?;
            stage.settle();
            Ok(())
        },
        holds: |stage| ended(stage, 0),
    },
    Scenario {
        operation: "stop-container",
        name: "without grace",
        prepare: Stage::run_all,
        act: |stage| {
            let id = stage.container();
            stage.pod().stop_container(&id, 0)?;
            stage.settle();
            Ok(())
        },
        holds: |stage| ended(stage, 137),
    },
    Scenario {
        operation: "stop-sandbox",
        name: "with a container that runs",
        prepare: Stage::run_all,
        act: |stage| {
            stage.pod().stop()?;
            stage.settle();
            Ok(())
        },
        holds: |stage| {
            assert_eq!(stage.pod().status().state(), SandboxNotready);
            ended(stage, 137);
        },
    },
    Scenario {
        operation: "remove-container",
        name: "that runs",
        prepare: Stage::run_all,
        act: |stage| {
            let id = stage.container();
            stage.pod().remove_container(&id)
        },
        holds: |stage| assert!(stage.status().is_err(), "a removed container is there"),
    },
    Scenario {
        operation: "remove-sandbox",
        name: "with a container that runs",
        prepare: Stage::run_all,
        act: |stage| stage.pod().remove(),
        holds: |stage| {
            let listed = stage.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
            assert!(listed.is_empty(), "a removed pod is there: {listed:?}");
            assert!(stage.status().is_err(), "the container of a removed pod is there");
        },
    },
    Scenario {
        operation: "pull-image",
        name: "of which nothing is there",
        prepare: |stage| stage.remove_image().unwrap(),
        act: |stage| stage.pull(),
        holds: |stage| {
            assert!(stage.has_image());
            stage.run_all();
        },
    },
    Scenario {
        operation: "remove-image",
        name: "that nobody uses",
        prepare: |_| {},
        act: |stage| stage.remove_image(),
        holds: |stage| assert!(!stage.has_image(), "a removed image is there"),
    },
];

/// Asserts that the container has ended, and how.
fn ended(stage: &mut Stage, code: i32) {
    let status = stage.status().unwrap();
    assert_eq!((status.state(), status.exit_code), (ContainerExited, code), "{status:?}");
    assert!(status.started_at > 0 && status.finished_at >= status.started_at, "{status:?}");
}

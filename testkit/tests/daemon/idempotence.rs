//! Doing a thing twice is quiet where the CRI wants it so, and an error where it doesn't.

use crate::{WAITS, assert_refused};
use orlop_testkit::client::{image, v1};
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::container_config;
use orlop_testkit::{Code, Pod};

/// An id of the right form that nothing has.
fn nobody() -> String {
    "0".repeat(64)
}

#[test]
fn stop_and_remove_may_come_twice() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "twice");
    let id = pod.launch("waits", &lab.image(), WAITS);
    for _ in 0..2 {
        pod.stop_container(&id, 10).unwrap();
    }
    for _ in 0..2 {
        pod.remove_container(&id).unwrap();
    }
    for _ in 0..2 {
        pod.stop().unwrap();
    }
    for _ in 0..2 {
        pod.remove().unwrap();
    }
}

#[test]
fn stop_and_remove_of_what_never_was_are_quiet() {
    let lab = Lab::start();
    let client = lab.node.client();
    client.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: nobody() }).unwrap();
    client.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: nobody() }).unwrap();
    client.stop_container(v1::StopContainerRequest { container_id: nobody(), timeout: 0 }).unwrap();
    client.remove_container(v1::RemoveContainerRequest { container_id: nobody() }).unwrap();
    let reference = format!("sha256:{}", nobody());
    client.remove_image(v1::RemoveImageRequest { image: Some(image(&reference)) }).unwrap();
}

#[test]
fn status_of_what_never_was_is_not_found() {
    let lab = Lab::start();
    let client = lab.node.client();
    let pod = v1::PodSandboxStatusRequest { pod_sandbox_id: nobody(), verbose: false };
    assert_refused("pod status", client.pod_sandbox_status(pod), &[Code::NotFound], &[&nobody()]);
    let container = v1::ContainerStatusRequest { container_id: nobody(), verbose: false };
    assert_refused("container status", client.container_status(container), &[Code::NotFound], &[&nobody()]);
    let start = v1::StartContainerRequest { container_id: nobody() };
    assert_refused("start", client.start_container(start), &[Code::NotFound], &[&nobody()]);
    let exec = v1::ExecSyncRequest { container_id: nobody(), cmd: vec!["true".to_owned()], timeout: 1 };
    assert_refused("exec", client.exec_sync(exec), &[Code::NotFound], &[&nobody()]);
    let request = v1::ImageStatusRequest { image: Some(image("registry.k8s.io/nobody:1")), verbose: false };
    assert!(client.image_status(request).unwrap().image.is_none(), "an absent image is no error");
}

#[test]
fn started_container_is_not_started_again() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "again");
    let id = pod.launch("waits", &lab.image(), WAITS);
    assert_refused("while it runs", pod.start(&id), &[Code::FailedPrecondition], &[&id]);
    pod.stop_container(&id, 0).unwrap();
    assert_refused("after its end", pod.start(&id), &[Code::FailedPrecondition], &[&id]);
}

#[test]
fn running_and_created_containers_can_be_removed() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "remove");
    let created = pod.create(container_config("created", &lab.image(), WAITS)).unwrap();
    pod.remove_container(&created).unwrap();
    let running = pod.launch("running", &lab.image(), WAITS);
    pod.remove_container(&running).unwrap();
    assert_eq!(crate::containers(pod.client()), [""; 0]);
}

#[test]
fn nothing_is_created_in_a_stopped_pod() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "stopped");
    pod.stop().unwrap();
    let answer = pod.create(container_config("late", &lab.image(), WAITS));
    assert_refused("create", answer, &[Code::FailedPrecondition], &[&pod.id]);
}

#[test]
fn pod_with_running_containers_is_removed_whole() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "whole");
    pod.launch("one", &lab.image(), WAITS);
    pod.launch("two", &lab.image(), WAITS);
    pod.remove().unwrap();
    assert_eq!(crate::containers(pod.client()), [""; 0]);
    assert_eq!(crate::pods(pod.client()), [""; 0]);
}

#[test]
fn image_is_removed_once_by_five_at_once() {
    let lab = Lab::with_image();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..5)
            .map(|_| {
                let request = v1::RemoveImageRequest { image: Some(image(&lab.image())) };
                scope.spawn(|| lab.node.client().remove_image(request))
            })
            .collect();
        for caller in callers {
            caller.join().unwrap().unwrap();
        }
    });
    let request = v1::ImageStatusRequest { image: Some(image(&lab.image())), verbose: false };
    assert_eq!(lab.node.client().image_status(request).unwrap().image, None);
}

#[test]
fn image_is_pulled_once_by_five_at_once() {
    let lab = Lab::start();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..5)
            .map(|_| {
                let request = v1::PullImageRequest { image: Some(image(&lab.image())), ..Default::default() };
                scope.spawn(|| lab.node.client().pull_image(request).unwrap().image_ref)
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(lab.node.client().list_images(v1::ListImagesRequest::default()).unwrap().images.len(), 1);
}

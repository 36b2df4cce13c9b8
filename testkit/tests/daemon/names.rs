//! One name, one thing: the same request finds it, another is refused, and a removed thing frees its name.

use crate::{WAITS, assert_refused};
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{container_config, pod_config};
use orlop_testkit::{Code, Pod};

#[test]
fn same_pod_request_returns_the_same_id() {
    let lab = Lab::start();
    let first = Pod::run(&lab.node, "twice");
    let second = Pod::run(&lab.node, "twice");
    assert_eq!(first.id, second.id);
    assert_eq!(crate::pods(first.client()), [first.id]);
}

#[test]
fn same_pod_request_from_many_at_once_makes_one_pod() {
    let lab = Lab::start();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..5).map(|_| scope.spawn(|| Pod::run(&lab.node, "many").id)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(crate::pods(&lab.node.client()).len(), 1);
}

#[test]
fn pod_name_in_use_by_another_request_is_refused_with_id_and_field() {
    let lab = Lab::start();
    let pod = Pod::run(&lab.node, "taken");
    let mut other = pod_config(&lab.node, "taken");
    other.hostname = "another".to_owned();
    let answer = Pod::run_with(&lab.node, other);
    assert_refused("another hostname", answer, &[Code::AlreadyExists], &[&pod.id, "hostname"]);
    let mut other = pod_config(&lab.node, "taken");
    other.labels.insert("more".to_owned(), "labels".to_owned());
    assert_refused("another label", Pod::run_with(&lab.node, other), &[Code::AlreadyExists], &[&pod.id, "labels"]);
    pod.stop().unwrap();
    pod.remove().unwrap();
    let again = Pod::run(&lab.node, "taken");
    assert_ne!(again.id, pod.id, "the name is free, the id is new");
}

#[test]
fn attempts_of_one_pod_are_different_pods() {
    let lab = Lab::start();
    let first = Pod::run(&lab.node, "attempts");
    let mut next = pod_config(&lab.node, "attempts");
    next.metadata.as_mut().unwrap().attempt = 1;
    assert_ne!(Pod::run_with(&lab.node, next).unwrap().id, first.id);
}

#[test]
fn container_names_are_kept_as_pod_names_are() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "names");
    let config = container_config("taken", &lab.image(), WAITS);
    let id = pod.create(config.clone()).unwrap();
    assert_eq!(pod.create(config.clone()).unwrap(), id, "the same request");
    pod.start(&id).unwrap();
    assert_eq!(pod.create(config.clone()).unwrap(), id, "the same request, while it runs");
    let mut other = config.clone();
    other.args = vec!["more".to_owned()];
    assert_refused("other arguments", pod.create(other), &[Code::AlreadyExists], &[&id, "args"]);
    let mut other = config.clone();
    other.working_dir = "/tmp".to_owned();
    assert_refused("another folder", pod.create(other), &[Code::AlreadyExists], &[&id, "working_dir"]);
    let neighbour = Pod::run(&lab.node, "neighbour");
    assert_ne!(neighbour.create(config.clone()).unwrap(), id, "names belong to a pod");
    pod.remove_container(&id).unwrap();
    assert_ne!(pod.create(config).unwrap(), id, "the name is free, the id is new");
}

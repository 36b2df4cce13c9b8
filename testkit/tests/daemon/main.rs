//! The whole daemon: real spawner and shims, a real registry on loopback, a client that isn't ours.
//!
//! Each test has a daemon on a ground of its own, and the guard compares the machine before and after it. Tests take turns:
//! the guard looks at the whole host.
#![allow(clippy::unwrap_used, reason = "this program is all tests")]

mod bad_input;
mod end;
mod idempotence;
mod life;
mod lines;
mod metrics;
mod names;
mod resources;
mod rotation;
mod settings;
mod storms;
mod users;

use orlop_testkit::client::v1;
use orlop_testkit::{Client, Code, Status};

/// A program that goes on until it is told to end, and then ends well.
pub const WAITS: &[&str] = &["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 1 & wait $!; done"];

/// Asserts that a call was refused with one of the codes, saying all of the words.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Status>, codes: &[Code], words: &[&str]) {
    let status = match answer {
        Ok(answer) => panic!("{what}: expected a refusal, got {answer:?}"),
        Err(status) => status,
    };
    assert!(codes.contains(&status.code()), "{what}: {:?} is none of {codes:?}: {}", status.code(), status.message());
    for word in words {
        let told = status.message().to_lowercase().contains(&word.to_lowercase());
        assert!(told, "{what}: {word:?} is missing in {:?}", status.message());
    }
}

/// Returns the ids of all containers.
pub fn containers(client: &Client) -> Vec<String> {
    let list = client.list_containers(v1::ListContainersRequest::default()).unwrap().containers;
    list.into_iter().map(|container| container.id).collect()
}

/// Returns the ids of all pods.
pub fn pods(client: &Client) -> Vec<String> {
    let list = client.list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
    list.into_iter().map(|pod| pod.id).collect()
}

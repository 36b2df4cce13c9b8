//! What listeners hear.

use crate::served::{Served, container_config, odd, pod_config};
use orlop_cri::proto::*;
use orlop_model::container_state::Exit;
use orlop_model::{ContainerId, SandboxId};
use tonic::Streaming;

/// Returns the next event as `created`, with its own id, and what it says of its pod.
async fn heard(events: &mut Streaming<ContainerEventResponse>) -> (String, ContainerEventResponse) {
    let event = events.message().await.unwrap().unwrap();
    let what = event.container_event_type().as_str_name();
    let what = what.trim_start_matches("CONTAINER_").trim_end_matches("_EVENT").to_lowercase();
    (format!("{what} {}", event.container_id), event)
}

#[tokio::test]
async fn whoever_listens_hears_what_becomes_of_pods_and_containers() {
    let mut served = Served::start().await;
    let before = served.run(pod_config("before")).await.unwrap();
    let mut listeners = [served.listen().await, served.listen().await];
    let pod = served.run(pod_config("web")).await.unwrap();
    let container = served.create(&pod, container_config("c")).await.unwrap();
    served.start_container(&container).await.unwrap();
    let (pod_id, id) = (SandboxId::parse(&pod).unwrap(), ContainerId::parse(&container).unwrap());
    served.world.end_task(&pod_id, &id, Exit::Code { code: 7, oom: false });
    while served.status(&container).await.unwrap().state != ContainerState::ContainerExited as i32 {
        tokio::task::yield_now().await;
    }
    let request = RemoveContainerRequest { container_id: container.clone() };
    let _: RemoveContainerResponse = served.runtime("RemoveContainer", request).await.unwrap();
    let request = RemovePodSandboxRequest { pod_sandbox_id: pod.clone() };
    let _: RemovePodSandboxResponse = served.runtime("RemovePodSandbox", request).await.unwrap();

    for events in &mut listeners {
        let mut last = 0;
        for expected in [
            format!("created {pod}"),
            format!("started {pod}"),
            format!("created {container}"),
            format!("started {container}"),
            format!("stopped {container}"),
            format!("deleted {container}"),
            format!("stopped {pod}"),
            format!("deleted {pod}"),
        ] {
            let (told, event) = heard(events).await;
            assert_eq!(told, expected);
            assert!(event.created_at >= last, "{told} is older than what was told before");
            last = event.created_at;
            let sandbox = event.pod_sandbox_status.unwrap();
            assert_eq!((sandbox.id.as_str(), sandbox.metadata), (pod.as_str(), pod_config("web").metadata));
            assert_eq!((sandbox.labels, sandbox.annotations), (odd(), odd()));
            if told == format!("stopped {container}") {
                let status = event.containers_statuses.first().cloned().unwrap_or_default();
                assert_eq!((status.id.as_str(), status.exit_code), (container.as_str(), 7));
                assert_eq!(sandbox.state, PodSandboxState::SandboxReady as i32);
            }
            if told == format!("stopped {pod}") || told == format!("deleted {pod}") {
                assert_eq!(sandbox.state, PodSandboxState::SandboxNotready as i32);
            }
        }
    }
    drop(listeners);
    assert!(served.pods().await.iter().any(|pod| pod.id == before));
    served.finish().await;
}

#[tokio::test]
async fn the_server_ends_while_somebody_listens() {
    let mut served = Served::start().await;
    let mut events = served.listen().await;
    served.end.send(()).unwrap();
    assert!(events.message().await.unwrap().is_none(), "the stream ends without a fault");
    drop(served.client);
    served.server.await.unwrap();
}

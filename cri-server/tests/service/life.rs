//! Pods and containers, from the first request to the last.

use crate::served::{Served, check_refused, container_config, image, odd, pod_config};
use orlop_cri::proto::*;
use orlop_model::container_state::Exit;
use orlop_model::{ContainerId, SandboxId};
use tonic::Code;

#[tokio::test]
async fn a_pod_lives_from_run_to_remove() {
    let mut served = Served::start().await;
    let pod = served.run(pod_config("web")).await.unwrap();
    assert_eq!(pod.len(), 64);
    let listed = served.pods().await.remove(0);
    assert_eq!((listed.id.as_str(), listed.state), (pod.as_str(), PodSandboxState::SandboxReady as i32));
    assert_eq!((listed.labels, listed.annotations), (odd(), odd()));

    let request = PodSandboxStatusRequest { pod_sandbox_id: pod[..12].into(), verbose: true };
    let answer: PodSandboxStatusResponse = served.runtime("PodSandboxStatus", request).await.unwrap();
    let status = answer.status.unwrap();
    assert_eq!((status.id.as_str(), status.metadata), (pod.as_str(), pod_config("web").metadata));
    assert!(status.created_at > 0 && !status.network.unwrap().ip.is_empty());
    let info: serde_json::Value = serde_json::from_str(&answer.info["info"]).unwrap();
    assert_eq!(info["config"]["log_directory"], "/var/log/pods/x");

    let container = served.create(&pod, container_config("c")).await.unwrap();
    assert_eq!(served.status(&container).await.unwrap().state, ContainerState::ContainerCreated as i32);
    served.start_container(&container).await.unwrap();
    let status = served.status(&container).await.unwrap();
    assert_eq!(status.state, ContainerState::ContainerRunning as i32);
    assert_eq!(status.log_path, "/var/log/pods/x/c/0.log");
    assert_eq!((status.labels, status.annotations), (odd(), odd()));
    assert_eq!(status.mounts, container_config("c").mounts);
    assert_eq!((status.image_ref, status.image_id), (image().id.to_string(), image().id.to_string()));
    assert_eq!(served.containers().await[0].annotations, odd());

    let request =
        ExecSyncRequest { container_id: container.clone(), cmd: vec!["echo".into(), "hi".into()], timeout: 1 };
    let answer: ExecSyncResponse = served.runtime("ExecSync", request).await.unwrap();
    assert_eq!((answer.stdout.as_slice(), answer.exit_code), (&b"echo hi"[..], 0));

    let (pod_id, id) = (SandboxId::parse(&pod).unwrap(), ContainerId::parse(&container).unwrap());
    served.world.end_task(&pod_id, &id, Exit::Code { code: 7, oom: false });
    let status = loop {
        let status = served.status(&container).await.unwrap();
        if status.state == ContainerState::ContainerExited as i32 {
            break status;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((status.exit_code, status.reason.as_str()), (7, "Error"));
    check_refused(served.start_container(&container).await, Code::FailedPrecondition, &["start container", "ended"]);

    let stop = StopPodSandboxRequest { pod_sandbox_id: pod.clone() };
    for _ in 0..2 {
        let _: StopPodSandboxResponse = served.runtime("StopPodSandbox", stop.clone()).await.unwrap();
    }
    assert_eq!(served.pods().await[0].state, PodSandboxState::SandboxNotready as i32);
    check_refused(served.create(&pod, container_config("late")).await, Code::FailedPrecondition, &[]);
    let remove = RemovePodSandboxRequest { pod_sandbox_id: pod };
    for _ in 0..2 {
        let _: RemovePodSandboxResponse = served.runtime("RemovePodSandbox", remove.clone()).await.unwrap();
    }
    assert!(served.pods().await.is_empty() && served.containers().await.is_empty());
    served.finish().await;
}

#[tokio::test]
async fn lists_come_in_pieces_too_and_what_a_kubelet_did_to_a_pod_is_noted() {
    let mut served = Served::start().await;
    let pod = served.run(pod_config("web")).await.unwrap();
    // One piece: a call that takes one answer takes it.
    let images: StreamImagesResponse =
        served.call("ImageService", "StreamImages", StreamImagesRequest::default()).await.unwrap();
    assert_eq!(images.images.len(), 1);
    let pods: StreamPodSandboxesResponse =
        served.runtime("StreamPodSandboxes", StreamPodSandboxesRequest::default()).await.unwrap();
    assert_eq!((pods.pod_sandboxes.len(), &pods.pod_sandboxes[0].id), (1, &pod));
    let update = |id: &str| UpdatePodSandboxResourcesRequest { pod_sandbox_id: id.into(), ..Default::default() };
    let _: UpdatePodSandboxResourcesResponse = served.runtime("UpdatePodSandboxResources", update(&pod)).await.unwrap();
    let gone: Result<UpdatePodSandboxResourcesResponse, _> =
        served.runtime("UpdatePodSandboxResources", update(&"e".repeat(64))).await;
    check_refused(gone, Code::NotFound, &["eee"]);
    served.finish().await;
}

#[tokio::test]
async fn streams_are_promised_by_url_for_what_runs_and_as_it_was_created() {
    let mut served = Served::start().await;
    let pod = served.run(pod_config("web")).await.unwrap();
    let id = served.create(&pod, container_config("c")).await.unwrap();
    let exec = |tty, stderr| ExecRequest {
        container_id: id.clone(),
        cmd: vec!["sh".into()],
        tty,
        stdin: true,
        stdout: true,
        stderr,
    };
    let attach = AttachRequest { container_id: id.clone(), stdin: true, stdout: true, ..Default::default() };
    let early: Result<ExecResponse, _> = served.runtime("Exec", exec(false, true)).await;
    check_refused(early, Code::FailedPrecondition, &["has not been started yet"]);
    served.start_container(&id).await.unwrap();
    let both: Result<ExecResponse, _> = served.runtime("Exec", exec(true, true)).await;
    check_refused(both, Code::InvalidArgument, &["tty and stderr"]);
    let none: Result<ExecResponse, _> = served.runtime("Exec", ExecRequest { cmd: vec![], ..exec(false, true) }).await;
    check_refused(none, Code::InvalidArgument, &["cmd"]);
    let stdin: Result<AttachResponse, _> = served.runtime("Attach", attach.clone()).await;
    check_refused(stdin, Code::InvalidArgument, &["created without stdin"]);
    let exec: ExecResponse = served.runtime("Exec", exec(true, false)).await.unwrap();
    let attach: AttachResponse = served.runtime("Attach", AttachRequest { stdin: false, ..attach }).await.unwrap();
    let forward = PortForwardRequest { pod_sandbox_id: pod, port: vec![] };
    let bad: Result<PortForwardResponse, _> =
        served.runtime("PortForward", PortForwardRequest { port: vec![0], ..forward.clone() }).await;
    check_refused(bad, Code::InvalidArgument, &["0 is no port"]);
    let forward: PortForwardResponse = served.runtime("PortForward", forward).await.unwrap();
    for (url, path) in [(exec.url, "exec"), (attach.url, "attach"), (forward.url, "portforward")] {
        assert!(url.starts_with("http://127.0.0.1:") && url.contains(&format!("/{path}/")), "{url}");
    }
    served.finish().await;
}

#[tokio::test]
async fn limits_change_while_a_container_is_created_and_while_it_runs() {
    let mut served = Served::start().await;
    let pod = served.run(pod_config("web")).await.unwrap();
    let id = served.create(&pod, container_config("c")).await.unwrap();
    let request = |cpu_shares, memory_limit_in_bytes| UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(LinuxContainerResources { cpu_shares, memory_limit_in_bytes, ..Default::default() }),
        ..Default::default()
    };
    let shown = |status: ContainerStatus| {
        let linux = status.resources.unwrap().linux.unwrap();
        (linux.cpu_shares, linux.memory_limit_in_bytes)
    };
    let update = "UpdateContainerResources";
    let _: UpdateContainerResourcesResponse = served.runtime(update, request(300, 0)).await.unwrap();
    served.start_container(&id).await.unwrap();
    let _: UpdateContainerResourcesResponse = served.runtime(update, request(0, 1 << 30)).await.unwrap();
    assert_eq!(shown(served.status(&id).await.unwrap()), (300, 1 << 30));
    let limits = served.world.limits(&ContainerId::parse(&id).unwrap()).unwrap();
    assert_eq!((limits.version, limits.cpu_shares, limits.memory_bytes_max), (2, 300, 1 << 30));

    let refused: Result<UpdateContainerResourcesResponse, _> = served.runtime(update, request(-1, 0)).await;
    check_refused(refused, Code::InvalidArgument, &["linux.cpu_shares", "below zero"]);
    let nobody = UpdateContainerResourcesRequest { container_id: "f".repeat(64), ..request(1, 0) };
    let refused: Result<UpdateContainerResourcesResponse, _> = served.runtime(update, nobody).await;
    check_refused(refused, Code::NotFound, &["ffff"]);
    served.finish().await;
}

#[tokio::test]
async fn running_containers_have_stats_and_others_have_none() {
    let mut served = Served::start().await;
    let pod = served.run(pod_config("web")).await.unwrap();
    let (running, created) = (
        served.create(&pod, container_config("c")).await.unwrap(),
        served.create(&pod, container_config("d")).await.unwrap(),
    );
    served.start_container(&running).await.unwrap();
    let list = |filter: Option<ContainerStatsFilter>| ListContainerStatsRequest { filter };
    let ids = |answer: ListContainerStatsResponse| {
        answer.stats.into_iter().map(|stats| stats.attributes.unwrap().id).collect::<Vec<_>>()
    };
    let all: ListContainerStatsResponse = served.runtime("ListContainerStats", list(None)).await.unwrap();
    assert_eq!(ids(all), [running.as_str()]);
    for (filter, expected) in [
        (ContainerStatsFilter { id: running[..9].into(), ..Default::default() }, 1),
        (ContainerStatsFilter { pod_sandbox_id: pod.clone(), ..Default::default() }, 1),
        (ContainerStatsFilter { id: "f".repeat(64), ..Default::default() }, 0),
        (ContainerStatsFilter { label_selector: [("no".into(), "such".into())].into(), ..Default::default() }, 0),
    ] {
        let some: ListContainerStatsResponse =
            served.runtime("ListContainerStats", list(Some(filter.clone()))).await.unwrap();
        assert_eq!(ids(some).len(), expected, "{filter:?}");
    }
    let one = |id: &str| ContainerStatsRequest { container_id: id.into() };
    let stats: ContainerStatsResponse = served.runtime("ContainerStats", one(&running)).await.unwrap();
    let stats = stats.stats.unwrap();
    assert!(stats.cpu.unwrap().timestamp > 0 && stats.writable_layer.unwrap().timestamp > 0);
    let pods = ListPodSandboxStatsRequest::default();
    let pods: ListPodSandboxStatsResponse = served.runtime("ListPodSandboxStats", pods).await.unwrap();
    let [stats] = pods.stats.as_slice() else { panic!("{pods:?}") };
    let linux = stats.linux.as_ref().unwrap();
    assert_eq!(linux.containers.len(), 1);
    assert_eq!(linux.network.as_ref().unwrap().default_interface.as_ref().unwrap().name, "eth0");
    let refused: Result<ContainerStatsResponse, _> = served.runtime("ContainerStats", one(&created)).await;
    check_refused(refused, Code::FailedPrecondition, &["not running"]);
    let refused: Result<ContainerStatsResponse, _> = served.runtime("ContainerStats", one(&"f".repeat(64))).await;
    check_refused(refused, Code::NotFound, &["ffff"]);
    served.finish().await;
}

#[tokio::test]
async fn the_node_says_what_a_kubelet_needs_before_anything_else() {
    let mut served = Served::start().await;
    let version: VersionResponse = served.runtime("Version", VersionRequest::default()).await.unwrap();
    assert_eq!((version.version.as_str(), version.runtime_api_version.as_str()), ("0.1.0", "v1"));
    assert_eq!(version.runtime_name, "orlop");
    let status: StatusResponse = served.runtime("Status", StatusRequest { verbose: true }).await.unwrap();
    assert!(status.status.unwrap().conditions.iter().all(|condition| condition.status));
    assert!(status.features.unwrap().supplemental_groups_policy);
    let config: RuntimeConfigResponse = served.runtime("RuntimeConfig", RuntimeConfigRequest {}).await.unwrap();
    assert_eq!(config.linux.unwrap().cgroup_driver, CgroupDriver::Cgroupfs as i32);
    served.finish().await;
}

//! Which requests are taken, refused, joined and counted.

use crate::served::{IMAGE, Served, check_refused, container_config, pod_config};
use orlop_cri::proto::*;
use tonic::Code;

#[tokio::test]
async fn the_same_request_has_the_same_id_and_another_one_is_refused() {
    let mut served = Served::start().await;
    let pod = served.run(pod_config("web")).await.unwrap();
    assert_eq!(served.run(pod_config("web")).await.unwrap(), pod);
    let mut other = pod_config("web");
    other.linux = Some(LinuxPodSandboxConfig { cgroup_parent: "/x".into(), ..Default::default() });
    check_refused(served.run(other).await, Code::AlreadyExists, &[&pod, "linux"]);
    let mut other = pod_config("web");
    other.labels.insert("app".into(), "db".into());
    check_refused(served.run(other).await, Code::AlreadyExists, &[&pod, "labels[app]"]);

    let container = served.create(&pod, container_config("c")).await.unwrap();
    assert_eq!(served.create(&pod, container_config("c")).await.unwrap(), container);
    let mut other = container_config("c");
    other.mounts[0].readonly = true;
    check_refused(served.create(&pod, other).await, Code::AlreadyExists, &[&container, "mounts[0].readonly"]);
    served.finish().await;
}

#[tokio::test]
async fn stopping_and_removing_what_is_not_there_is_done_already() {
    let mut served = Served::start().await;
    let id = "f".repeat(64);
    let _: StopPodSandboxResponse =
        served.runtime("StopPodSandbox", StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await.unwrap();
    let _: RemovePodSandboxResponse =
        served.runtime("RemovePodSandbox", RemovePodSandboxRequest { pod_sandbox_id: id.clone() }).await.unwrap();
    let _: StopContainerResponse =
        served.runtime("StopContainer", StopContainerRequest { container_id: id.clone(), timeout: 1 }).await.unwrap();
    let _: RemoveContainerResponse =
        served.runtime("RemoveContainer", RemoveContainerRequest { container_id: id.clone() }).await.unwrap();
    let spec = Some(ImageSpec { image: id.clone(), ..Default::default() });
    let _: RemoveImageResponse =
        served.call("ImageService", "RemoveImage", RemoveImageRequest { image: spec }).await.unwrap();
    let filter = Some(PodSandboxFilter { id: id.clone(), ..Default::default() });
    let listed: ListPodSandboxResponse =
        served.runtime("ListPodSandbox", ListPodSandboxRequest { filter }).await.unwrap();
    assert!(listed.items.is_empty());

    check_refused(served.status(&id).await, Code::NotFound, &[&id]);
    check_refused(served.start_container(&id).await, Code::NotFound, &[&id]);
    check_refused(served.start_container("../x").await, Code::InvalidArgument, &["../x"]);
    let bad = StopPodSandboxRequest { pod_sandbox_id: "a/b".into() };
    check_refused::<StopPodSandboxResponse>(
        served.runtime("StopPodSandbox", bad).await,
        Code::InvalidArgument,
        &["a/b"],
    );
    served.finish().await;
}

#[tokio::test]
async fn bad_input_is_refused_at_create_and_nothing_stays_behind() {
    let mut served = Served::start().await;
    let mut bad = pod_config("web");
    bad.metadata.as_mut().unwrap().name = "../../etc".into();
    check_refused(served.run(bad).await, Code::InvalidArgument, &["metadata.name"]);
    assert!(served.pods().await.is_empty());

    let pod = served.run(pod_config("web")).await.unwrap();
    let mut bad = container_config("c");
    bad.image.as_mut().unwrap().image = "nothing:here".into();
    check_refused(served.create(&pod, bad).await, Code::NotFound, &["nothing:here", "pull it first"]);
    let mut bad = container_config("c");
    bad.mounts[0].host_path = "relative".into();
    check_refused(served.create(&pod, bad).await, Code::InvalidArgument, &["mounts[0].host_path"]);
    let mut bad = container_config("c");
    bad.mounts[0].image = Some(ImageSpec { image: IMAGE.into(), ..Default::default() });
    let status = served.create(&pod, bad).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().starts_with("ImageVolumeMountFailed"), "{}", status.message());
    check_refused(served.create(&"e".repeat(64), container_config("c")).await, Code::NotFound, &["eee"]);
    assert!(served.containers().await.is_empty());
    served.finish().await;
}

#[tokio::test]
async fn what_is_not_built_says_so_by_name() {
    let mut served = Served::start().await;
    let checkpoint: Result<CheckpointContainerResponse, _> =
        served.runtime("CheckpointContainer", CheckpointContainerRequest::default()).await;
    check_refused(checkpoint, Code::Unimplemented, &["CheckpointContainer is not built yet"]);
    let stream: Result<StreamPodSandboxMetricsResponse, _> =
        served.runtime("StreamPodSandboxMetrics", StreamPodSandboxMetricsRequest::default()).await;
    check_refused(stream, Code::Unimplemented, &["StreamPodSandboxMetrics is not built yet"]);
    served.finish().await;
}

#[tokio::test]
async fn a_request_whose_caller_left_goes_on_and_the_same_request_joins_it() {
    let mut served = Served::start().await;
    for wait_ms in [1, 2, 5] {
        let wait = std::time::Duration::from_millis(wait_ms);
        let _ = tokio::time::timeout(wait, served.run(pod_config("web"))).await;
    }
    let pod = served.run(pod_config("web")).await.unwrap();
    assert_eq!(served.pods().await.iter().map(|pod| pod.id.as_str()).collect::<Vec<_>>(), [pod.as_str()]);
    served.finish().await;
}

#[tokio::test]
async fn a_request_of_more_than_four_megabytes_is_read() {
    let mut served = Served::start().await;
    let mut config = pod_config("web");
    config.annotations.insert("big".into(), "x".repeat(9 << 20));
    served.run(config).await.unwrap();
    assert_eq!(served.pods().await[0].annotations["big"].len(), 9 << 20);
    served.finish().await;
}

#[tokio::test]
async fn each_request_is_counted_once_under_its_rpc_and_code() {
    let mut served = Served::start().await;
    let registry = prometheus::Registry::new();
    for collector in served.requests.collectors() {
        registry.register(collector).unwrap();
    }
    let shown = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let pod = served.run(pod_config("web")).await.unwrap();
    served.start_container("none").await.unwrap_err();
    let restore: Result<RestorePodResponse, _> = served.runtime("RestorePod", RestorePodRequest::default()).await;
    restore.unwrap_err();
    for name in ["NoSuchRpc", "AnotherOne"] {
        let answer: Result<VersionResponse, _> = served.runtime(name, VersionRequest::default()).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    }
    // What is no message of the contract fails before any function of ours.
    let broken: Result<VersionResponse, _> =
        served.runtime("PodSandboxStatus", ExecSyncRequest { container_id: pod, cmd: vec![], timeout: 1 }).await;
    broken.unwrap_err();
    let text = shown();
    for line in [
        "orlop_cri_requests_total{code=\"OK\",method=\"RunPodSandbox\"} 1",
        "orlop_cri_requests_total{code=\"NotFound\",method=\"StartContainer\"} 1",
        "orlop_cri_requests_total{code=\"Unimplemented\",method=\"RestorePod\"} 1",
        "orlop_cri_requests_total{code=\"Unimplemented\",method=\"unknown\"} 2",
        "orlop_cri_requests_in_flight{method=\"RunPodSandbox\"} 0",
        "orlop_cri_request_duration_seconds_count{method=\"RunPodSandbox\"} 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("NoSuchRpc") && !text.contains("AnotherOne"), "{text}");
    served.finish().await;
}

#[tokio::test]
async fn a_request_whose_caller_leaves_is_counted_as_canceled() {
    let mut served = Served::start().await;
    let registry = prometheus::Registry::new();
    for collector in served.requests.collectors() {
        registry.register(collector).unwrap();
    }
    let pod = served.run(pod_config("web")).await.unwrap();
    let id = served.create(&pod, container_config("c")).await.unwrap();
    served.start_container(&id).await.unwrap();
    served.world.ignore_signals();
    let request = StopContainerRequest { container_id: id, timeout: 1 };
    let stop = served.runtime::<_, StopContainerResponse>("StopContainer", request);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(100), stop).await.is_err());
    let expected = "orlop_cri_requests_total{code=\"Canceled\",method=\"StopContainer\"} 1";
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(10));
    let seen = async {
        loop {
            looks.tick().await;
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            if text.lines().any(|line| line == expected) {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), seen).await.unwrap();
    served.finish().await;
}

//! The whole facade over a real socket, on a simulated node: what a client sends and what it gets back.

#![allow(clippy::unwrap_used, reason = "a test that can't go on may panic")]

use orlop_cri::proto::*;
use orlop_cri::{Config, RecursiveReadOnly, RequestMetrics, UserNamespaces};
use orlop_model::container_state::Exit;
use orlop_model::image::{Image as ModelImage, ImageConfig};
use orlop_model::image_removal::{Removal, RemovalRule};
use orlop_model::ports::Images;
use orlop_model::{ContainerId, Digest, ImageId, SandboxId};
use orlop_sim::World;
use orlop_usecases::Engine;
use prost::Message;
use std::collections::BTreeMap;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

const IMAGE: &str = "docker.io/library/busybox:latest";

/// A served facade and its client. The socket's folder goes with it.
struct Served {
    world: World,
    client: Grpc<Channel>,
    requests: RequestMetrics,
    end: oneshot::Sender<()>,
    server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Served {
    async fn start() -> Self {
        let world = World::new(7, 0, vec![image()]);
        let (engine, _) = Engine::start(world.ports()).await.unwrap();
        let facade = engine.facade(orlop_cri::namespace(), orlop_cri::policy());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cri.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (end, ended) = oneshot::channel();
        let requests = RequestMetrics::new();
        let counted = requests.clone();
        let server = tokio::spawn(async move {
            let config =
                Config { recursive_read_only: RecursiveReadOnly::Possible, user_namespaces: UserNamespaces::Possible };
            let ended = async move { drop(ended.await) };
            let streams = TcpListener::bind("127.0.0.1:0").await.unwrap();
            orlop_cri::serve(listener, streams, facade, config, counted, ended).await.unwrap();
        });
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
        let client = Grpc::new(endpoint.connect().await.unwrap()).max_decoding_message_size(16 << 20);
        Self { world, client, requests, end, server, _folder: folder }
    }

    async fn call<A, R>(&mut self, service: &str, rpc: &str, request: A) -> Result<R, Status>
    where
        A: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.client.ready().await.unwrap();
        let path = PathAndQuery::try_from(format!("/runtime.v1.{service}/{rpc}")).unwrap();
        let codec = ProstCodec::<A, R>::default();
        self.client.unary(tonic::Request::new(request), path, codec).await.map(tonic::Response::into_inner)
    }

    async fn runtime<A, R>(&mut self, rpc: &str, request: A) -> Result<R, Status>
    where
        A: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.call("RuntimeService", rpc, request).await
    }

    /// Begins to listen to events.
    async fn listen(&mut self) -> Streaming<ContainerEventResponse> {
        self.client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/runtime.v1.RuntimeService/GetContainerEvents");
        let codec = ProstCodec::<GetEventsRequest, ContainerEventResponse>::default();
        let answer = self.client.server_streaming(tonic::Request::new(GetEventsRequest {}), path, codec).await;
        answer.unwrap().into_inner()
    }

    async fn run(&mut self, config: PodSandboxConfig) -> Result<String, Status> {
        let request = RunPodSandboxRequest { config: Some(config), ..Default::default() };
        self.runtime("RunPodSandbox", request).await.map(|answer: RunPodSandboxResponse| answer.pod_sandbox_id)
    }

    async fn create(&mut self, pod: &str, config: ContainerConfig) -> Result<String, Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.into(),
            config: Some(config),
            sandbox_config: Some(pod_config("web")),
        };
        self.runtime("CreateContainer", request).await.map(|answer: CreateContainerResponse| answer.container_id)
    }

    async fn start_container(&mut self, id: &str) -> Result<StartContainerResponse, Status> {
        self.runtime("StartContainer", StartContainerRequest { container_id: id.into() }).await
    }

    async fn status(&mut self, id: &str) -> Result<ContainerStatus, Status> {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: true };
        let answer: ContainerStatusResponse = self.runtime("ContainerStatus", request).await?;
        serde_json::from_str::<serde_json::Value>(&answer.info["info"]).unwrap();
        Ok(answer.status.unwrap())
    }

    async fn pods(&mut self) -> Vec<PodSandbox> {
        let answer: ListPodSandboxResponse =
            self.runtime("ListPodSandbox", ListPodSandboxRequest::default()).await.unwrap();
        answer.items
    }

    async fn containers(&mut self) -> Vec<Container> {
        let answer: ListContainersResponse =
            self.runtime("ListContainers", ListContainersRequest::default()).await.unwrap();
        answer.containers
    }

    /// Ends the server, and checks that nothing is left on the node.
    async fn finish(mut self) {
        for pod in self.pods().await {
            let request = RemovePodSandboxRequest { pod_sandbox_id: pod.id };
            let _: RemovePodSandboxResponse = self.runtime("RemovePodSandbox", request).await.unwrap();
        }
        assert_eq!(self.world.leftovers(), orlop_sim::Leftovers::default());
        drop(self.client);
        self.end.send(()).unwrap();
        self.server.await.unwrap();
    }
}

fn image() -> ModelImage {
    ModelImage {
        tags: vec![IMAGE.into()],
        digests: vec![format!("docker.io/library/busybox@sha256:{}", "cd".repeat(32))],
        bytes: 1000,
        config: ImageConfig { user: "1003:1004".into(), ..Default::default() },
        config_json: r#"{"config":{"User":"1003:1004"}}"#.into(),
        ..ModelImage::new(ImageId(Digest::parse(&format!("sha256:{}", "ab".repeat(32))).unwrap()))
    }
}

/// Labels and annotations with everything that a careless round trip would change.
fn odd() -> BTreeMap<String, String> {
    [("a/b", "ü\u{0}\n\u{1f600}"), ("", "empty key"), ("empty", ""), ("z", " spaces "), ("A", "before a")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn pod_config(name: &str) -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.into(),
            uid: format!("uid-{name}"),
            namespace: "default".into(),
            attempt: 0,
        }),
        log_directory: "/var/log/pods/x".into(),
        labels: odd(),
        annotations: odd(),
        ..Default::default()
    }
}

fn container_config(name: &str) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
        image: Some(ImageSpec { image: IMAGE.into(), user_specified_image: "busybox".into(), ..Default::default() }),
        log_path: format!("{name}/0.log"),
        labels: odd(),
        annotations: odd(),
        mounts: vec![Mount { container_path: "/d".into(), host_path: "/tmp".into(), ..Default::default() }],
        ..Default::default()
    }
}

#[track_caller]
fn check_refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, says: &[&str]) {
    let status = result.expect_err("refused");
    assert_eq!(status.code(), code, "{status:?}");
    for part in says {
        assert!(status.message().contains(part), "{:?} does not say {part:?}", status.message());
    }
}

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

#[tokio::test]
async fn an_image_has_one_id_on_every_side() {
    let mut served = Served::start().await;
    let spec = |image: &str| Some(ImageSpec { image: image.into(), ..Default::default() });
    let id = image().id.to_string();
    let pulled: PullImageResponse = served
        .call("ImageService", "PullImage", PullImageRequest { image: spec(IMAGE), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(pulled.image_ref, id);
    let mut answers = Vec::new();
    for name in [id.as_str(), IMAGE, &image().digests[0]] {
        let request = ImageStatusRequest { image: spec(name), verbose: true };
        let answer: ImageStatusResponse = served.call("ImageService", "ImageStatus", request).await.unwrap();
        assert!(answer.info["info"].contains("imageSpec"));
        answers.push(answer.image.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!((answers[0].id.as_str(), answers[0].uid), (id.as_str(), Some(Int64Value { value: 1003 })));
    let absent = ImageStatusRequest { image: spec("absent"), verbose: true };
    let answer: ImageStatusResponse = served.call("ImageService", "ImageStatus", absent).await.unwrap();
    assert_eq!(answer, ImageStatusResponse::default());
    let listed: ListImagesResponse =
        served.call("ImageService", "ListImages", ListImagesRequest::default()).await.unwrap();
    assert_eq!(listed.images, [answers.remove(0)]);
    let usage: ImageFsInfoResponse = served.call("ImageService", "ImageFsInfo", ImageFsInfoRequest {}).await.unwrap();
    assert_eq!(usage.image_filesystems[0].fs_id.as_ref().unwrap().mountpoint, "/");
    served.finish().await;
}

#[tokio::test]
async fn an_image_that_another_facades_users_hold_is_pinned_and_not_removed() {
    let mut served = Served::start().await;
    let docker = orlop_model::Namespace("docker".into());
    served.world.tag(IMAGE, "mine:1", &docker).await.unwrap();
    let listed: ListImagesResponse =
        served.call("ImageService", "ListImages", ListImagesRequest::default()).await.unwrap();
    assert!(listed.images[0].pinned && listed.images[0].repo_tags.contains(&"docker.io/library/mine:1".to_owned()));
    let spec = Some(ImageSpec { image: IMAGE.into(), ..Default::default() });
    let request = RemoveImageRequest { image: spec };
    let removed: Result<RemoveImageResponse, _> = served.call("ImageService", "RemoveImage", request.clone()).await;
    let refused = removed.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(refused.message().contains("held by docker as docker.io/library/mine:1"), "{refused}");
    let (reference, rule) = ("mine:1".to_owned(), RemovalRule::Named);
    served.world.remove(&Removal { reference, by: docker, rule, users: Vec::new() }).await.unwrap();
    let _: RemoveImageResponse = served.call("ImageService", "RemoveImage", request).await.unwrap();
    let listed: ListImagesResponse =
        served.call("ImageService", "ListImages", ListImagesRequest::default()).await.unwrap();
    assert_eq!(listed.images, []);
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

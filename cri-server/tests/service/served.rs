//! A served facade, and what tests send it.

use orlop_cri::proto::*;
use orlop_cri::{Config, RecursiveReadOnly, RequestMetrics, UserNamespaces};
use orlop_model::image::{Image as ModelImage, ImageConfig};
use orlop_model::{Digest, ImageId};
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

pub const IMAGE: &str = "docker.io/library/busybox:latest";

/// A served facade and its client. The socket's folder goes with it.
pub struct Served {
    pub world: World,
    pub client: Grpc<Channel>,
    pub requests: RequestMetrics,
    pub end: oneshot::Sender<()>,
    pub server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Served {
    pub async fn start() -> Self {
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

    pub async fn call<A, R>(&mut self, service: &str, rpc: &str, request: A) -> Result<R, Status>
    where
        A: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.client.ready().await.unwrap();
        let path = PathAndQuery::try_from(format!("/runtime.v1.{service}/{rpc}")).unwrap();
        let codec = ProstCodec::<A, R>::default();
        self.client.unary(tonic::Request::new(request), path, codec).await.map(tonic::Response::into_inner)
    }

    pub async fn runtime<A, R>(&mut self, rpc: &str, request: A) -> Result<R, Status>
    where
        A: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.call("RuntimeService", rpc, request).await
    }

    /// Begins to listen to events.
    pub async fn listen(&mut self) -> Streaming<ContainerEventResponse> {
        self.client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/runtime.v1.RuntimeService/GetContainerEvents");
        let codec = ProstCodec::<GetEventsRequest, ContainerEventResponse>::default();
        let answer = self.client.server_streaming(tonic::Request::new(GetEventsRequest {}), path, codec).await;
        answer.unwrap().into_inner()
    }

    pub async fn run(&mut self, config: PodSandboxConfig) -> Result<String, Status> {
        let request = RunPodSandboxRequest { config: Some(config), ..Default::default() };
        self.runtime("RunPodSandbox", request).await.map(|answer: RunPodSandboxResponse| answer.pod_sandbox_id)
    }

    pub async fn create(&mut self, pod: &str, config: ContainerConfig) -> Result<String, Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.into(),
            config: Some(config),
            sandbox_config: Some(pod_config("web")),
        };
        self.runtime("CreateContainer", request).await.map(|answer: CreateContainerResponse| answer.container_id)
    }

    pub async fn start_container(&mut self, id: &str) -> Result<StartContainerResponse, Status> {
        self.runtime("StartContainer", StartContainerRequest { container_id: id.into() }).await
    }

    pub async fn status(&mut self, id: &str) -> Result<ContainerStatus, Status> {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: true };
        let answer: ContainerStatusResponse = self.runtime("ContainerStatus", request).await?;
        serde_json::from_str::<serde_json::Value>(&answer.info["info"]).unwrap();
        Ok(answer.status.unwrap())
    }

    pub async fn pods(&mut self) -> Vec<PodSandbox> {
        let answer: ListPodSandboxResponse =
            self.runtime("ListPodSandbox", ListPodSandboxRequest::default()).await.unwrap();
        answer.items
    }

    pub async fn containers(&mut self) -> Vec<Container> {
        let answer: ListContainersResponse =
            self.runtime("ListContainers", ListContainersRequest::default()).await.unwrap();
        answer.containers
    }

    /// Ends the server, and checks that nothing is left on the node.
    pub async fn finish(mut self) {
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

pub fn image() -> ModelImage {
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
pub fn odd() -> BTreeMap<String, String> {
    [("a/b", "ü\u{0}\n\u{1f600}"), ("", "empty key"), ("empty", ""), ("z", " spaces "), ("A", "before a")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

pub fn pod_config(name: &str) -> PodSandboxConfig {
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

pub fn container_config(name: &str) -> ContainerConfig {
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
pub fn check_refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, says: &[&str]) {
    let status = result.expect_err("refused");
    assert_eq!(status.code(), code, "{status:?}");
    for part in says {
        assert!(status.message().contains(part), "{:?} does not say {part:?}", status.message());
    }
}

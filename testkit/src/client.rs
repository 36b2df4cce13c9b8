//! A CRI client that isn't ours: the k8s-cri crate over the daemon's socket, one blocking method per call.

use hyper_util::rt::TokioIo;
pub use k8s_cri::v1;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};
pub use tonic::{Code, Status};
use tower::service_fn;

/// The longest that one call may take: above every bound of the daemon that a test meets, below that of a hung run.
pub const CALL_LIMIT: Duration = Duration::from_secs(60);
/// What clients of the CRI accept in one message; the kubelet's own limit.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A client of one daemon. Calls block; clones share a connection.
#[derive(Clone)]
pub struct Client {
    socket: PathBuf,
    executor: Arc<tokio::runtime::Runtime>,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.socket.display())
    }
}

impl Client {
    /// Makes a client that connects with its first call, and again when the daemon was started anew.
    ///
    /// # Panics
    /// When the process has no descriptor left.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        // A thread of its own drives the connection also between calls.
        let executor = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a test has descriptors to spare");
        let path = socket.to_owned();
        let connector = service_fn(move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(tokio::net::UnixStream::connect(path).await?)) }
        });
        // The address is never used: the connector knows the socket.
        let endpoint = Endpoint::from_static("http://localhost").timeout(CALL_LIMIT);
        // Inside the executor: the connection is a task of it.
        let channel = executor.block_on(async { endpoint.connect_with_connector_lazy(connector) });
        Self {
            socket: socket.to_owned(),
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
            executor: Arc::new(executor),
        }
    }

    /// Runs a call of the test's own making, for instance one with a deadline, against both services.
    pub fn wait<T, F: Future<Output = T>>(
        &self,
        call: impl FnOnce(RuntimeServiceClient<Channel>, ImageServiceClient<Channel>) -> F,
    ) -> T {
        self.executor.block_on(call(self.runtime.clone(), self.images.clone()))
    }
}

/// One blocking method per remote procedure.
macro_rules! calls {
    ($service:ident: $($name:ident($request:ident) -> $response:ident;)*) => {
        impl Client {
            $(
                #[doc = concat!("Calls `", stringify!($name), "`.")]
                ///
                /// # Errors
                /// With the status that the daemon answered, or the transport's.
                pub fn $name(&self, request: v1::$request) -> Result<v1::$response, Status> {
                    let mut service = self.$service.clone();
                    self.executor.block_on(async { service.$name(request).await }).map(tonic::Response::into_inner)
                }
            )*
        }
    };
}

calls! { runtime:
    version(VersionRequest) -> VersionResponse;
    status(StatusRequest) -> StatusResponse;
    runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse;
    run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse;
    stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse;
    remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
    pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
    list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
    create_container(CreateContainerRequest) -> CreateContainerResponse;
    start_container(StartContainerRequest) -> StartContainerResponse;
    stop_container(StopContainerRequest) -> StopContainerResponse;
    remove_container(RemoveContainerRequest) -> RemoveContainerResponse;
    container_status(ContainerStatusRequest) -> ContainerStatusResponse;
    list_containers(ListContainersRequest) -> ListContainersResponse;
    exec_sync(ExecSyncRequest) -> ExecSyncResponse;
    reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
    update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
    container_stats(ContainerStatsRequest) -> ContainerStatsResponse;
    list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse;
    pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
    list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse;
    update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
    checkpoint_container(CheckpointContainerRequest) -> CheckpointContainerResponse;
}

calls! { images:
    list_images(ListImagesRequest) -> ListImagesResponse;
    image_status(ImageStatusRequest) -> ImageStatusResponse;
    pull_image(PullImageRequest) -> PullImageResponse;
    remove_image(RemoveImageRequest) -> RemoveImageResponse;
    image_fs_info(ImageFsInfoRequest) -> ImageFsInfoResponse;
}

/// Makes an image spec from a reference.
#[must_use]
pub fn image(reference: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: reference.to_owned(), ..Default::default() }
}

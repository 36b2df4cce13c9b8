//! The table of RPCs: which function answers which, and which are not built yet.

use crate::annex::Annexes;
use crate::proto::image_service_server::ImageService;
use crate::proto::runtime_service_server::RuntimeService;
use crate::request::{Effect, answer};
use crate::streaming::Streaming;
use crate::{Config, container, deadline, events, image, node, proto, request, sandbox, streamed};
use orlop_model::{ErrorKind, Failure};
use orlop_usecases::{ContainerView, Facade, SandboxView};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use tokio_stream::{Empty, Iter, Stream};
use tonic::{Request, Response, Status};

/// What both services share.
pub(crate) struct Cri {
    /// The node as this facade sees it.
    pub facade: Facade,
    /// Requests that made what is there.
    pub annexes: Arc<Annexes>,
    /// What was found out about the node.
    pub config: Config,
    /// Where clients come for streams.
    pub streaming: Arc<Streaming>,
    /// Turns true when the server ends: what would go on until its caller leaves ends then.
    pub ending: watch::Receiver<bool>,
    requests: AtomicU64,
}

/// What a stream that is not built yet would be.
type NoStream<T> = Empty<Result<T, Status>>;
/// A list in pieces, all of which are there.
type Pieces<T> = Iter<std::vec::IntoIter<Result<T, Status>>>;
/// What is told as it comes.
type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Writes a service out of a table. `name: Request => Response, Effect, function` is answered by that function;
/// `streamed` are answered in pieces, `told` goes on until its caller leaves; `not_built` and `not_built_streams` say so. The kubelet knows UNIMPLEMENTED and falls back on it.
macro_rules! service {
    (
        $service:ident,
        built { $($built:ident: $asked:ident => $answered:ident, $effect:ident, $function:path;)* }
        streamed { $($list:ident: $list_asked:ident => $list_answered:ident as $list_type:ident, $pieces:path;)* }
        told { $($told:ident: $told_asked:ident => $told_answered:ident as $told_type:ident, $begin:path;)* }
        not_built { $($missing:ident: $missing_asked:ident => $missing_answered:ident;)* }
        not_built_streams { $($stream:ident: $stream_asked:ident => $stream_answered:ident as $stream_type:ident;)* }
    ) => {
        #[tonic::async_trait]
        impl $service for Cri {
            $(
                async fn $built(
                    &self, asked: Request<proto::$asked>,
                ) -> Result<Response<proto::$answered>, Status> {
                    let limit = deadline::of(asked.metadata());
                    let work = $function(self, asked.into_inner());
                    answer(self.next_request(), stringify!($built), Effect::$effect, limit, work).await
                }
            )*
            $(
                type $list_type = Pieces<proto::$list_answered>;

                async fn $list(
                    &self, asked: Request<proto::$list_asked>,
                ) -> Result<Response<Self::$list_type>, Status> {
                    let limit = deadline::of(asked.metadata());
                    let work = $pieces(self, asked.into_inner());
                    let pieces = answer(self.next_request(), stringify!($list), Effect::Looks, limit, work).await?;
                    Ok(pieces.map(|pieces| tokio_stream::iter(pieces.into_iter().map(Ok).collect::<Vec<_>>())))
                }
            )*
            $(
                type $told_type = Told<proto::$told_answered>;

                async fn $told(
                    &self, asked: Request<proto::$told_asked>,
                ) -> Result<Response<Self::$told_type>, Status> {
                    // No deadline: it lasts until one of both goes.
                    let begun = async { Ok($begin(self, asked.into_inner())) };
                    answer(self.next_request(), stringify!($told), Effect::Looks, None, begun).await
                }
            )*
            $(
                async fn $missing(
                    &self, _: Request<proto::$missing_asked>,
                ) -> Result<Response<proto::$missing_answered>, Status> {
                    Err(not_built(stringify!($missing)))
                }
            )*
            $(
                type $stream_type = NoStream<proto::$stream_answered>;

                async fn $stream(
                    &self, _: Request<proto::$stream_asked>,
                ) -> Result<Response<Self::$stream_type>, Status> {
                    Err(not_built(stringify!($stream)))
                }
            )*
        }
    };
}

service! {
    RuntimeService,
    built {
        version: VersionRequest => VersionResponse, Looks, node::version::version;
        status: StatusRequest => StatusResponse, Looks, node::status::status;
        update_runtime_config: UpdateRuntimeConfigRequest => UpdateRuntimeConfigResponse, Changes,
            node::update_runtime_config::update;
        runtime_config: RuntimeConfigRequest => RuntimeConfigResponse, Looks, node::runtime_config::runtime_config;
        run_pod_sandbox: RunPodSandboxRequest => RunPodSandboxResponse, Changes, sandbox::run::run;
        stop_pod_sandbox: StopPodSandboxRequest => StopPodSandboxResponse, Changes, sandbox::stop::stop;
        remove_pod_sandbox: RemovePodSandboxRequest => RemovePodSandboxResponse, Changes, sandbox::remove::remove;
        pod_sandbox_status: PodSandboxStatusRequest => PodSandboxStatusResponse, Looks, sandbox::status::status;
        list_pod_sandbox: ListPodSandboxRequest => ListPodSandboxResponse, Looks, sandbox::list::list;
        pod_sandbox_stats: PodSandboxStatsRequest => PodSandboxStatsResponse, Looks, sandbox::stats::stats;
        list_pod_sandbox_stats: ListPodSandboxStatsRequest => ListPodSandboxStatsResponse, Looks, sandbox::stats::list;
        create_container: CreateContainerRequest => CreateContainerResponse, Changes, container::create::create;
        start_container: StartContainerRequest => StartContainerResponse, Changes, container::start::start;
        stop_container: StopContainerRequest => StopContainerResponse, Changes, container::stop::stop;
        remove_container: RemoveContainerRequest => RemoveContainerResponse, Changes, container::remove::remove;
        list_containers: ListContainersRequest => ListContainersResponse, Looks, container::list::list;
        container_status: ContainerStatusRequest => ContainerStatusResponse, Looks, container::status::status;
        container_stats: ContainerStatsRequest => ContainerStatsResponse, Looks, container::stats::stats;
        list_container_stats: ListContainerStatsRequest => ListContainerStatsResponse, Looks, container::stats::list;
        update_container_resources: UpdateContainerResourcesRequest => UpdateContainerResourcesResponse, Changes,
            container::update::update;
        reopen_container_log: ReopenContainerLogRequest => ReopenContainerLogResponse, Changes, container::reopen::reopen;
        exec_sync: ExecSyncRequest => ExecSyncResponse, Looks, container::exec_sync::exec_sync;
        update_pod_sandbox_resources: UpdatePodSandboxResourcesRequest => UpdatePodSandboxResourcesResponse, Looks,
            sandbox::update::update;
        exec: ExecRequest => ExecResponse, Looks, container::exec::exec;
        attach: AttachRequest => AttachResponse, Looks, container::attach::attach;
        port_forward: PortForwardRequest => PortForwardResponse, Looks, sandbox::port_forward::port_forward;
    }
    streamed {
        stream_pod_sandboxes: StreamPodSandboxesRequest => StreamPodSandboxesResponse as StreamPodSandboxesStream,
            streamed::sandboxes;
        stream_containers: StreamContainersRequest => StreamContainersResponse as StreamContainersStream,
            streamed::containers;
        stream_container_stats: StreamContainerStatsRequest => StreamContainerStatsResponse
            as StreamContainerStatsStream, streamed::container_stats;
        stream_pod_sandbox_stats: StreamPodSandboxStatsRequest => StreamPodSandboxStatsResponse
            as StreamPodSandboxStatsStream, streamed::sandbox_stats;
    }
    told {
        get_container_events: GetEventsRequest => ContainerEventResponse as GetContainerEventsStream, events::begin;
    }
    not_built {
        checkpoint_container: CheckpointContainerRequest => CheckpointContainerResponse;
        checkpoint_pod: CheckpointPodRequest => CheckpointPodResponse;
        restore_pod: RestorePodRequest => RestorePodResponse;
        list_metric_descriptors: ListMetricDescriptorsRequest => ListMetricDescriptorsResponse;
        list_pod_sandbox_metrics: ListPodSandboxMetricsRequest => ListPodSandboxMetricsResponse;
    }
    not_built_streams {
        stream_pod_sandbox_metrics: StreamPodSandboxMetricsRequest => StreamPodSandboxMetricsResponse
            as StreamPodSandboxMetricsStream;
    }
}

service! {
    ImageService,
    built {
        list_images: ListImagesRequest => ListImagesResponse, Looks, image::list::list;
        image_status: ImageStatusRequest => ImageStatusResponse, Looks, image::status::status;
        pull_image: PullImageRequest => PullImageResponse, Changes, image::pull::pull;
        remove_image: RemoveImageRequest => RemoveImageResponse, Changes, image::remove::remove;
        image_fs_info: ImageFsInfoRequest => ImageFsInfoResponse, Looks, image::fs_info::fs_info;
    }
    streamed {
        stream_images: StreamImagesRequest => StreamImagesResponse as StreamImagesStream, streamed::images;
    }
    told {}
    not_built {}
    not_built_streams {}
}

/// Says that an RPC is not built, by the name it has in the proto file.
fn not_built(function: &str) -> Status {
    let capital = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    let rpc: String = function.split('_').map(capital).collect();
    Status::unimplemented(format!("{rpc} is not built yet in orlop"))
}

// === impl Cri ===

impl Cri {
    pub(crate) fn new(
        facade: Facade,
        config: Config,
        streaming: Arc<Streaming>,
        ending: watch::Receiver<bool>,
    ) -> Self {
        Self { facade, annexes: Arc::default(), config, streaming, ending, requests: AtomicU64::new(1) }
    }

    fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Finds a sandbox by id or unique prefix, and notes in the log which one the request is about.
    pub(crate) fn sandbox(&self, id: &str) -> Result<Arc<SandboxView>, Failure> {
        request::about_sandbox(id);
        let view = self.facade.find_sandbox(id)?;
        request::about_sandbox(view.asked.id.as_str());
        Ok(view)
    }

    /// The same for who wants it ended: also one whose creation hangs.
    pub(crate) fn sandbox_to_end(&self, id: &str) -> Result<Arc<SandboxView>, Failure> {
        request::about_sandbox(id);
        let view = self.facade.find_sandbox_to_end(id)?;
        request::about_sandbox(view.asked.id.as_str());
        Ok(view)
    }

    /// Finds a container by id or unique prefix, and notes in the log which one the request is about.
    pub(crate) fn container(&self, id: &str) -> Result<Arc<ContainerView>, Failure> {
        request::about_container(id);
        let view = self.facade.find_container(id)?;
        request::about_container(view.asked.id.as_str());
        request::about_sandbox(view.asked.spec.sandbox.as_str());
        Ok(view)
    }
}

/// Makes a thing that is not there a success: what was wanted gone is gone.
pub(crate) fn unless_gone<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.kind == ErrorKind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_is_named_as_in_the_proto_file() {
        let status = not_built("list_pod_sandbox_metrics");
        assert_eq!(status.code(), tonic::Code::Unimplemented);
        assert_eq!(status.message(), "ListPodSandboxMetrics is not built yet in orlop");
    }

    #[test]
    fn what_is_gone_counts_as_done_but_other_failures_do_not() {
        assert_eq!(unless_gone(Ok(1)).unwrap(), Some(1));
        assert_eq!(unless_gone::<()>(Err(Failure::new(ErrorKind::NotFound, "x"))).unwrap(), None);
        assert!(unless_gone::<()>(Err(Failure::new(ErrorKind::InvalidArgument, "x"))).is_err());
    }
}

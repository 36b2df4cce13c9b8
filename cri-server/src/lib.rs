//! The CRI v1 facade: what a kubelet or crictl asks, translated to what the node does, and back.
//!
//! A translation, never a dependency: the engine knows nothing of the kubelet. One file per RPC under `sandbox/`,
//! `container/`, `image/` and `node/`; requests become specs in `translate/`, failures become statuses in `status.rs`.
//! Start at [`serve`]; the table of RPCs is in `service.rs`.
//!
//! Always: a request is validated as a whole before anything is done; labels and annotations come back byte for byte; an
//! object that is not there can be stopped and removed.

mod annex;
mod container;
mod deadline;
mod difference;
mod events;
mod image;
mod json;
mod node;
pub mod proto;
mod request;
mod requests;
mod sandbox;
mod schema;
mod service;
mod status;
mod streamed;
mod streaming;
mod translate;

pub use difference::difference;
pub use requests::RequestMetrics;
pub use translate::mount::RecursiveReadOnly;
pub use translate::users::UserNamespaces;

use crate::proto::image_service_server::ImageServiceServer;
use crate::proto::runtime_service_server::RuntimeServiceServer;
use orlop_model::Namespace;
use orlop_model::record::Durability;
use orlop_usecases::{Facade, Policy};
use requests::CountingLayer;
use service::Cri;
use std::future::Future;
use std::sync::Arc;
use streaming::Streaming;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

/// Longest request. Clients send at most 16 MiB of their own will; a request carries a whole pod config, so twice that.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Longest answer; what clients accept is less (`container::exec_sync` cuts to that), and a list must not fail here first.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Requests under way on one connection. A kubelet has one connection, and per pod a few requests at a time.
const STREAMS_MAX: u32 = 4096;

/// What the facade must know of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether recursive read-only mounts are possible.
    pub recursive_read_only: RecursiveReadOnly,
    /// Whether user namespaces of pods are.
    pub user_namespaces: UserNamespaces,
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server of requests failed.
    #[error(transparent)]
    Requests(#[from] tonic::transport::Error),
    /// The address for streams is not known.
    #[error("find the address of the streaming server: {0}")]
    StreamAddress(#[source] std::io::Error),
}

/// Returns the partition of the node that is seen over the CRI.
#[must_use]
pub fn namespace() -> Namespace {
    Namespace("cri".to_owned())
}

/// Returns what this facade refuses, and when.
#[must_use]
pub fn policy() -> Policy {
    Policy {
        // After a boot no pod exists; the kubelet runs them anew.
        durability: Durability::Boot,
        restart: false,
        in_not_ready: false,
        difference,
    }
}

/// Serves both services of the CRI on a socket until `end` comes; requests under way are answered first. Streams are served
/// beside, to whoever was sent there by a request, and end with the requests.
pub async fn serve(
    listener: UnixListener,
    streams: TcpListener,
    facade: Facade,
    config: Config,
    requests: RequestMetrics,
    end: impl Future<Output = ()>,
) -> Result<(), Error> {
    let streaming = Arc::new(Streaming::new(streams.local_addr().map_err(Error::StreamAddress)?));
    let (told, ending) = watch::channel(false);
    let cri = Arc::new(Cri::new(facade, config, Arc::clone(&streaming), ending));
    let end = async move {
        end.await;
        told.send_replace(true);
    };
    let runtime = RuntimeServiceServer::from_arc(Arc::clone(&cri))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let images = ImageServiceServer::from_arc(cri)
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let mut server = Server::builder().max_concurrent_streams(STREAMS_MAX).layer(CountingLayer(requests));
    let router = server.add_service(runtime).add_service(images);
    tokio::select! {
        served = router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), end) => Ok(served?),
        never = streaming.serve(streams) => match never {},
    }
}

//! The server: connections within a bound, each request found in the table and answered.

use super::body::Body;
use super::error::ApiError;
use super::operation::{self, Operation};
use super::query::Query;
use super::reply::{self, Answered, Reply};
use super::version::{self, Version};
use crate::app::{App, Config};
use crate::metrics::DockerMetrics;
use crate::routes;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use orlop_usecases::Facade;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// Connections at a time; further ones wait to be taken. An attach, a wait and a follow of a log have one each.
const CONNECTIONS_MAX: usize = 4096;
/// Longest head of a request: filters travel in its first line.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// How long the head of a request may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Pause after a connection could not be taken: the reason (no descriptor left) does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A request that was found in the table.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) version: Version,
    /// What the path names, in order.
    pub(crate) names: Vec<String>,
    pub(crate) query: Query,
    pub(crate) request: Request<Body>,
}

impl Call {
    /// Returns the first thing the path names.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map(String::as_str).unwrap_or_default()
    }
}

/// Serves until told to end, and ends its connections then: a client that follows something would stay for ever.
pub async fn serve(
    listener: UnixListener,
    facade: Facade,
    config: Config,
    metrics: DockerMetrics,
    end: impl Future<Output = ()>,
) {
    let app = App::new(facade, config, metrics);
    app.forget_gone();
    let (_, changes) = app.facade.changes();
    let mut connections = JoinSet::new();
    connections.spawn(crate::news::relay(Arc::clone(&app), changes));
    let keeper = tokio::spawn(app.policies.clone().keep());
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(connections.spawn(answer_all(stream, Arc::clone(&app)))),
                Err(wrong) => {
                    warn!(error = %wrong, "a connection of a Docker client could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
    keeper.abort();
}

/// Answers the requests of one connection.
async fn answer_all(stream: UnixStream, app: Arc<App>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(answer(app, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(wrong) = connection.await {
        debug!(error = %wrong, "a Docker client spoke no HTTP or went away");
    }
}

async fn answer(app: Arc<App>, request: Request<Incoming>) -> Reply {
    let began = Instant::now();
    let request = request.map(Body::new);
    let metrics = app.metrics.clone();
    let (operation, answered) = match find(&request) {
        Ok((version, found)) => {
            metrics.unknown.inc_by(found.unknown);
            let lasting = Arc::clone(&app.lasting);
            let call = Call { app, version, names: found.names, query: found.query, request };
            let answer = routes::answer(found.operation, call);
            let answered = if goes_on(found.operation) { to_its_end(lasting, answer).await } else { answer.await };
            (Some(found.operation), answered)
        }
        Err(error) => (None, Err(error)),
    };
    let mut answer = answered.unwrap_or_else(|error| {
        if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
            warn!(operation = ?operation, error = %error, "a request of a Docker client failed");
        }
        reply::error(&error)
    });
    // What is no operation has no name that a client could choose.
    let name = operation.map_or_else(|| "none".to_owned(), |operation| format!("{operation:?}"));
    let status = answer.status();
    metrics.seconds.with_label_values(&[name.as_str(), status.as_str()]).observe(began.elapsed().as_secs_f64());
    mark(&mut answer);
    answer
}

/// Says whether an operation goes on when its client has gone: those of several steps that must not be left half-done.
fn goes_on(operation: Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::ContainerCreate
            | O::ContainerStart
            | O::ContainerRestart
            | O::ContainerRemove
            | O::ContainerPrune
            | O::ContainerRename
            | O::Commit
            | O::ExecStart
            | O::VolumeCreate
            | O::VolumeRemove
            | O::VolumePrune
    )
}

/// Answers a request to its end, whatever becomes of the client.
async fn to_its_end(places: Arc<Semaphore>, answer: impl Future<Output = Answered> + Send + 'static) -> Answered {
    // Waited for in the client's own time.
    let place = places.acquire_owned().await.map_err(|closed| ApiError::internal(closed.to_string()))?;
    let answer = async move {
        let _place = place;
        answer.await
    };
    tokio::spawn(answer).await.map_err(|wrong| ApiError::internal(format!("answer a request: {wrong}")))?
}

fn find(request: &Request<Body>) -> Result<(Version, operation::Found), ApiError> {
    let (version, path) = version::split(request.uri().path())?;
    let found = operation::find(request.method(), path, request.uri().query().unwrap_or_default())?;
    Ok((version, found))
}

/// Puts on what every answer bears.
fn mark(answer: &mut Reply) {
    const SERVER_NAME: &str = concat!("orlop/", env!("CARGO_PKG_VERSION"), " (linux)");
    let headers = answer.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(SERVER_NAME));
    let version = HeaderValue::from_str(&version::MAX.to_string()).expect("digits and a point are a header's value");
    headers.insert("Api-Version", version);
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
}

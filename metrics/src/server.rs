//! The HTTP side: two pages, one request a connection, everything bounded.

use crate::Metrics;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// Longest request, all headers together. Scrapers send some hundred bytes.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Pause after a connection could not be taken: the reason (no descriptor left) does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What clients may take of the daemon. A request's body is never read, so it needs no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at a time; further ones wait to be taken.
    pub connections_max: usize,
    /// How long one may last: from the first byte of its request to the last byte of the answer.
    pub connection_time_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        // Two scrapers and a person, with room; an answer is some 50 kB and takes milliseconds.
        Self { connections_max: 8, connection_time_max: Duration::from_secs(10) }
    }
}

/// Where clients come in.
#[derive(Debug)]
pub enum Listener {
    /// A socket in the file system.
    Unix(UnixListener),
    /// An address and a port.
    Tcp(TcpListener),
}

/// The work of one connection.
type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves until dropped, and ends its connections then.
pub async fn serve(listener: Listener, metrics: Metrics, bounds: Bounds) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= bounds.connections_max {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = accept(&listener, &metrics, bounds.connection_time_max) => match accepted {
                Ok(connection) => drop(connections.spawn(connection)),
                Err(wrong) => {
                    warn!(error = %wrong, "a connection for metrics could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Waits for a client; returns what is to be done for it.
async fn accept(listener: &Listener, metrics: &Metrics, time_max: Duration) -> io::Result<Connection> {
    Ok(match listener {
        Listener::Unix(listener) => Box::pin(answer(listener.accept().await?.0, metrics.clone(), time_max)),
        Listener::Tcp(listener) => Box::pin(answer(listener.accept().await?.0, metrics.clone(), time_max)),
    })
}

/// Answers the one request of a connection.
async fn answer<S>(stream: S, metrics: Metrics, time_max: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| page(request, metrics.clone()));
    // No second request: then one bound on time covers slow senders, slow readers and idle ones.
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(time_max, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(wrong)) => debug!(error = %wrong, "a client for metrics spoke no HTTP or went away"),
        Err(_) => debug!(after_ms = time_max.as_millis(), "a client for metrics took too long"),
    }
}

async fn page(request: Request<Incoming>, metrics: Metrics) -> Result<Response<Full<Bytes>>, Infallible> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    Ok(match request.uri().path() {
        "/metrics" | "/healthz" if !reads => {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "this page can only be read\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
        "/metrics" => metrics_page(metrics).await,
        "/healthz" => text(StatusCode::OK, "ok\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
    })
}

/// Gathers on a thread for blocking work: it reads files of `/proc`.
async fn metrics_page(metrics: Metrics) -> Response<Full<Bytes>> {
    match tokio::task::spawn_blocking(move || metrics.text()).await {
        Ok(Ok(body)) => {
            let mut page = text(StatusCode::OK, body);
            page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(prometheus::TEXT_FORMAT));
            page
        }
        Ok(Err(wrong)) => failed(&wrong),
        Err(wrong) => failed(&wrong),
    }
}

fn failed(wrong: &dyn std::error::Error) -> Response<Full<Bytes>> {
    warn!(error = %wrong, "metrics could not be gathered");
    text(StatusCode::INTERNAL_SERVER_ERROR, format!("gather metrics: {wrong}\n"))
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    page
}

//! The HTTP side: one path for each kind of work, and nothing but upgrades.

use super::negotiate::{ACCEPTED, PROTOCOL, Protocol, Refused, SPDY, names, negotiate};
use super::spdy::End;
use super::tokens::Tokens;
use super::work::{Kind, Work};
use super::{port_forward, remote_command};
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use orlop_model::Failure;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{Instrument, info, info_span, warn};

/// Most connections at a time, upgraded or not; further ones wait to be taken.
const CONNECTIONS_MAX: usize = 2000;
/// How long a client may take from its connection to the whole of its request.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// Longest request, all headers together. Clients send some hundred bytes.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Pause after a connection could not be taken: the reason (no descriptor left) does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Where clients come with their tokens.
#[derive(Debug)]
pub(crate) struct Streaming {
    tokens: Arc<Tokens>,
    address: SocketAddr,
}

/// A connection that is to be upgraded.
struct Upgrading {
    work: Work,
    protocol: Protocol,
    upgraded: OnUpgrade,
}

/// Where a request leaves what it was granted.
type Granted = Mutex<Option<Upgrading>>;

impl Streaming {
    /// Begins without tokens; clients are to come to this address.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { tokens: Arc::default(), address }
    }

    /// Promises work; returns the URL under which a client gets it, once.
    pub(crate) fn promise(&self, work: Work) -> Result<String, Failure> {
        let path = work.kind().path();
        let token = self.tokens.promise(work, Instant::now())?;
        Ok(format!("http://{}/{path}/{token}", self.address))
    }

    /// Serves until dropped, and ends its connections then.
    pub(crate) async fn serve(&self, listener: TcpListener) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= CONNECTIONS_MAX {
                connections.join_next().await;
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => drop(connections.spawn(connection(socket, Arc::clone(&self.tokens)))),
                    Err(wrong) => {
                        warn!(error = %wrong, "a connection for streams could not be taken");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Serves one connection: a request, and what it was upgraded to.
async fn connection(socket: TcpStream, tokens: Arc<Tokens>) {
    // Keystrokes are small and must not wait for each other.
    drop(socket.set_nodelay(true));
    let granted = Granted::default();
    {
        let service = service_fn(async |request| Ok::<_, Infallible>(answer(request, &tokens, &granted)));
        // Without keep_alive(false): hyper would say Connection: close in place of Upgrade.
        let http = http1::Builder::new()
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        // A client that goes or sends nonsense is nobody's business.
        drop(tokio::time::timeout(REQUEST_WITHIN, http).await);
    }
    let Some(Upgrading { work, protocol, upgraded }) = granted.into_inner().unwrap_or_else(PoisonError::into_inner)
    else {
        return;
    };
    let span = info_span!("streams", kind = work.kind().path(), about = work.about());
    async {
        let since = Instant::now();
        let end = upgrade(work, protocol, upgraded).await;
        info!(protocol = protocol.name(), duration_ms = since.elapsed().as_millis(), %end, "streams ended");
    }
    .instrument(span)
    .await;
}

async fn upgrade(work: Work, protocol: Protocol, upgraded: OnUpgrade) -> End {
    let failed = |why: String| End::Io(std::io::Error::other(why));
    let upgraded = match upgraded.await {
        Ok(upgraded) => upgraded,
        Err(wrong) => return failed(wrong.to_string()),
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        return failed("the connection is not the one that was taken".to_owned());
    };
    let (socket, received): (TcpStream, Bytes) = (parts.io.into_inner(), parts.read_buf);
    match work {
        Work::Exec(command) | Work::Attach(command) => remote_command::serve(command, protocol, socket, received).await,
        Work::PortForward(connect) => port_forward::serve(connect, socket, received).await,
    }
}

/// Answers a request; leaves what it is granted behind.
fn answer(mut request: Request<Incoming>, tokens: &Tokens, granted: &Granted) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::POST {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use GET or POST");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
        return response;
    }
    let Some((kind, token)) = route(request.uri().path()) else {
        return text(
            StatusCode::NOT_FOUND,
            "no such path; exec, attach and port-forward of the CRI return URLs to use here",
        );
    };
    let protocol = match negotiate(kind, request.headers()) {
        Ok(protocol) => protocol,
        Err(refused) => return not_upgraded(&refused, kind),
    };
    let Some(work) = tokens.redeem(kind, token, Instant::now()) else {
        return text(
            StatusCode::NOT_FOUND,
            "this URL was used, is more than a minute old, or was never given; ask anew",
        );
    };
    let upgraded = hyper::upgrade::on(&mut request);
    *granted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Upgrading { work, protocol, upgraded });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in [(CONNECTION, "Upgrade"), (UPGRADE, SPDY), (PROTOCOL, protocol.name())] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Splits a path into the kind of work and the token.
fn route(path: &str) -> Option<(Kind, &str)> {
    let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
    Some((Kind::of(kind)?, token))
}

fn not_upgraded(refused: &Refused, kind: Kind) -> Response<Full<Bytes>> {
    match refused {
        Refused::NotSpdy | Refused::NoProtocol => text(StatusCode::BAD_REQUEST, &refused.to_string()),
        Refused::OtherProtocol(..) => {
            let mut response = text(StatusCode::FORBIDDEN, &refused.to_string());
            for name in names(kind) {
                response.headers_mut().append(ACCEPTED, HeaderValue::from_static(name));
            }
            response
        }
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

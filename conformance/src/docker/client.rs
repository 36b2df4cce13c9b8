//! A small client of the Docker API: for cleaning up, and for a bench that must not measure the stock CLI.
//!
//! One connection a call unless the caller holds a [`Connection`]. Every call has a deadline.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// The longest that a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Largest answer that is read: a list of hundreds of containers.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A client of one socket.
pub struct Client {
    socket: PathBuf,
    executor: Runtime,
}

/// What a server answered to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

// === impl Client ===

impl Client {
    /// Makes a client; it connects at each call.
    pub fn new(socket: &Path) -> io::Result<Self> {
        let executor = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket: socket.to_owned(), executor })
    }

    /// Says whether the server answers.
    pub fn answers(&self) -> bool {
        self.call(&Method::GET, "/_ping", None).is_ok()
    }

    /// Makes a call and returns the JSON of its answer; null when it has none.
    pub fn call(&self, method: &Method, path: &str, body: Option<&Value>) -> io::Result<Value> {
        let answer = self.run(async {
            let mut connection = Connection::open(&self.socket).await?;
            let bytes = body.map(Value::to_string).unwrap_or_default();
            connection.call(method, path, &[], bytes.into()).await
        })?;
        answer.well(method, path)?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// Removes every container, running or not. Goes on after an error and returns the last.
    pub fn remove_containers(&self) -> io::Result<()> {
        self.remove_each("/containers/json?all=1", |id| format!("/containers/{id}?force=1&v=1"))
    }

    /// Removes every image that no container needs, under all its names. Goes on after an error and returns the last.
    pub fn remove_images(&self) -> io::Result<()> {
        self.remove_each("/images/json", |id| format!("/images/{id}?force=1"))
    }

    fn remove_each(&self, list: &str, path: impl Fn(&str) -> String) -> io::Result<()> {
        let list = self.call(&Method::GET, list, None)?;
        let ids = list.as_array().into_iter().flatten().filter_map(|one| one["Id"].as_str());
        let mut result = Ok(());
        for id in ids {
            result = self.call(&Method::DELETE, &path(id), None).map(|_| ()).and(result);
        }
        result
    }

    /// Runs some work of this client's connections, within the limit.
    pub fn run<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        self.executor.block_on(async {
            let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CALL_LIMIT:?}"));
            tokio::time::timeout(CALL_LIMIT, work).await.map_err(|_| late())?
        })
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

// === impl Answer ===

impl Answer {
    /// Fails unless the call succeeded; says what the server said.
    pub fn well(&self, method: &Method, path: &str) -> io::Result<()> {
        if self.status.is_success() {
            return Ok(());
        }
        let said: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message = said["message"].as_str().unwrap_or_default();
        Err(io::Error::other(format!("{method} {path}: {}: {message}", self.status)))
    }
}

/// A connection that is kept for several calls. Dropped, it is closed.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

// === impl Connection ===

impl Connection {
    /// Connects.
    pub async fn open(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async {
            // What goes wrong with it, the call that was under way is told.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self { sender, driver })
    }

    /// Makes a call and reads its whole answer.
    pub async fn call(
        &mut self,
        method: &Method,
        path: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> io::Result<Answer> {
        let response = self.begin(method, path, headers, body).await?;
        let status = response.status();
        Ok(Answer { status, body: read(response).await? })
    }

    /// Makes a call and returns as soon as the head of the answer is there.
    pub async fn begin(
        &mut self,
        method: &Method,
        path: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> io::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header("Host", "docker");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("Content-Type", "application/json");
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        self.sender.ready().await.map_err(io::Error::other)?;
        self.sender.send_request(request).await.map_err(io::Error::other)
    }

    /// Makes a call that takes the connection over.
    pub async fn hijack(
        mut self,
        method: &Method,
        path: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> io::Result<TokioIo<Upgraded>> {
        let response = self.begin(method, path, headers, body).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answer = Answer { status: response.status(), body: read(response).await? };
            answer.well(method, path)?;
            return Err(io::Error::other(format!("{method} {path}: the connection was not handed over")));
        }
        hyper::upgrade::on(response).await.map(TokioIo::new).map_err(io::Error::other)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Reads the whole body of an answer.
pub async fn read(response: Response<Incoming>) -> io::Result<Bytes> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    body.collect().await.map(http_body_util::Collected::to_bytes).map_err(io::Error::other)
}

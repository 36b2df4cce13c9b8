//! The endpoint over real sockets: what it answers, what it refuses, and what a bad client can take of it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on may panic")]

use orlop_metrics::{Bounds, Listener, Metrics, serve};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Longest that an answer may take on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

struct Served {
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Served {
    fn start(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        let listener = Listener::Unix(UnixListener::bind(&path).unwrap());
        tokio::spawn(serve(listener, Metrics::new("1.2.3"), bounds));
        Self { path, _folder: folder }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        // A server that refuses early does not read to the end, and the rest can't be written.
        drop(stream.write_all(request.as_bytes()).await);
        read_to_end(&mut stream).await
    }
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    // Cut with or without a reset.
    drop(tokio::time::timeout(ANSWER_LIMIT, stream.read_to_end(&mut answer)).await.unwrap());
    String::from_utf8(answer).unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn metrics_are_given_in_the_text_format() {
    let served = Served::start(Bounds::default());
    let answer = served.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
    let arch = std::env::consts::ARCH;
    let line = format!("orlop_build_info{{arch=\"{arch}\",version=\"1.2.3\"}} 1\n");
    assert!(body(&answer).contains(&line), "{answer}");
    assert!(body(&answer).contains("\nprocess_open_fds "), "{answer}");
}

#[tokio::test]
async fn head_gives_the_length_without_the_page() {
    let served = Served::start(Bounds::default());
    let answer = served.ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: "), "{answer}");
    assert_eq!(body(&answer), "");
}

#[tokio::test]
async fn everything_else_is_refused() {
    let served = Served::start(Bounds::default());
    for (request, status) in [
        ("GET /healthz HTTP/1.1", "200"),
        ("GET /metrics?x=y HTTP/1.1", "200"),
        ("GET / HTTP/1.1", "404"),
        ("GET /metrics/ HTTP/1.1", "404"),
        ("GET /../metrics HTTP/1.1", "404"),
        ("POST /metrics HTTP/1.1", "405"),
        ("DELETE /healthz HTTP/1.1", "405"),
        ("POST /nothing HTTP/1.1", "404"),
        ("nonsense", "400"),
    ] {
        let answer = served.ask(&format!("{request}\r\nHost: x\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    let long = "x".repeat(20 << 10);
    let answer = served.ask(&format!("GET /metrics HTTP/1.1\r\nHost: x\r\nLong: {long}\r\n\r\n")).await;
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_cut_off() {
    let time = Duration::from_millis(300);
    let served = Served::start(Bounds { connection_time_max: time, ..Bounds::default() });
    let begun = Instant::now();
    let mut slow = served.connect().await;
    slow.write_all(b"GET /metrics HTT").await.unwrap();
    assert_eq!(read_to_end(&mut slow).await, "");
    assert!(begun.elapsed() >= time, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn too_many_connections_wait_for_their_turn() {
    let time = Duration::from_millis(500);
    let served = Served::start(Bounds { connections_max: 2, connection_time_max: time });
    let begun = Instant::now();
    let _idle = (served.connect().await, served.connect().await);
    let answer = served.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(body(&answer), "ok\n");
    assert!(begun.elapsed() >= time, "it was taken while two others were open: {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_address_and_port_serve_the_same_and_dropping_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(Listener::Tcp(listener), Metrics::new("1.2.3"), Bounds::default()));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(body(&read_to_end(&mut stream).await), "ok\n");
    let mut idle = tokio::net::TcpStream::connect(address).await.unwrap();
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[test]
fn a_name_that_is_there_already_is_a_fault() {
    let metrics = Metrics::new("1");
    let twice = || vec![Box::new(prometheus::IntCounter::new("orlop_x_total", "x").unwrap()) as _];
    metrics.add(twice());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| metrics.add(twice()))).is_err());
}

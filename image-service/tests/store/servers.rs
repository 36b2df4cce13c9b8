//! Which servers are asked, and what they are told: passwords, mirrors, TLS, redirects, failures.

use crate::bench::{Bench, image, owner, pull, refused};
use orlop_model::ErrorKind;
use orlop_model::image::Credentials;
use orlop_model::ports::{Images, Unheard};
use orlop_model::pull::PullRequest;
use orlop_testkit::image_builder::digest;
use orlop_testkit::registry::{Options, PASSWORD, Registry, USERNAME};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server that gives fixed answers by parts of the request line, and remembers what it was asked. Its thread ends with
/// the listener, which is woken up for that.
pub struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    thread: Option<std::thread::JoinHandle<()>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Fake {
    pub fn start(answers: Vec<(&str, Vec<u8>)>) -> Self {
        Self::guarded(answers, "", Vec::new())
    }

    /// A server that gives its answers to requests with this text in the head (in lower case), and another to all else.
    pub fn guarded(answers: Vec<(&str, Vec<u8>)>, word: &str, closed: Vec<u8>) -> Self {
        let gate = (word.to_owned(), closed);
        let answers: Vec<_> = answers.into_iter().map(|(part, bytes)| (part.to_owned(), bytes)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let thread = {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut held = Vec::new();
                for stream in listener.incoming() {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    held.extend(answer(stream.unwrap(), &answers, &gate, &seen));
                }
            })
        };
        Self { address, seen, thread: Some(thread), stop }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Counts the requests whose head holds a text.
    pub fn asked(&self, part: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|head| head.contains(part)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Answers one request; returns the connection when it is to stay open, silent.
fn answer(
    mut stream: TcpStream,
    answers: &[(String, Vec<u8>)],
    (word, closed): &(String, Vec<u8>),
    seen: &Mutex<Vec<String>>,
) -> Option<TcpStream> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default().to_owned();
    let lower = head.to_lowercase();
    let open = lower.contains(word.as_str());
    seen.lock().unwrap().push(lower);
    if !open {
        let _ = stream.write_all(closed);
        return None;
    }
    let (_, bytes) = answers.iter().find(|(part, _)| line.contains(part.as_str()))?;
    let _ = stream.write_all(bytes);
    bytes.starts_with(b"HTTP/1.1 200 Silent").then_some(stream)
}

/// A whole answer.
pub fn reply(status: u16, media_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer that begins and then says nothing more.
pub fn partial(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 Silent\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body[..body.len() / 2]].concat()
}

pub fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 307 X\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

pub fn challenge(scheme: &str) -> Vec<u8> {
    format!("HTTP/1.1 401 X\r\nWWW-Authenticate: {scheme}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

pub fn with_password(reference: &str, password: &str) -> PullRequest {
    let credentials = Credentials::Basic { username: USERNAME.to_owned(), password: password.to_owned() };
    PullRequest { reference: reference.to_owned(), credentials, owner: owner() }
}

pub fn hosts_toml(bench: &Bench, host: &str, text: &str) {
    let folder = bench.folder.path().join("certs.d").join(host);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("hosts.toml"), text).unwrap();
}

#[tokio::test]
async fn password_opens_what_is_closed_to_others() {
    let bench = Bench::with(Registry::with(Options { password: true, ..Options::default() }).unwrap());
    image(&[&[("a", "1")], &[("b", "2")]]).push(&bench.registry, "x", &["1"]).unwrap();
    let name = bench.at("x:1");
    refused(bench.pull("x:1").await, ErrorKind::Denied, &["none were given"]);
    let wrong = bench.store.pull(&with_password(&name, "wrong-word"), &Unheard).await;
    refused(wrong.clone(), ErrorKind::Denied, &["does not accept the name and password"]);
    assert!(!wrong.unwrap_err().message.contains("wrong-word"));
    bench.store.pull(&with_password(&name, PASSWORD), &Unheard).await.unwrap();
}

#[tokio::test]
async fn password_is_not_told_to_another_host() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    let store = Fake::start(vec![
        (built.id().trim_start_matches("sha256:"), reply(200, "application/octet-stream", &built.config)),
        ("/blob", reply(200, "application/octet-stream", &built.layers[0])),
    ]);
    // The registry asks for the password and then sends its caller on, as those that keep blobs elsewhere do.
    let to = |digest: &str| redirect(&format!("http://{}/blob/{digest}?signature=word", store.host()));
    let (config, blob) = (built.id(), digest(&built.layers[0]));
    let answers = vec![
        ("/manifests/", reply(200, &built.media_type, &built.manifest)),
        (&config, to(&config)),
        (&blob, to(&blob)),
    ];
    let front = Fake::guarded(answers, "authorization: basic", challenge("Basic realm=\"x\""));
    bench.store.pull(&with_password(&format!("{}/x:1", front.host()), PASSWORD), &Unheard).await.unwrap();
    assert!(front.asked("authorization: basic") > 0);
    assert_eq!((store.asked("/blob"), store.asked("authorization")), (2, 0));
}

#[tokio::test]
async fn redirects_have_limits() {
    let bench = Bench::new();
    let elsewhere = Fake::start(vec![("/v2/", redirect("http://192.0.2.1/v2/x"))]);
    let name = format!("{}/x:1", elsewhere.host());
    refused(
        pull(&bench.store, &name).await,
        ErrorKind::RegistryUnavailable,
        &["plain HTTP is only allowed on loopback"],
    );
    let endless = Fake::start(vec![("/v2/", redirect("/v2/again"))]);
    let name = format!("{}/x:1", endless.host());
    refused(pull(&bench.store, &name).await, ErrorKind::RegistryUnavailable, &["redirects more than"]);
    let file = Fake::start(vec![("/v2/", redirect("file:///etc/passwd"))]);
    let name = format!("{}/x:1", file.host());
    refused(pull(&bench.store, &name).await, ErrorKind::RegistryUnavailable, &["only https"]);
}

#[tokio::test]
async fn mirror_serves_another_registrys_images_under_their_own_name() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    built.push(&bench.registry, "e2e/busybox", &["1.29"]).unwrap();
    let mirror = bench.registry.host();
    let text = format!(
        "server = \"http://127.0.0.1:1\"\n[host.\"http://127.0.0.1:2\"]\n[host.\"http://{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
    );
    hosts_toml(&bench, "registry.k8s.example", &text);
    pull(&bench.store, "registry.k8s.example/e2e/busybox:1.29").await.unwrap();
    let found = bench.find("registry.k8s.example/e2e/busybox:1.29").await.unwrap();
    assert_eq!(found.tags, ["registry.k8s.example/e2e/busybox:1.29"]);
    assert_eq!(found.digests, [format!("registry.k8s.example/e2e/busybox@{}", built.digest())]);
    let log = bench.registry.log().unwrap();
    assert!(log.contains("/v2/e2e/busybox/manifests/1.29?ns=registry.k8s.example"), "the mirror is told who is meant");
}

#[tokio::test]
async fn mirror_that_fails_or_lies_is_passed_over() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let blob = digest(&built.layers[0]);
    let liar = Fake::start(vec![
        ("/manifests/", reply(404, "application/json", br#"{"errors":[{"message":"not here"}]}"#)),
        (&blob, reply(200, "application/octet-stream", &vec![b'x'; built.layers[0].len()])),
        ("/v2/", reply(500, "text/plain", b"")),
    ]);
    let host = bench.registry.host();
    hosts_toml(&bench, "reg.example", &format!("server = \"http://{host}\"\n[host.\"http://{}\"]\n", liar.host()));
    pull(&bench.store, "reg.example/x:1").await.unwrap();
    assert_eq!((liar.asked("/manifests/1"), liar.asked(&blob)), (1, 1));
    // All fail: the registry's word counts, the mirror's is told with it.
    let gone = pull(&bench.store, "reg.example/absent:1").await;
    refused(gone, ErrorKind::NotFound, &["does not have manifest absent:1", "before it", "not here"]);
}

#[tokio::test]
async fn server_without_the_capability_is_not_asked_for_tags() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let second = Registry::with(Options { storage: Some(bench.registry.storage().to_owned()), ..Options::default() });
    let mirror = second.unwrap();
    let (host, other) = (bench.registry.host(), mirror.host());
    let text = format!("server = \"http://{host}\"\n[host.\"http://{other}\"]\ncapabilities = [\"pull\"]\n");
    hosts_toml(&bench, "reg.example", &text);
    pull(&bench.store, "reg.example/x:1").await.unwrap();
    let log = mirror.log().unwrap();
    assert!(!log.contains("GET /v2/x/manifests"), "a tag is the registry's to resolve");
    assert!(log.contains("GET /v2/x/blobs"));
    let text = format!("server = \"http://{host}\"\ncapabilities = [\"pull\"]\n");
    hosts_toml(&bench, "reg.example", &text);
    refused(pull(&bench.store, "reg.example/x:1").await, ErrorKind::RegistryUnavailable, &["capability"]);
}

#[tokio::test]
async fn tls_is_trusted_through_the_authority_that_is_named() {
    let bench = Bench::new();
    image(&[&[("a", "1")]]).push(&bench.registry, "x", &["1"]).unwrap();
    let storage = Some(bench.registry.storage().to_owned());
    let tls = Registry::with(Options { tls: true, storage, ..Options::default() }).unwrap();
    let server = format!("server = \"https://{}\"\n", tls.host());
    hosts_toml(&bench, "reg.example", &server);
    refused(pull(&bench.store, "reg.example/x:1").await, ErrorKind::RegistryUnavailable, &["certificate"]);
    // Read at every pull: no restart between the two.
    hosts_toml(&bench, "reg.example", &format!("{server}ca = \"{}\"\n", tls.certificate().display()));
    pull(&bench.store, "reg.example/x:1").await.unwrap();
}

#[tokio::test]
async fn unknown_setting_is_refused_by_name_at_the_pull() {
    let bench = Bench::new();
    hosts_toml(&bench, "reg.example", "skip_verify = true\n");
    refused(pull(&bench.store, "reg.example/x:1").await, ErrorKind::Internal, &["skip_verify", "hosts.toml"]);
}

#[tokio::test]
async fn passing_failures_are_tried_again_a_bounded_number_of_times() {
    let bench = Bench::new();
    for (status, expected) in [(503, 3), (429, 3), (500, 3), (400, 1)] {
        let server = Fake::start(vec![("/v2/", reply(status, "text/plain", b""))]);
        let name = format!("{}/x:1", server.host());
        refused(pull(&bench.store, &name).await, ErrorKind::RegistryUnavailable, &[&status.to_string()]);
        assert_eq!(server.asked("/manifests/1"), expected, "{status}");
    }
}

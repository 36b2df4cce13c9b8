//! Registries that want a token of a token server: the real one, and some that lie.

use crate::bench::{Bench, image, owner, pull, refused};
use crate::servers::{Fake, challenge, hosts_toml, redirect, reply, with_password};
use crate::token_server::{IDENTITY, TokenServer};
use orlop_model::image::Credentials;
use orlop_model::ports::{Images, Unheard};
use orlop_model::pull::PullRequest;
use orlop_model::{ErrorKind, Failure, ImageId};
use orlop_testkit::image_builder::digest;
use orlop_testkit::registry::{Options, PASSWORD, Registry};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An open registry with two images in two repositories, a second one over the same storage that wants tokens, and who
/// gives these.
struct Guarded {
    bench: Bench,
    registry: Registry,
    tokens: TokenServer,
}

impl Guarded {
    fn start() -> Self {
        let bench = Bench::new();
        for (tag, word) in [("1", "x"), ("2", "y")] {
            let built = image(&[&[("a", word)], &[("b", word)], &[("c", word)], &[("d", word)]]);
            for repository in ["public/x", "private/x"] {
                built.push(&bench.registry, repository, &[tag]).unwrap();
            }
        }
        let tokens = TokenServer::start();
        let registry = tokens.registry(&bench.registry);
        Self { bench, registry, tokens }
    }

    async fn pull(&self, name: &str, credentials: Credentials) -> Result<ImageId, Failure> {
        let reference = format!("{}/{name}", self.registry.host());
        let request = PullRequest { reference, credentials, owner: owner() };
        Ok(self.bench.store.pull(&request, &Unheard).await?.image)
    }
}

fn basic(password: &str) -> Credentials {
    with_password("", password).credentials
}

#[tokio::test]
async fn public_image_is_pulled_with_one_anonymous_token() {
    let guarded = Guarded::start();
    // Both at once, and all their layers: they wait for one token.
    let (first, second) = tokio::join!(
        guarded.pull("public/x:1", Credentials::Anonymous),
        guarded.pull("public/x:2", Credentials::Anonymous),
    );
    first.unwrap();
    second.unwrap();
    let seen = guarded.tokens.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let line = seen[0].lines().next().unwrap();
    assert_eq!(line, "GET /token?service=registry+of+a+test&scope=repository%3Apublic%2Fx%3Apull HTTP/1.1");
    assert!(!seen[0].to_lowercase().contains("authorization"));
    let private = guarded.pull("private/x:1", Credentials::Anonymous).await;
    refused(private, ErrorKind::Denied, &["401", "does not exist or needs a login", "give credentials"]);
}

#[tokio::test]
async fn password_goes_to_the_token_server_and_nowhere_else() {
    let guarded = Guarded::start();
    guarded.tokens.answer_as("access_token");
    guarded.pull("private/x:1", basic(PASSWORD)).await.unwrap();
    guarded.pull("private/x:2", basic(PASSWORD)).await.unwrap();
    assert_eq!(guarded.tokens.issued().len(), 1);
    assert_eq!(guarded.tokens.asked("authorization: Basic "), 1);
    let wrong = guarded.pull("private/x:1", basic("wrong-word")).await;
    let words = ["its token server 127.0.0.1", "does not accept the name and password given", "incorrect username"];
    refused(wrong.clone(), ErrorKind::Denied, &words);
    assert!(!wrong.unwrap_err().message.contains("wrong-word"));
    assert_eq!(guarded.tokens.asked(""), 2, "a refused password is not tried again");
}

#[tokio::test]
async fn identity_token_buys_tokens() {
    let guarded = Guarded::start();
    guarded.tokens.answer_as("access_token");
    guarded.pull("private/x:1", Credentials::IdentityToken(IDENTITY.to_owned())).await.unwrap();
    let seen = guarded.tokens.seen();
    assert!(seen.len() == 1 && seen[0].starts_with("POST /token HTTP/1.1\r\n"), "{seen:?}");
    assert!(!seen[0].to_lowercase().contains("authorization"));
    let old = guarded.pull("private/x:1", Credentials::IdentityToken("old-word".to_owned())).await;
    refused(old.clone(), ErrorKind::Denied, &["does not accept the identity token given", "log in again"]);
    assert!(!old.unwrap_err().message.contains("old-word"));
}

#[tokio::test]
async fn registry_token_is_used_as_it_is() {
    let guarded = Guarded::start();
    let token = Credentials::RegistryToken(guarded.tokens.sign("private/x"));
    guarded.pull("private/x:1", token.clone()).await.unwrap();
    refused(guarded.pull("public/x:1", token).await, ErrorKind::Denied, &["does not accept the registry token given"]);
    for wrong in ["old-word", "two-word\r\nX: y"] {
        let wrong = guarded.pull("private/x:1", Credentials::RegistryToken(wrong.to_owned())).await;
        refused(wrong.clone(), ErrorKind::Denied, &["registry token given"]);
        assert!(!wrong.unwrap_err().message.contains("-word"));
    }
    assert_eq!(guarded.tokens.asked(""), 0);
}

#[tokio::test]
async fn token_that_has_run_out_is_replaced() {
    let guarded = Guarded::start();
    // A minute is added by the registry: some seconds are left, less than the token is kept for.
    guarded.tokens.live_for(-56);
    guarded.pull("private/x:1", basic(PASSWORD)).await.unwrap();
    // More than one where the pull took longer than a token lasts.
    let before = guarded.tokens.issued();
    let last = before.last().unwrap();
    orlop_testkit::wait_until(Duration::from_secs(20), "the registry refuses the token", || {
        (status(&guarded.registry, "/v2/private/x/tags/list", last) == 401).then_some(())
    });
    guarded.tokens.live_for(300);
    guarded.pull("private/x:2", basic(PASSWORD)).await.unwrap();
    assert_eq!(guarded.tokens.issued().len(), before.len() + 1);
}

/// Asks a registry with a token; returns the status.
fn status(registry: &Registry, path: &str, token: &str) -> u16 {
    let mut stream = TcpStream::connect(registry.address()).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn token_is_asked_for_again_once_and_not_for_ever() {
    let guarded = Guarded::start();
    guarded.tokens.live_for(-1000);
    for expected in [1, 2, 3] {
        let pulled = guarded.pull("private/x:1", basic(PASSWORD)).await;
        refused(pulled, ErrorKind::Denied, &["may not pull from this repository"]);
        assert_eq!(guarded.tokens.issued().len(), expected);
    }
}

#[tokio::test]
async fn hostile_realms_are_told_nothing() {
    let bench = Bench::new();
    let unavailable = ErrorKind::RegistryUnavailable;
    for (header, word) in [
        ("Bearer realm=\"http://192.0.2.1/token\"", "plain HTTP is only allowed on loopback"),
        ("Bearer realm=\"file:///etc/passwd\"", "only https"),
        ("Bearer realm=\"/token\"", "not a URL"),
        ("Bearer realm=\"https://user:pw@192.0.2.1/token\"", "name, password"),
        ("Bearer service=\"x\"", "names none"),
        ("Bearer realm=\"https://192.0.2.1/token", "has no end"),
        ("Bearer realm=\"https://a.example/\",realm=\"https://b.example/\"", "given twice"),
        ("Bearer realm=https://192.0.2.1/token", "grammar"),
    ] {
        let server = Fake::start(vec![("/v2/", challenge(header))]);
        let name = format!("{}/x:1", server.host());
        for request in [
            with_password(&name, PASSWORD),
            PullRequest { reference: name, credentials: Credentials::Anonymous, owner: owner() },
        ] {
            refused(bench.store.pull(&request, &Unheard).await, unavailable, &[word]);
        }
        assert_eq!((server.asked("authorization"), server.asked("get")), (0, 2), "{header}");
    }
}

#[tokio::test]
async fn server_that_blobs_are_redirected_to_cannot_ask_for_credentials() {
    let bench = Bench::new();
    let tokens = TokenServer::start();
    let built = image(&[&[("a", "1")]]);
    for header in [format!("Bearer realm=\"{}\"", tokens.realm()), "Basic realm=\"x\"".to_owned()] {
        let store = Fake::start(vec![("/blob", challenge(&header))]);
        let front = Fake::start(vec![
            ("/manifests/", reply(200, &built.media_type, &built.manifest)),
            ("/blobs/", redirect(&format!("http://{}/blob", store.host()))),
        ]);
        let asked = bench.store.pull(&with_password(&format!("{}/x:1", front.host()), PASSWORD), &Unheard).await;
        refused(asked, ErrorKind::Denied, &["which it redirects to", "401"]);
        assert_eq!((store.asked("authorization"), front.asked("authorization")), (0, 0));
    }
    assert_eq!(tokens.asked(""), 0);
}

#[tokio::test]
async fn token_server_of_a_mirror_is_given_no_credentials() {
    let guarded = Guarded::start();
    let (mirror, tokens) = (&guarded.registry, &guarded.tokens);
    let text = format!("server = \"http://127.0.0.1:1\"\n[host.\"http://{}\"]\n", mirror.host());
    hosts_toml(&guarded.bench, "reg.example", &text);
    guarded.bench.store.pull(&with_password("reg.example/public/x:1", PASSWORD), &Unheard).await.unwrap();
    let private = guarded.bench.store.pull(&with_password("reg.example/private/x:1", PASSWORD), &Unheard).await;
    refused(private, ErrorKind::RegistryUnavailable, &["mirrors are given none"]);
    assert!(tokens.asked("GET /token") == 2 && tokens.asked("uthorization") == 0, "{:?}", tokens.seen());
}

#[tokio::test]
async fn token_is_not_sent_to_where_blobs_are() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    let store = Fake::start(vec![
        (built.id().trim_start_matches("sha256:"), reply(200, "application/octet-stream", &built.config)),
        ("/blob", reply(200, "application/octet-stream", &built.layers[0])),
    ]);
    let to = |digest: &str| redirect(&format!("http://{}/blob/{digest}", store.host()));
    let (config, layer) = (built.id(), digest(&built.layers[0]));
    let realm = Fake::start(vec![("/token", reply(200, "application/json", br#"{"token":"word"}"#))]);
    let wanted = challenge(&format!("Bearer realm=\"http://{}/token\"", realm.host()));
    let front = Fake::guarded(
        vec![
            ("/manifests/", reply(200, &built.media_type, &built.manifest)),
            (&config, to(&config)),
            (&layer, to(&layer)),
        ],
        "authorization: bearer word\r\n",
        wanted,
    );
    pull(&bench.store, &format!("{}/x:1", front.host())).await.unwrap();
    assert_eq!((store.asked("/blob"), store.asked("authorization")), (2, 0));
    assert_eq!((realm.asked("/token?scope=repository%3ax%3apull"), realm.asked("")), (1, 1));
}

#[tokio::test]
async fn token_servers_that_misbehave_are_named_and_repeat_no_secret() {
    let bench = Bench::new();
    let other = TokenServer::start();
    let json = |status: u16, body: &str| reply(status, "application/json", body.as_bytes());
    let huge = format!("{{\"token\":\"{}\"}}", "t".repeat(70_000));
    let (unavailable, denied) = (ErrorKind::RegistryUnavailable, ErrorKind::Denied);
    for (answer, times, kind, word) in [
        (redirect(&other.realm()), 1, unavailable, "it redirects"),
        (json(200, "{}"), 1, unavailable, "holds no token"),
        (json(200, "<html>"), 1, unavailable, "not a token document"),
        (json(200, &huge), 1, unavailable, "bytes allowed"),
        (json(500, ""), 3, unavailable, "500"),
        (json(429, ""), 3, unavailable, "429"),
        (json(404, ""), 1, unavailable, "404"),
        (
            json(401, r#"{"details":"'sec\u0007ret' is not it"}"#),
            1,
            denied,
            "(it answers 401 Unauthorized); check both",
        ),
        (json(403, r#"{"errors":[{"message":"not \u001b you"}]}"#), 1, denied, "(not  you)"),
    ] {
        let realm = Fake::start(vec![("/token", answer)]);
        let wanted = challenge(&format!("Bearer realm=\"http://{}/token\"", realm.host()));
        let server = Fake::start(vec![("/v2/", wanted)]);
        let asked = bench.store.pull(&with_password(&format!("{}/x:1", server.host()), PASSWORD), &Unheard).await;
        refused(asked.clone(), kind, &[word, &realm.host()]);
        assert!(!asked.unwrap_err().message.contains(PASSWORD));
        assert_eq!((realm.asked("/token"), server.asked("authorization")), (times, 0), "{word}");
    }
    assert_eq!(other.asked(""), 0);
}

#[tokio::test]
async fn token_server_with_tls_is_trusted_through_the_registrys_authority() {
    let bench = Bench::new();
    // It gives no tokens, but it can be seen whether it was believed.
    let realm = Registry::with(Options { tls: true, ..Options::default() }).unwrap();
    let server = Fake::start(vec![("/v2/", challenge(&format!("Bearer realm=\"https://{}/v2/\"", realm.host())))]);
    let text = format!("server = \"http://{}\"\n", server.host());
    hosts_toml(&bench, "reg.example", &text);
    let asked = bench.store.pull(&with_password("reg.example/x:1", PASSWORD), &Unheard).await;
    refused(asked, ErrorKind::RegistryUnavailable, &["certificate"]);
    hosts_toml(&bench, "reg.example", &format!("{text}ca = \"{}\"\n", realm.certificate().display()));
    let asked = bench.store.pull(&with_password("reg.example/x:1", PASSWORD), &Unheard).await;
    refused(asked, ErrorKind::RegistryUnavailable, &["holds no token"]);
}

//! Metrics of a real daemon: exact counts after exact calls, in a form that Prometheus' own tool finds nothing wrong with.

use crate::{WAITS, assert_refused};
use orlop_testkit::client::{image, v1};
use orlop_testkit::debian::package;
use orlop_testkit::lab::Surroundings;
use orlop_testkit::{Code, Guard, Node, Pod};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The longest that a scrape may take; scrapers give up after ten seconds.
const SCRAPE_LIMIT: Duration = Duration::from_secs(10);
/// The largest answer of a node that has been asked everything: what a scrape every 15 seconds may cost.
const SCRAPE_BYTES_MAX: usize = 64 << 10;

/// A daemon that shows its metrics. Its parts are dropped in this order, so the guard compares last.
struct Shown {
    node: Node,
    surroundings: Surroundings,
    _guard: Guard,
}

/// One scrape: every number by its name and labels.
type Scrape = BTreeMap<String, f64>;

impl Shown {
    fn start() -> Self {
        let guard = Guard::new();
        let surroundings = Surroundings::with_registry(&guard).unwrap();
        let socket = surroundings.ground.join("run/metrics.sock").display().to_string();
        let node = Node::start_on(Arc::clone(&surroundings.ground), &[("--metrics-listen", &socket)]);
        Self { node, surroundings, _guard: guard }
    }

    fn text(&self) -> String {
        let mut stream = UnixStream::connect(self.surroundings.ground.join("run/metrics.sock")).unwrap();
        stream.set_read_timeout(Some(SCRAPE_LIMIT)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        body.to_owned()
    }

    fn scrape(&self) -> Scrape {
        let text = self.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(key, n)| (key.to_owned(), n.parse().unwrap())).collect()
    }

    /// Pulls an image, runs a pod with a container, and lets both end; some calls on the way are refused.
    fn live(&self) {
        let client = self.node.client();
        let reference = &self.surroundings.reference;
        let pull = |reference: &str| v1::PullImageRequest { image: Some(image(reference)), ..Default::default() };
        client.pull_image(pull(reference)).unwrap();
        client.pull_image(pull(&reference.replace("orlop/test", "orlop/absent"))).unwrap_err();
        let pod = Pod::run(&self.node, "counted");
        let id = pod.launch("waits", reference, WAITS);
        pod.exec(&id, &["true"]).unwrap();
        let nobody = v1::StartContainerRequest { container_id: "0".repeat(64) };
        assert_refused("start", client.start_container(nobody), &[Code::NotFound], &[]);
        let checkpoint = client.checkpoint_container(v1::CheckpointContainerRequest::default());
        assert_refused("checkpoint", checkpoint, &[Code::Unimplemented], &[]);
        pod.stop_container(&id, 10).unwrap();
        pod.remove_container(&id).unwrap();
        pod.stop().unwrap();
        pod.remove().unwrap();
    }
}

/// Asserts how much numbers rose from one scrape to the next.
#[track_caller]
fn assert_rose(before: &Scrape, after: &Scrape, expected: &[(&str, f64)]) {
    for (key, by) in expected {
        let value = |scrape: &Scrape| scrape.get(*key).copied().unwrap_or(0.0);
        let rose = value(after) - value(before);
        assert!((rose - by).abs() < f64::EPSILON, "{key} rose by {rose}, not by {by}");
    }
}

fn requests(method: &str, code: &str) -> String {
    format!("orlop_cri_requests_total{{code=\"{code}\",method=\"{method}\"}}")
}

fn effects(effect: &str, outcome: &str) -> String {
    format!("orlop_effect_duration_seconds_count{{effect=\"{effect}\",outcome=\"{outcome}\"}}")
}

#[test]
fn each_call_counts_once_and_each_effect_of_it() {
    let shown = Shown::start();
    let before = shown.scrape();
    shown.live();
    let after = shown.scrape();
    for (method, code) in [
        ("RunPodSandbox", "OK"),
        ("CreateContainer", "OK"),
        ("StartContainer", "OK"),
        ("StartContainer", "NotFound"),
        ("ExecSync", "OK"),
        ("CheckpointContainer", "Unimplemented"),
        ("StopContainer", "OK"),
        ("RemovePodSandbox", "OK"),
        ("PullImage", "OK"),
    ] {
        assert_rose(&before, &after, &[(&requests(method, code), 1.0)]);
    }
    for effect in [
        "sandbox.raise-shim",
        "sandbox.attach",
        "container.prepare-rootfs",
        "container.check",
        "container.start",
        "container.ask-to-end",
        "sandbox.drop-shim",
    ] {
        assert_rose(&before, &after, &[(&effects(effect, "ok"), 1.0), (&effects(effect, "failed"), 0.0)]);
    }
    // A removal that comes while the task of the exited container is being dropped drops it once more.
    let dropped = after[&effects("container.drop-task", "ok")];
    assert!((1.0..=2.0).contains(&dropped), "the task was dropped {dropped} times");
    assert_rose(
        &before,
        &after,
        &[
            ("orlop_image_pulls_started_total", 2.0),
            ("orlop_image_pulls_failed_total{reason=\"not_found\"}", 1.0),
            ("orlop_image_pull_duration_seconds_count", 1.0),
            ("orlop_cri_request_duration_seconds_count{method=\"StartContainer\"}", 2.0),
        ],
    );
    let received = after["orlop_image_pull_received_bytes_total"];
    assert!(received > 100_000.0, "the layers of the test image have more than {received} bytes");
    for idle in
        ["orlop_image_pulls_in_flight", "orlop_shims_lost_total", "orlop_cri_requests_in_flight{method=\"PullImage\"}"]
    {
        assert!(after[idle].abs() < f64::EPSILON, "{idle} is {}", after[idle]);
    }
}

#[test]
fn states_are_those_of_the_moment_and_nothing_healthy_is_stalled() {
    let shown = Shown::start();
    let reference = shown.surroundings.reference.clone();
    let pull = v1::PullImageRequest { image: Some(image(&reference)), ..Default::default() };
    shown.node.client().pull_image(pull).unwrap();
    let before = shown.scrape();
    let pod = Pod::run(&shown.node, "states");
    let id = pod.launch("waits", &reference, WAITS);
    let during = shown.scrape();
    let (ready, running) = ("orlop_sandboxes{state=\"ready\"}", "orlop_containers{state=\"running\"}");
    assert_rose(&before, &during, &[(ready, 1.0), (running, 1.0)]);
    pod.stop_container(&id, 10).unwrap();
    let ended = shown.scrape();
    assert_rose(&during, &ended, &[(running, -1.0), ("orlop_containers{state=\"exited\"}", 1.0)]);
    pod.remove().unwrap();
    assert_rose(&before, &shown.scrape(), &[(ready, 0.0), (running, 0.0)]);
    let stalled: Vec<_> = ended.iter().filter(|(key, _)| key.starts_with("orlop_operations_stalled{")).collect();
    assert!(stalled.len() > 10 && stalled.iter().all(|(_, count)| count.abs() < f64::EPSILON), "{stalled:?}");
}

#[test]
fn prometheus_own_tool_finds_nothing_wrong_and_scrapes_stay_small() {
    let shown = Shown::start();
    shown.live();
    let text = shown.text();
    let promtool = package("prometheus").unwrap().join("usr/bin/promtool");
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{}: {said}", checked.status);
    assert!(text.len() < SCRAPE_BYTES_MAX, "a scrape has {} bytes", text.len());

    let keys = |scrape: Scrape| scrape.into_keys().collect::<Vec<_>>();
    let first = keys(shown.scrape());
    // The same life again, with other ids: not one more number.
    shown.live();
    assert_eq!(first, keys(shown.scrape()));
    assert!(first.iter().any(|key| key.starts_with("orlop_build_info{") && key.contains("version=\"0.1.0\"")));
    assert!(first.contains(&"process_open_fds".to_owned()) && first.contains(&"process_start_time_seconds".to_owned()));
}

#[test]
fn an_address_and_port_serve_what_a_second_daemon_can_not_take() {
    let guard = Guard::new();
    let ground = guard.ground();
    let beside = guard.ground_beside(&ground);
    let listen = [("--metrics-listen", "127.0.0.1:9620")];
    let one = Node::start_on(Arc::clone(&ground), &listen);
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (status, body) = ground.http_get(loopback, 9620, "/healthz").unwrap();
    assert!(status.contains("200") && body == "ok\n", "{status} {body}");
    let (status, body) = ground.http_get(loopback, 9620, "/metrics").unwrap();
    assert!(status.contains("200") && body.contains("orlop_build_info{"), "{status} {body}");
    let (status, said) = Node::prepare(beside, &listen).start_refused();
    assert!(!status.success() && said.contains("127.0.0.1:9620") && said.contains("--metrics-listen"), "{said}");
    one.client().version(v1::VersionRequest::default()).unwrap();
}

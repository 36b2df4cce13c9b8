//! A killed daemon loses nothing: no line, no exit status, and nothing that runs notices.

use orlop_testkit::client::v1;
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{container_config, container_status};
use orlop_testkit::{Pod, wait_until};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is written, and how fast.
const LINES: usize = 100_000;
const LINES_PER_SECOND: usize = 10_000;
/// The daemon is killed when at least this many lines are written, and before the second number is.
const KILL_FROM: usize = 20_000;
const KILL_TO: usize = 80_000;
/// How long it stays away.
const AWAY: Duration = Duration::from_secs(3);
/// The longest until it serves again.
const BACK_LIMIT: Duration = Duration::from_secs(1);
/// The longest that one write of the container may be held up, in seconds: above what a busy machine does by itself, and less
/// than the absence leaves when a pipe has taken what it holds, a second's lines.
const WRITE_LIMIT: &str = "1";
/// The longest between an end and what is told of it, ns: less than the absence.
const TRUE_TIME_NS: i64 = 1_500_000_000;

#[test]
fn killed_daemon_loses_no_line_and_no_exit() {
    let mut lab = Lab::alone_with_image();
    let mut pod = Pod::run(&lab.node, "survives");
    let counter = pod.launch("counter", &lab.image(), &["/lines", "100000", "10000", WRITE_LIMIT]);
    let (exits, signal) = container_that_exits_when_told(&lab, &pod);
    let before = pod.container(&counter);

    let log = pod.log_path("counter");
    wait_until(Duration::from_secs(30), "the container has written enough", || {
        (lines(&log) >= KILL_FROM + 1_000).then_some(())
    });
    lab.node.kill();
    let at_kill = lines(&log);
    assert!((KILL_FROM..KILL_TO).contains(&at_kill), "killed at line {at_kill}");
    let told = now_ns();
    fs::write(&signal, "").unwrap();
    // The absence itself is what is tested.
    std::thread::sleep(AWAY);
    let back = now_ns();
    let at_return = lines(&log);
    let serving = lab.node.start_again();

    pod.reconnect(&lab.node);
    let first = container_status(pod.client(), &exits).unwrap();
    assert_eq!(first.state(), v1::ContainerState::ContainerExited, "its first status: {first:?}");
    assert_eq!(first.exit_code, 7);
    assert!((told..back).contains(&first.finished_at), "it ended while no daemon was there: {first:?}");
    assert!(first.finished_at - told < TRUE_TIME_NS, "the true time, not that of the discovery");
    let after = pod.container(&counter);
    assert_eq!(after.state(), v1::ContainerState::ContainerRunning);
    assert_eq!((after.started_at, after.created_at), (before.started_at, before.created_at));
    let written = at_return.saturating_sub(at_kill);
    assert!(written >= LINES_PER_SECOND * 15 / 10, "the container went on: {written} lines in {AWAY:?}");

    let end = pod.ended(&counter);
    assert_eq!(end.exit_code, 0, "3 would say that a write was held up: {:?}", pod.log("counter").last());
    let text: Vec<_> = pod.log("counter").into_iter().filter(|line| line.stream == "stdout").collect();
    assert_eq!(text.len(), LINES, "no line lost or doubled");
    for (at, line) in text.iter().enumerate() {
        assert_eq!((line.text.as_str(), line.tag.as_str()), ((at + 1).to_string().as_str(), "F"));
    }
    assert!(text.windows(2).all(|pair| pair[0].time <= pair[1].time), "times never go back");
    assert!(serving < BACK_LIMIT, "serving again after {serving:?}");
    eprintln!("killed at line {at_kill}, back at {at_return}, serving after {serving:?}");
    fs::remove_file(signal).unwrap();
}

/// A container that waits for a file of the host and then exits with 7; returns its id and the file.
fn container_that_exits_when_told(lab: &Lab, pod: &Pod) -> (String, std::path::PathBuf) {
    let folder = lab.node.ground().join("tell");
    fs::create_dir(&folder).unwrap();
    let script = "while [ ! -e /tell/now ]; do usleep 5000; done; exit 7";
    let mut config = container_config("exits", &lab.image(), &["sh", "-c", script]);
    config.mounts = vec![v1::Mount {
        container_path: "/tell".to_owned(),
        host_path: folder.display().to_string(),
        ..Default::default()
    }];
    let id = pod.create(config).unwrap();
    pod.start(&id).unwrap();
    (id, folder.join("now"))
}

fn lines(log: &Path) -> usize {
    fs::read(log).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

#[test]
fn created_and_running_containers_outlive_the_daemon_and_obey_the_next() {
    let mut lab = Lab::alone_with_image();
    let mut pod = Pod::run(&lab.node, "again");
    let running = pod.launch("running", &lab.image(), crate::WAITS);
    let created = pod.create(container_config("created", &lab.image(), &["true"])).unwrap();
    let before = pod.status();
    lab.node.kill();
    lab.node.start_again();
    pod.reconnect(&lab.node);
    let after = pod.status();
    assert_eq!(after, before, "a pod's status is the same to the last byte");
    assert_eq!(pod.container(&running).state(), v1::ContainerState::ContainerRunning);
    assert_eq!(pod.exec(&running, &["echo", "still here"]).unwrap().1, "still here\n");
    pod.start(&created).unwrap();
    assert_eq!(pod.ended(&created).exit_code, 0);
    let begun = Instant::now();
    pod.stop_container(&running, 30).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(pod.ended(&running).exit_code, 0);
}

//! Logs that are moved away while their container writes, as the kubelet does it.

use crate::{WAITS, assert_refused};
use orlop_testkit::client::v1;
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{PROGRAM_LIMIT, container_config};
use orlop_testkit::{Code, Pod, Status, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is written, ten thousand lines a second, and how often the file is moved away meanwhile.
const LINES: usize = 40_000;
const ROTATIONS: usize = 6;
/// The longest that a rotation may take beside a stop that waits.
const AT_ONCE: Duration = Duration::from_millis(100);

fn reopen(pod: &Pod, id: &str) -> Result<(), Status> {
    let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
    pod.client().reopen_container_log(request).map(|_| ())
}

/// Lines of all files, in the order in which they were written.
fn all_lines(files: &[PathBuf]) -> Vec<String> {
    let text = |file: &PathBuf| fs::read_to_string(file).unwrap_or_else(|e| panic!("read {}: {e}", file.display()));
    let texts: Vec<_> = files.iter().map(text).collect();
    for (file, text) in files.iter().zip(&texts) {
        assert!(text.is_empty() || text.ends_with('\n'), "{} ends in the middle of a line", file.display());
    }
    texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

fn moved(log: &Path, turn: usize) -> PathBuf {
    log.with_extension(format!("log.{turn}"))
}

#[test]
fn no_line_is_lost_or_doubled_while_the_log_is_moved_away_again_and_again() {
    let lab = Lab::alone_with_image();
    let pod = Pod::run(&lab.node, "rotated");
    let id = pod.launch("counter", &lab.image(), &["/lines", &LINES.to_string(), "10000", "2"]);
    let log = pod.log_path("counter");
    for turn in 0..ROTATIONS {
        wait_until(PROGRAM_LIMIT, "something is written", || (fs::metadata(&log).ok()?.len() > 100_000).then_some(()));
        fs::rename(&log, moved(&log, turn)).unwrap();
        reopen(&pod, &id).unwrap();
        assert!(log.exists(), "the new file is there when the call returns");
    }
    assert_eq!(pod.ended(&id).exit_code, 0, "no write was held up");
    let mut files: Vec<_> = (0..ROTATIONS).map(|turn| moved(&log, turn)).collect();
    files.push(log);
    let mut lines = all_lines(&files);
    // The program ends with a word of its own about how long its writes took.
    lines.retain(|line| line.contains(" stdout "));
    assert_eq!(lines.len(), LINES);
    for (at, line) in lines.iter().enumerate() {
        assert!(line.ends_with(&format!(" stdout F {}", at + 1)), "line {} is {line:?}", at + 1);
    }
}

#[test]
fn log_of_what_does_not_run_is_not_reopened_and_no_file_is_made() {
    let lab = Lab::alone_with_image();
    let pod = Pod::run(&lab.node, "not-running");
    let created = pod.create(container_config("created", &lab.image(), &["true"])).unwrap();
    assert_refused("created", reopen(&pod, &created), &[Code::FailedPrecondition], &["not been started"]);
    assert!(!pod.log_path("created").exists());
    let ended = pod.launch("ended", &lab.image(), &["true"]);
    pod.ended(&ended);
    let log = pod.log_path("ended");
    fs::remove_file(&log).unwrap();
    assert_refused("ended", reopen(&pod, &ended), &[Code::FailedPrecondition], &["not running"]);
    assert!(!log.exists());
    let mut config = container_config("silent", &lab.image(), WAITS);
    config.log_path = String::new();
    let silent = pod.create(config).unwrap();
    pod.start(&silent).unwrap();
    assert_refused("silent", reopen(&pod, &silent), &[Code::FailedPrecondition], &["without a log"]);
    assert_refused("unknown", reopen(&pod, &"f".repeat(64)), &[Code::NotFound], &["ffff"]);
}

#[test]
fn log_is_not_followed_out_of_its_folder() {
    let lab = Lab::alone_with_image();
    let pod = Pod::run(&lab.node, "linked");
    let id = pod.launch("waits", &lab.image(), WAITS);
    let (log, outside) = (pod.log_path("waits"), lab.node.ground().join("tmp/outside"));
    wait_until(PROGRAM_LIMIT, "something is written", || pod.log("waits").first().cloned());
    fs::rename(&log, moved(&log, 0)).unwrap();
    std::os::unix::fs::symlink(&outside, &log).unwrap();
    assert!(reopen(&pod, &id).is_err());
    assert!(!outside.exists());
    // The container writes on to the file that it had.
    fs::remove_file(&log).unwrap();
    reopen(&pod, &id).unwrap();
    assert!(log.exists());
}

#[test]
fn log_is_reopened_at_once_while_another_container_is_given_its_time_to_end() {
    let lab = Lab::alone_with_image();
    let pod = Pod::run(&lab.node, "beside");
    let deaf = pod.launch("deaf", &lab.image(), &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
    let id = pod.launch("waits", &lab.image(), WAITS);
    wait_until(PROGRAM_LIMIT, "the trap is set", || pod.log("deaf").first().cloned());
    let client = lab.node.client();
    let request = v1::StopContainerRequest { container_id: deaf.clone(), timeout: 60 };
    let stop = std::thread::spawn(move || client.stop_container(request));
    // The best of some: what else the machine does is not what is tested.
    let tries = (0..5).map(|turn| {
        fs::rename(pod.log_path("waits"), moved(&pod.log_path("waits"), turn)).unwrap();
        let begun = Instant::now();
        reopen(&pod, &id).unwrap();
        begun.elapsed()
    });
    let best = tries.min().unwrap();
    assert!(best < AT_ONCE, "{best:?}");
    assert_eq!(pod.container(&deaf).state(), v1::ContainerState::ContainerRunning, "its time is not over");
    pod.stop_container(&deaf, 0).unwrap();
    stop.join().unwrap().unwrap();
}

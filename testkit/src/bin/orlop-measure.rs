//! Times of the calls that make up a pod's life, over a number of pods, closed loop; and what shims take of memory.
//!
//! `orlop-measure [PODS]`: for figures, not for judgement: nothing here fails for being slow.

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

use orlop_testkit::Status;
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{Pod, container_config, pod_config};
use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How many pods, unless told.
const PODS_DEFAULT: usize = 50;
/// A program that obeys SIGTERM.
const OBEDIENT: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 60 & wait $!; done"];
/// Grace of a stop, seconds; never needed.
const GRACE_SECONDS: i64 = 10;

fn main() -> ExitCode {
    let pods = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(PODS_DEFAULT);
    match measure(pods) {
        Ok(()) => ExitCode::SUCCESS,
        Err(status) => {
            println!("{status}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<Duration>>);

impl Times {
    fn take<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T, Status>) -> Result<T, Status> {
        let begun = Instant::now();
        let done = work()?;
        self.0.entry(name).or_default().push(begun.elapsed());
        Ok(done)
    }

    fn print(&mut self) {
        for (name, times) in &mut self.0 {
            times.sort();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
            println!("{name:<18} median {:>8.2} ms   p90 {:>8.2} ms   max {:>8.2} ms", at(50), at(90), at(100));
        }
    }
}

fn measure(count: usize) -> Result<(), Status> {
    let lab = Lab::with_image();
    let image = lab.image();
    let mut times = Times::default();
    let mut pods = Vec::new();
    for n in 0..count {
        let config = pod_config(&lab.node, &format!("measured-{n}"));
        let pod = times.take("RunPodSandbox", || Pod::run_with(&lab.node, config))?;
        let config = container_config("main", &image, &OBEDIENT);
        let id = times.take("CreateContainer", || pod.create(config))?;
        times.take("StartContainer", || pod.start(&id))?;
        times.take("ExecSync true", || pod.exec(&id, &["true"]))?;
        pods.push((pod, id));
    }
    print_memory(lab.node.pid(), count);
    for (pod, id) in &pods {
        times.take("StopContainer", || pod.stop_container(id, GRACE_SECONDS))?;
        times.take("RemoveContainer", || pod.remove_container(id))?;
        times.take("StopPodSandbox", || pod.stop())?;
        times.take("RemovePodSandbox", || pod.remove())?;
    }
    println!("{count} pods of one container, closed loop, all alive at once:");
    times.print();
    Ok(())
}

/// Prints what the daemon and the shims hold for themselves: private dirty pages, and their proportional share of all.
fn print_memory(daemon: u32, count: usize) {
    let shims: Vec<_> = processes("orlop-shim").into_iter().map(memory).collect();
    let (dirty, share) = shims.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let (daemon_dirty, daemon_share) = memory(daemon);
    println!("orlopd: {daemon_dirty} kB private dirty, {daemon_share} kB PSS");
    println!("{} shims and spawner: {dirty} kB private dirty, {share} kB PSS", shims.len());
    println!("one shim: {} kB private dirty, {} kB PSS", dirty / count as u64, share / count as u64);
}

fn processes(name: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)).collect()
}

/// Returns private dirty and proportional set size, kB.
fn memory(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (field("Private_Dirty:"), field("Pss:"))
}

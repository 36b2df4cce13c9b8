//! Times of the calls of a pod's life over 50 pods, and what a shim costs: figures for closing notes, not a check.

use crate::images::{self, BUSYBOX};
use orlop_testkit::Lab;
use orlop_testkit::Pod;
use orlop_testkit::client::{image, v1};
use orlop_testkit::guard::processes;
use orlop_testkit::pod::{container_config, pod_config};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// How many pods live at once when the last is made.
const PODS: usize = 50;
/// Obeys SIGTERM at once.
const PROGRAM: &[&str] = &["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"];
/// Grace of a stop, seconds.
const GRACE_SECONDS: i64 = 30;

/// Durations of one call.
#[derive(Default)]
struct Times {
    took: Vec<Duration>,
}

impl Times {
    fn time<T, E: std::fmt::Display>(&mut self, call: impl FnOnce() -> Result<T, E>) -> io::Result<T> {
        let begun = Instant::now();
        let result = call().map_err(|e| io::Error::other(e.to_string()));
        self.took.push(begun.elapsed());
        result
    }

    fn tell(&mut self, name: &str) {
        self.took.sort();
        let at = |part: usize| self.took.get((self.took.len() - 1) * part / 100).map_or(0.0, |t| t.as_secs_f64() * 1e3);
        println!("{name:<18} median {:6.2} ms   p90 {:6.2} ms   worst {:6.2} ms", at(50), at(90), at(100));
    }
}

/// Measures and prints.
pub fn run() -> io::Result<bool> {
    let lab = Lab::with_images(&images::small()?, &images::MIRRORED)?;
    let client = lab.node.client();
    let request = v1::PullImageRequest { image: Some(image(BUSYBOX)), ..Default::default() };
    client.pull_image(request).map_err(|e| io::Error::other(e.to_string()))?;
    let (mut run, mut create, mut start, mut stop) = <(Times, Times, Times, Times)>::default();
    let (mut stop_pod, mut remove_pod) = <(Times, Times)>::default();
    let mut pods = Vec::new();
    for number in 0..PODS {
        let config = pod_config(&lab.node, &format!("figure-{number}"));
        let pod = run.time(|| Pod::run_with(&lab.node, config))?;
        let container = create.time(|| pod.create(container_config("c", BUSYBOX, PROGRAM)))?;
        start.time(|| pod.start(&container))?;
        pods.push((pod, container));
    }
    let memory = shims_memory(&lab);
    for (pod, container) in &pods {
        stop.time(|| pod.stop_container(container, GRACE_SECONDS))?;
    }
    for (pod, _) in &pods {
        stop_pod.time(|| pod.stop())?;
        remove_pod.time(|| pod.remove())?;
    }
    println!("{PODS} pods, closed loop:");
    for (times, name) in [
        (&mut run, "RunPodSandbox"),
        (&mut create, "CreateContainer"),
        (&mut start, "StartContainer"),
        (&mut stop, "StopContainer"),
        (&mut stop_pod, "StopPodSandbox"),
        (&mut remove_pod, "RemovePodSandbox"),
    ] {
        times.tell(name);
    }
    memory.tell();
    Ok(true)
}

/// What all shims take together, kB.
#[derive(Default)]
struct Memory {
    shims: u64,
    proportional_kb: u64,
    private_dirty_kb: u64,
    anonymous_kb: u64,
    daemon_kb: u64,
}

impl Memory {
    fn tell(&self) {
        let each = |kb: u64| kb / self.shims.max(1);
        println!(
            "{} shims, each: PSS {} kB, private dirty {} kB, anonymous {} kB; daemon: PSS {} kB",
            self.shims,
            each(self.proportional_kb),
            each(self.private_dirty_kb),
            each(self.anonymous_kb),
            self.daemon_kb,
        );
    }
}

fn shims_memory(lab: &Lab) -> Memory {
    let all = processes();
    let mut memory = Memory::default();
    for process in lab.guard.marks().ours(&all) {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
        };
        if process.pid == lab.node.pid() {
            memory.daemon_kb = field("Pss:");
        } else if process.name.starts_with("orlop-shim") {
            memory.shims += 1;
            memory.proportional_kb += field("Pss:");
            memory.private_dirty_kb += field("Private_Dirty:");
            memory.anonymous_kb += field("Anonymous:");
        }
    }
    memory
}

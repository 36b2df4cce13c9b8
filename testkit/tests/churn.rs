//! Three hundred pods at once, five times over: what the second time took is what the fifth takes.
#![allow(clippy::unwrap_used, reason = "this program is all tests")]

use orlop_testkit::guard::{Kind, Leak};
use orlop_testkit::pod::pod_config;
use orlop_testkit::{Client, Lab, Pod, wait_until};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pods alive at once, and how often.
const PODS: usize = 300;
const CYCLES: usize = 5;
/// Callers at a time: a kubelet has more, and two processors are busy with these.
const CALLERS: usize = 4;
/// Growth from the second cycle to the fifth that is none: the larger of these.
const GROWTH_PERCENT: u64 = 2;
const GROWTH_BYTES: u64 = 256 << 10;
/// How long what comes after the last answer may take: tasks let go, links gone, memory given back.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// Memory is still when it has changed by less than this for so long: longer than the daemon waits between two looks.
const STILL_BYTES: u64 = 32 << 10;
const STILL_FOR: Duration = Duration::from_secs(12);
/// A program that says that it runs, and ends when told.
const SAYS: &[&str] = &["sh", "-c", "trap 'exit 0' TERM; echo it runs; while :; do sleep 60 & wait $!; done"];

/// What a daemon has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Has {
    anonymous_bytes: u64,
    descriptors: usize,
}

#[test]
fn five_cycles_of_three_hundred_pods_leave_the_daemon_as_the_second_did() {
    let lab = Lab::alone_with_image();
    let mut after = Vec::new();
    let mut clean = None;
    for cycle in 1..=CYCLES {
        let begun = Instant::now();
        let pods = run_all(&lab);
        let up = begun.elapsed();
        let addresses: BTreeSet<_> = pods.iter().map(Pod::address).collect();
        assert_eq!(addresses.len(), PODS, "each has an address of its own");
        assert_all_said_so(&pods);
        let alive = has(lab.node.pid());
        let begun = Instant::now();
        each(&pods, |pod| {
            pod.stop().unwrap();
            pod.remove().unwrap();
        });
        let down = begun.elapsed();
        drop(pods);
        // Waiting for the last of it takes longer than all the rest: only where it is compared.
        let compared = cycle == 2 || cycle == CYCLES;
        let now = if compared { settled(&lab) } else { has(lab.node.pid()) };
        tell(&format!(
            "cycle {cycle}: {PODS} pods up in {up:.1?}, with them {alive:?}; down in {down:.1?}, without {now:?}\n"
        ));
        after.push(now);
        // Bridge, table and folders come with the first pod and stay.
        let clean = clean.get_or_insert_with(|| lab.guard.now());
        let mut leaks = lab.guard.differences_but(clean, &[Kind::Sysctl]);
        // A link may have been on its way out when that was noted.
        leaks.retain(|leak| !matches!(leak, Leak::Missing(_)));
        assert!(leaks.is_empty(), "cycle {cycle}: {leaks:#?}");
    }
    let (second, fifth) = (after[1], after[CYCLES - 1]);
    assert!(no_growth(second, fifth), "the daemon grows: {after:#?}");
}

fn no_growth(second: Has, fifth: Has) -> bool {
    let allowed = (second.anonymous_bytes * GROWTH_PERCENT / 100).max(GROWTH_BYTES);
    fifth.anonymous_bytes <= second.anonymous_bytes + allowed && fifth.descriptors <= second.descriptors
}

/// Runs every pod with a container in it, some at a time.
fn run_all(lab: &Lab) -> Vec<Pod> {
    let next = AtomicUsize::new(0);
    let pods = Mutex::new(Vec::with_capacity(PODS));
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let client = lab.node.client();
                while let number @ 0..PODS = next.fetch_add(1, Ordering::Relaxed) {
                    let pod = run(lab, &client, number);
                    pods.lock().unwrap_or_else(PoisonError::into_inner).push(pod);
                }
            });
        }
    });
    pods.into_inner().unwrap()
}

fn run(lab: &Lab, client: &Client, number: usize) -> Pod {
    let pod = Pod::run_over(client, pod_config(&lab.node, &format!("p{number}"))).unwrap();
    pod.launch("main", &lab.image(), SAYS);
    pod
}

/// Does something with every pod, some at a time.
fn each(pods: &[Pod], work: impl Fn(&Pod) + Sync) {
    let share = pods.len().div_ceil(CALLERS);
    std::thread::scope(|scope| {
        for share in pods.chunks(share) {
            scope.spawn(|| share.iter().for_each(&work));
        }
    });
}

fn assert_all_said_so(pods: &[Pod]) {
    for pod in pods {
        let said = || fs::read_to_string(pod.log_path("main")).is_ok_and(|log| log.contains("it runs"));
        wait_until(SETTLE_LIMIT, "the container has logged", || said().then_some(()));
    }
}

/// Waits until the daemon has let go of what pods that have gone left to it, and returns what it has then.
fn settled(lab: &Lab) -> Has {
    let pid = lab.node.pid();
    let mut last = (Instant::now(), has(pid));
    wait_until(SETTLE_LIMIT, "the daemon's memory no longer changes", || {
        let now = has(pid);
        let changed =
            now.descriptors != last.1.descriptors || now.anonymous_bytes.abs_diff(last.1.anonymous_bytes) > STILL_BYTES;
        if changed {
            last = (Instant::now(), now);
        }
        (last.0.elapsed() > STILL_FOR).then_some(())
    });
    has(pid)
}

fn has(pid: u32) -> Has {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let anonymous = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    let kilobytes: u64 = anonymous.trim().trim_end_matches("kB").trim().parse().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Has { anonymous_bytes: kilobytes << 10, descriptors }
}

/// Tells figures past the harness, which would keep them for itself.
fn tell(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

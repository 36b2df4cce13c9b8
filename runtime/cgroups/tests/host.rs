//! On the node's own hierarchies, each test in a subtree of its own that its guard removes.

#![allow(clippy::unwrap_used, reason = "tests, their helpers included")]

use orlop_cgroups::limits::{Limits, writes};
use orlop_cgroups::{CgroupPath, Hierarchies, Leaf, Mode, remove_tree};
use orlop_wire::plan::{CgroupWrite, Missing};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A cgroup of the test's own, and the processes it started.
struct Subtree {
    hierarchies: Hierarchies,
    top: CgroupPath,
    children: Vec<Child>,
}

impl Subtree {
    /// `None`, with the reason printed, where cgroups can't be made.
    fn new(name: &str) -> Option<Self> {
        let hierarchies = Hierarchies::detect().unwrap();
        let top = CgroupPath::parse(&format!("/orlop-cgroups-test-{}-{name}", std::process::id())).unwrap();
        let subtree = Self { hierarchies, top, children: Vec::new() };
        match Leaf::create(&subtree.hierarchies, &subtree.top) {
            Ok(_) => Some(subtree),
            Err(error) => {
                let mut out = std::io::stderr();
                writeln!(out, "SKIPPED {name}: no cgroup can be made here: {error}").unwrap();
                None
            }
        }
    }

    fn path(&self, name: &str) -> CgroupPath {
        CgroupPath::parse(&format!("{}/{name}", self.top)).unwrap()
    }

    fn leaf(&self, name: &str) -> Leaf {
        Leaf::create(&self.hierarchies, &self.path(name)).unwrap()
    }

    /// Starts a program and moves it into a cgroup; it begins when it is in.
    fn start(&mut self, leaf: &Leaf, script: &str) -> u32 {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        for fd in leaf.entry_fds().unwrap() {
            std::fs::File::from(fd).write_all(pid.to_string().as_bytes()).unwrap();
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        self.children.push(child);
        pid
    }

    fn folders(&self) -> Vec<PathBuf> {
        let all = self.hierarchies.v1.iter().chain(&self.hierarchies.unified);
        all.map(|h| h.mount.join(&self.top.as_str()[1..])).filter(|folder| folder.exists()).collect()
    }
}

impl Drop for Subtree {
    fn drop(&mut self) {
        let removed = remove_tree(&self.hierarchies, &self.top);
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            removed.unwrap();
            assert_eq!(self.folders(), Vec::<PathBuf>::new());
        }
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10), "waited 10 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn killed_cgroup_is_empty_with_its_forks_and_children_and_removal_is_quiet_twice() {
    let Some(mut subtree) = Subtree::new("kill") else { return };
    let (leaf, below) = (subtree.leaf("a"), subtree.leaf("a/b/c"));
    let first = subtree.start(&leaf, "sleep 600 & sleep 600 & wait");
    let nested = subtree.start(&below, "sleep 600");
    wait_until(|| leaf.procs().unwrap().len() >= 4);
    assert!(leaf.procs().unwrap().contains(&first) && leaf.procs().unwrap().contains(&nested));

    leaf.kill().unwrap();
    assert_eq!(leaf.procs().unwrap(), Vec::<u32>::new());
    leaf.kill().unwrap();

    let path = leaf.path().clone();
    leaf.remove().unwrap();
    assert!(Leaf::open(&subtree.hierarchies, &path).unwrap().is_none());
    remove_tree(&subtree.hierarchies, &path).unwrap();
    // The handle below outlives its folders, and is quiet about it.
    below.kill().unwrap();
    below.remove().unwrap();
}

#[test]
fn process_that_left_the_unified_tree_is_killed_all_the_same() {
    let Some(mut subtree) = Subtree::new("stray") else { return };
    if subtree.hierarchies.mode() != Mode::Hybrid {
        return;
    }
    let leaf = subtree.leaf("a");
    let pid = subtree.start(&leaf, "sleep 600 & wait");
    let unified = subtree.hierarchies.unified.as_ref().unwrap().mount.join("cgroup.procs");
    std::fs::write(unified, pid.to_string()).unwrap();
    leaf.kill().unwrap();
    assert_eq!(leaf.procs().unwrap(), Vec::<u32>::new());
}

#[test]
fn frozen_process_stands_still_and_can_be_killed() {
    let Some(mut subtree) = Subtree::new("freeze") else { return };
    let leaf = subtree.leaf("a");
    subtree.start(&leaf, "while :; do :; done");
    leaf.freeze().unwrap();
    leaf.freeze().unwrap();
    leaf.thaw().unwrap();
    leaf.freeze().unwrap();
    leaf.kill().unwrap();
    assert_eq!(leaf.procs().unwrap(), Vec::<u32>::new());
    leaf.thaw().unwrap();
}

#[test]
fn limits_reach_the_kernel_and_the_rest_is_tolerated() {
    let Some(subtree) = Subtree::new("limits") else { return };
    let leaf = subtree.leaf("deep/er");
    let limits = Limits {
        cpu_shares: Some(512),
        cpu_quota_us: Some(20_000),
        cpu_period_us: Some(50_000),
        memory_bytes_max: Some(64 << 20),
        memory_swap_bytes_max: Some(64 << 20),
        pids_max: Some(77),
        cpuset_cpus: "0".into(),
        hugepage_bytes_max: [("2MB".to_owned(), 0)].into(),
        ..Limits::default()
    };
    for write in writes(&subtree.hierarchies.layout(), &limits).unwrap() {
        leaf.write(&write).unwrap();
    }
    let read = |controller: &str, v1: &str, v2: &str| {
        let v1_mount = subtree.hierarchies.v1.iter().find(|h| h.controllers.iter().any(|c| c == controller));
        let (mount, file) = match v1_mount {
            Some(hierarchy) => (&hierarchy.mount, v1),
            None => (&subtree.hierarchies.unified.as_ref().unwrap().mount, v2),
        };
        std::fs::read_to_string(mount.join(&leaf.path().as_str()[1..]).join(file)).unwrap().trim().to_owned()
    };
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(read("pids", "pids.max", "pids.max"), "77");
    assert_eq!(read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");

    let missing =
        |missing| CgroupWrite { controller: "rdma".into(), file: "rdma.max".into(), value: "1".into(), missing };
    leaf.write(&missing(Missing::Ignore)).unwrap();
    let refused = leaf.write(&missing(Missing::Fail)).unwrap_err().to_string();
    assert!(refused.contains("rdma"), "{refused}");
    let outside =
        CgroupWrite { controller: String::new(), file: "../x".into(), value: "1".into(), missing: Missing::Fail };
    assert!(leaf.write(&outside).is_err());
}

#[test]
fn oom_kill_is_counted() {
    let Some(mut subtree) = Subtree::new("oom") else { return };
    let leaf = subtree.leaf("a");
    let limits =
        Limits { memory_bytes_max: Some(16 << 20), memory_swap_bytes_max: Some(16 << 20), ..Limits::default() };
    for write in writes(&subtree.hierarchies.layout(), &limits).unwrap() {
        leaf.write(&write).unwrap();
    }
    assert_eq!(leaf.oom_kills().unwrap(), Some(0));
    subtree.start(&leaf, "tail /dev/zero");
    wait_until(|| leaf.oom_kills().unwrap() >= Some(1));
}

//! On the node's own hierarchies, each test in a subtree of its own that its guard removes.

#![allow(clippy::unwrap_used, reason = "tests, their helpers included")]

use orlop_cgroups::limits::{DeviceKind, DeviceRule, Limits, change, writes};
use orlop_cgroups::{CgroupPath, Hierarchies, Leaf, Mode, devices, remove_tree};
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
                skip(name, &format!("no cgroup can be made here: {error}"));
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

/// How long anything may take in a test, also on a slow machine.
const WITHIN: Duration = Duration::from_secs(30);

fn wait_until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < WITHIN, "waited {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Tells the house ring of a test that can't run here, beside who reads along.
fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    if let Some(path) = std::env::var_os("ORLOP_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(format!("{test}: {reason}\n").as_bytes()).unwrap();
    }
}

#[test]
fn killed_cgroup_is_empty_with_its_forks_and_children_and_removal_is_quiet_twice() {
    let Some(mut subtree) = Subtree::new("kill") else { return };
    let leaf = subtree.leaf("a");
    let first = subtree.start(&leaf, "sleep 600 & sleep 600 & wait");
    // As a privileged container nests: on v2 a cgroup that has processes hands no controllers down.
    let below = subtree.leaf("a/b/c");
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
    let layout = subtree.hierarchies.layout();
    let has = |controller: &str| layout.v1.contains(controller) || layout.unified.contains(controller);
    let limits = Limits {
        cpu_shares: Some(512),
        cpu_quota_us: Some(20_000),
        cpu_period_us: Some(50_000),
        memory_bytes_max: Some(64 << 20),
        memory_swap_bytes_max: Some(64 << 20),
        pids_max: Some(77),
        // User-mode Linux has no cpuset.
        cpuset_cpus: if has("cpuset") { "0".into() } else { String::new() },
        hugepage_bytes_max: [("2MB".to_owned(), 0)].into(),
        ..Limits::default()
    };
    for write in writes(&layout, &limits).unwrap() {
        leaf.write(&write).unwrap();
    }
    let read = |controller: &str, v1: &str, v2: &str| read(&subtree, &leaf, controller, v1, v2);
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(read("pids", "pids.max", "pids.max"), "77");
    if has("cpuset") {
        assert_eq!(read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    }
    if layout.is_v2() {
        assert_eq!(read("cpu", "", "cpu.weight"), orlop_cgroups::limits::weight_of_shares(512).to_string());
        assert_eq!(read("cpu", "", "cpu.max"), "20000 50000");
    }

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

fn device(allow: bool, minor: Option<u32>, access: &str) -> DeviceRule {
    let (kind, major) = if minor.is_some() { (DeviceKind::Char, Some(1)) } else { (DeviceKind::All, None) };
    DeviceRule { allow, kind, major, minor, access: access.to_owned() }
}

#[test]
fn device_program_lets_a_process_use_what_its_rules_allow_and_is_replaced_at_once() {
    let test = "device_program_lets_a_process_use_what_its_rules_allow_and_is_replaced_at_once";
    let Some(mut subtree) = Subtree::new("devices") else { return };
    if let Err(error) = devices::can_be_enforced() {
        return skip(test, &format!("this kernel takes no device programs: {error}"));
    }
    let dir = tempfile::tempdir().unwrap();
    let leaf = subtree.leaf("a");
    let mut used = |rules: &[DeviceRule], name: &str| {
        leaf.set_device_program(&devices::program(rules).unwrap()).unwrap();
        let said = dir.path().join(name);
        let script = format!(
            "exec >{0} 2>{0}.err; true </dev/null && echo null; true </dev/zero && echo zero; \
             mknod {0}.node c 1 5 && echo made; true <{0}.node && echo used; echo end",
            said.display()
        );
        subtree.start(&leaf, &script);
        wait_until(|| std::fs::read_to_string(&said).is_ok_and(|text| text.ends_with("end\n")));
        let text = std::fs::read_to_string(&said).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let nothing = || device(false, None, "rwm");
    assert_eq!(used(&[nothing(), device(true, Some(3), "rw")], "one"), ["null", "end"]);
    assert_eq!(used(&[nothing(), device(true, Some(5), "m")], "two"), ["made", "end"]);
    assert_eq!(used(&[device(false, Some(3), "r")], "three"), ["zero", "made", "used", "end"]);
    assert_eq!(used(&[], "four"), ["null", "zero", "made", "used", "end"]);
}

#[test]
fn kernel_takes_a_program_of_as_many_rules_as_may_be() {
    if let Err(error) = devices::can_be_enforced() {
        let test = "kernel_takes_a_program_of_as_many_rules_as_may_be";
        return skip(test, &format!("this kernel takes no device programs: {error}"));
    }
    let Some(subtree) = Subtree::new("many-rules") else { return };
    let numbers = 0..u32::try_from(devices::RULES_MAX).unwrap();
    let rules: Vec<_> = numbers.map(|minor| device(minor % 2 == 0, Some(minor), "rw")).collect();
    subtree.leaf("a").set_device_program(&devices::program(&rules).unwrap()).unwrap();
}

/// Returns a file of a cgroup, v1's where the controller is there.
fn read(subtree: &Subtree, leaf: &Leaf, controller: &str, v1: &str, v2: &str) -> String {
    let has = |h: &&orlop_cgroups::Hierarchy| h.controllers.iter().any(|c| c == controller);
    let (mount, file) = match subtree.hierarchies.v1.iter().find(has) {
        Some(hierarchy) => (&hierarchy.mount, v1),
        None => (&subtree.hierarchies.unified.as_ref().unwrap().mount, v2),
    };
    std::fs::read_to_string(mount.join(&leaf.path().as_str()[1..]).join(file)).unwrap().trim().to_owned()
}

#[test]
fn a_change_that_is_refused_in_part_leaves_every_file_as_it_was() {
    let Some(subtree) = Subtree::new("apply") else { return };
    let leaf = subtree.leaf("a");
    let layout = subtree.hierarchies.layout();
    let old =
        Limits { cpu_shares: Some(512), memory_bytes_max: Some(64 << 20), pids_max: Some(9), ..Limits::default() };
    leaf.write_all(&writes(&layout, &old).unwrap()).unwrap();
    let now = || {
        [
            read(&subtree, &leaf, "cpu", "cpu.shares", "cpu.weight"),
            read(&subtree, &leaf, "memory", "memory.limit_in_bytes", "memory.max"),
            read(&subtree, &leaf, "pids", "pids.max", "pids.max"),
        ]
    };
    let before = now();
    let new =
        Limits { cpu_shares: Some(900), memory_bytes_max: Some(32 << 20), pids_max: Some(8), ..Limits::default() };
    let mut changes = change(&layout, &old, &new).unwrap();
    // Refused at the end, when all the others are written.
    changes.push(CgroupWrite {
        controller: changes.last().unwrap().controller.clone(),
        file: "pids.max".into(),
        value: "many".into(),
        missing: Missing::Fail,
    });
    let refused = leaf.write_all(&changes).unwrap_err();
    assert!(refused.to_string().contains("many") && refused.to_string().contains("pids.max"), "{refused}");
    assert_eq!(now(), before);
    changes.pop();
    leaf.write_all(&changes).unwrap();
    assert_ne!(now(), before);
}

#[test]
fn memory_can_not_be_lowered_below_what_is_in_use_on_v1() {
    let Some(mut subtree) = Subtree::new("lower") else { return };
    let leaf = subtree.leaf("a");
    if !subtree.hierarchies.layout().v1.contains("memory") {
        return;
    }
    let roomy = Limits { memory_bytes_max: Some(64 << 20), memory_swap_bytes_max: Some(64 << 20), ..Limits::default() };
    leaf.write_all(&writes(&subtree.hierarchies.layout(), &roomy).unwrap()).unwrap();
    // Holds 16 MiB that can't be written anywhere: there is no swap to have.
    subtree.start(&leaf, "x=$(head -c 16777216 /dev/zero | tr '\\0' x); sleep 600");
    wait_until(|| leaf.usage().unwrap().memory.unwrap().anon >= 16 << 20);
    let tight = Limits {
        cpu_shares: Some(900),
        memory_bytes_max: Some(8 << 20),
        memory_swap_bytes_max: Some(8 << 20),
        ..Limits::default()
    };
    let refused = leaf.write_all(&change(&subtree.hierarchies.layout(), &roomy, &tight).unwrap()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(16), "busy: {refused}");
    assert_eq!(read(&subtree, &leaf, "memory", "memory.limit_in_bytes", ""), (64 << 20).to_string());
    assert_eq!(read(&subtree, &leaf, "cpu", "cpu.shares", ""), "1024");
}

#[test]
fn what_a_cgroup_uses_grows_with_what_its_processes_do() {
    let Some(mut subtree) = Subtree::new("usage") else { return };
    let leaf = subtree.leaf("a");
    let idle = leaf.usage().unwrap();
    assert_eq!((idle.cpu_ns, idle.tasks), (Some(0), Some(0)));
    subtree.start(&leaf, "x=$(head -c 4194304 /dev/zero | tr '\\0' x); while :; do :; done");
    wait_until(|| leaf.usage().unwrap().cpu_ns > Some(50_000_000));
    wait_until(|| leaf.usage().unwrap().memory.unwrap().anon >= 4 << 20);
    // The programs that filled its memory end after that.
    wait_until(|| leaf.usage().unwrap().tasks == Some(1));
    let busy = leaf.usage().unwrap();
    let memory = busy.memory.unwrap();
    assert!(memory.usage >= 4 << 20 && memory.faults > 0, "{memory:?}");
    assert_eq!(memory.limit, None);
    if std::path::Path::new("/proc/pressure/cpu").exists() && subtree.hierarchies.unified.is_some() {
        assert!(busy.cpu_pressure.is_some() && busy.memory_pressure.is_some() && busy.io_pressure.is_some());
    }
    leaf.kill().unwrap();
    assert!(leaf.usage().unwrap().cpu_ns >= busy.cpu_ns, "what was used stays counted");
}

//! Specs made here, planned, and run by the real runner on the real kernel: what a program then finds.
//!
//! Needs root. Every container is made of the node's own `/usr` on an empty tmpfs, in a cgroup of its own.

#![allow(clippy::unwrap_used, reason = "tests, their helpers included")]
#![allow(clippy::print_stdout, reason = "this is its own test harness")]

mod world;

use orlop_cgroups::{CgroupPath, Hierarchies, Leaf, remove_tree};
use orlop_exec::{Failure, Launched, Outcome, Prepared, Stage, Surroundings};
use orlop_model::container::{
    DeviceKind, DeviceRule, Mount, MountAccess, MountDepth, MountFlags, NamespaceMode, Process, RootfsAccess, Tmpfs,
    TmpfsAccess,
};
use orlop_plan::compile::{self, Compiled, Facts};
use orlop_plan::rlimit::HardLimits;
use orlop_plan::seccomp::Cache;
use orlop_spec::{ResolvedUser, SandboxFiles, container, exec};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use world::World;

/// What a program may take before its test fails.
const WITHIN: Duration = Duration::from_secs(20);

type Test = fn(&mut Node);

const TESTS: [(&str, Test); 8] = [
    ("ordinary_container_finds_what_it_should_and_nothing_else", ordinary),
    ("privileged_root_may_do_what_others_may_not", privileged),
    ("no_new_privileges_and_a_read_only_root_hold", locked),
    ("program_run_in_a_container_sees_what_the_container_sees", joined),
    ("program_that_is_not_there_fails_as_such", missing_program),
    ("file_systems_in_memory_and_mounts_are_as_restricted_as_asked_for", restricted_mounts),
    ("init_passes_signals_on_reaps_orphans_and_ends_as_its_program_does", with_init),
    ("init_has_nothing_of_the_node", bare_init),
];

fn main() {
    let mut node = match Node::new() {
        Ok(node) => node,
        Err(why) => {
            println!("SKIPPED: {why}");
            println!("test result: ok. 0 passed; 0 failed; {} ignored; 0 measured; 0 filtered out", TESTS.len());
            return;
        }
    };
    let wanted = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')).unwrap_or_default();
    let chosen: Vec<_> = TESTS.iter().filter(|(name, _)| name.contains(&wanted)).collect();
    for (name, test) in &chosen {
        test(&mut node);
        println!("test {name} ... ok");
    }
    println!("test result: ok. {} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", chosen.len());
}

// === The tests ===

fn ordinary(node: &mut Node) {
    let mut world = node.world();
    world.container.mounts.push(node.mount("/data", "data", MountAccess::ReadOnly));
    let found = node.run(
        &world,
        r#"
        echo id=$(id -u):$(id -g):$(id -G)
        echo host=$(uname -n)
        echo where=$PWD:$HOME:$HOSTNAME
        echo pid=$$
        echo umask=$(umask)
        echo score=$(cat /proc/self/oom_score_adj)
        echo seccomp=$(sed -n 's/^Seccomp:\t//p' /proc/self/status)
        echo caps=$(sed -n 's/^Cap\(Inh\|Prm\|Eff\|Bnd\|Amb\):\t//p' /proc/self/status)
        echo memory=$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max)
        echo interrupts=$(wc -c < /proc/interrupts)
        echo firmware=$(ls -A /sys/firmware | wc -l)
        echo devices=$(ls /dev)
        echo links=$(readlink /dev/stdin):$(readlink /dev/ptmx)
        echo hosts=$(cat /etc/hosts)
        echo data=$(cat /data/word)
        echo fds=$(ls /proc/self/fd | wc -l)
        echo shm=$(stat -f -c %T /dev/shm)
        try() { "$@" > /dev/null 2>&1 && echo yes || echo no; }
        echo may=$(try touch /data/x)$(try touch /sys/fs/cgroup/x)$(try sh -c 'echo x > /proc/sys/kernel/domainname')
        echo spaces=$(try unshare -U true)$(try unshare -n true)
        echo null=$(try sh -c 'echo x > /dev/null && head -c1 /dev/zero')
        "#,
    );
    let mut expected = vec![
        ("id", "1000:1000:1000 2000"),
        ("host", "pod"),
        ("where", "/srv/app:/home/me:pod"),
        ("pid", "1"),
        ("umask", "0022"),
        ("score", "985"),
        ("seccomp", "2"),
        // Not root: nothing but the bounding set is left after execve. 14 capabilities.
        ("caps", "0000000000000000 0000000000000000 0000000000000000 00000000a80425fb 0000000000000000"),
        ("memory", "67108864"),
        ("interrupts", "0"),
        ("firmware", "0"),
        ("devices", "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"),
        ("links", "/proc/self/fd/0:pts/ptmx"),
        ("hosts", "127.0.0.1 localhost"),
        ("data", "kept"),
        // Standard input, output, error, and the folder that ls reads.
        ("fds", "4"),
        ("shm", "tmpfs"),
        ("may", "nonono"),
        ("spaces", "nono"),
        ("null", "yes"),
    ];
    expected.sort_unstable();
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
}

fn privileged(node: &mut Node) {
    let mut world = node.world();
    world.container.security.privileged = true;
    world.user = ResolvedUser { home: "/root".into(), groups: vec![0], ..ResolvedUser::default() };
    let found = node.run(
        &world,
        r#"
        echo seccomp=$(sed -n 's/^Seccomp:\t//p' /proc/self/status)
        echo caps=$(sed -n 's/^Cap\(Eff\|Bnd\):\t//p' /proc/self/status | uniq)
        try() { "$@" > /dev/null 2>&1 && echo yes || echo no; }
        echo may=$(try mount -t tmpfs none /srv)$(try sh -c 'echo x > /proc/sys/kernel/domainname')
        echo fuse=$(stat -c %t:%T:%a:%g /dev/fuse)
        "#,
    );
    let held = format!("{:016x}", node.capabilities & orlop_plan::capability::ALL);
    assert_eq!((found["seccomp"].as_str(), found["caps"].as_str()), ("0", held.as_str()));
    assert_eq!((found["may"].as_str(), found["fuse"].as_str()), ("yesyes", "a:e5:660:6"));
}

fn locked(node: &mut Node) {
    let mut world = node.world();
    world.container.security.no_new_privileges = true;
    world.container.rootfs = RootfsAccess::ReadOnly;
    world.container.process.working_dir = "/data".into();
    world.container.mounts.push(node.mount("/data", "data", MountAccess::ReadOnlyRecursive));
    world.user = ResolvedUser { home: "/root".into(), groups: vec![0], ..ResolvedUser::default() };
    let found = node.run(
        &world,
        r#"
        echo status=$(sed -n 's/^\(NoNewPrivs\|Seccomp\):\t//p' /proc/self/status)
        echo where=$PWD:$(cat word)
        try() { "$@" > /dev/null 2>&1 && echo yes || echo no; }
        echo may=$(try touch /x)$(try touch /etc/hosts)$(try touch /data/x)$(try touch /dev/shm/x)$(try /usr/sbin/chroot / true)
        "#,
    );
    assert_eq!((found["status"].as_str(), found["where"].as_str()), ("1 2", "/data:kept"));
    assert_eq!(found["may"], "nononoyesyes");
}

fn joined(node: &mut Node) {
    let mut world = node.world();
    // No shell, which would be one for a moment.
    world.container.process.command = ["sleep", "600"].map(str::to_owned).to_vec();
    let first = node.start_spec(&world);
    let process = first.launched.child.pidfd.as_fd();
    let spec = exec(&world.inputs(), &script("echo host=$(uname -n); echo id=$(id -u); echo first=$(cat /proc/1/comm); echo self=$(cat /proc/self/cgroup | grep -c ':/$'); echo where=$PWD"), None).unwrap();
    let compiled = node.with_facts(|facts| compile::exec(&spec, world.container_id.as_str(), facts)).unwrap();
    let joins = compiled.plan.join.iter().map(|_| process).collect();
    let second = node.launch(compiled, Vec::new(), joins);
    let found = second.finish();
    assert_eq!((found["host"].as_str(), found["id"].as_str(), found["first"].as_str()), ("pod", "1000", "sleep"));
    assert_eq!(found["where"], "/srv/app");
    // It is in the container's cgroup, which its namespace shows as the root of every hierarchy that has one.
    let hierarchies = node.hierarchies.v1.len() + usize::from(node.hierarchies.unified.is_some());
    assert!(found["self"].parse::<usize>().unwrap() >= hierarchies, "{found:?}");
    first.kill();
}

fn missing_program(node: &mut Node) {
    let mut world = node.world();
    world.container.process.command = vec!["not-there".into()];
    let started = node.start_spec(&world);
    assert_eq!(started.outcome, Outcome::Failed(Failure { stage: Stage::Exec, errno: libc::ENOENT }));
    started.reap();
}

fn restricted_mounts(node: &mut Node) {
    let mut world = node.world();
    world.user = ResolvedUser { home: "/root".into(), groups: vec![0], ..ResolvedUser::default() };
    let tmpfs = |target: &str| Tmpfs::new(target);
    world.container.rootfs = RootfsAccess::ReadOnly;
    world.container.tmpfs = vec![
        Tmpfs { bytes_max: Some(1 << 20), mode: Some(0o750), owner: Some((7, 8)), ..tmpfs("/small") },
        Tmpfs { access: TmpfsAccess::ReadOnly, flags: MountFlags::default(), ..tmpfs("/ro") },
        tmpfs("/covered"),
        tmpfs("/fresh"),
        Tmpfs { bytes_max: Some(1 << 20), ..tmpfs("/dev/shm") },
    ];
    world.container.mounts.push(Mount {
        flags: MountFlags::ALL,
        depth: MountDepth::Single,
        ..node.bind("/data", "data")
    });
    world.container.device_rules =
        vec![DeviceRule { kind: DeviceKind::Char, major: Some(10), minor: Some(200), permissions: "rw".into() }];
    world.container.security.capabilities_add = vec!["MKNOD".into()];
    let found = node.run(
        &world,
        r#"
        try() { "$@" > /dev/null 2>&1 && echo yes || echo no; }
        options() { sed -n "s,^[^ ]* $1 [^ ]* \([^ ]*\) .*,\1,p" /proc/self/mounts; }
        echo small=$(options /small)
        echo owner=$(stat -c %u:%g:%a /small)
        echo fits=$(try head -c 900000 /dev/zero)$(try sh -c 'head -c 1200000 /dev/zero > /small/x')
        echo ro=$(options /ro):$(try touch /ro/x)
        echo modes=$(stat -c %a /covered):$(stat -c %a /fresh)
        echo shm=$(options /dev/shm)
        echo data=$(options /data):$(cp /usr/bin/true /data/prog && try /data/prog):$(rm /data/prog)
        mknod /small/tun c 10 200; mknod /dev/tun c 10 200; mknod /dev/ptp c 10 201
        open() { sh -c ": < $1" 2>&1 | sed -n 's/.*: //p'; }
        echo devices=$(open /small/tun):$(open /dev/ptp)
        "#,
    );
    assert_eq!(found["small"], "rw,nosuid,nodev,noexec,relatime,size=1024k,mode=750,uid=7,gid=8");
    assert_eq!((found["owner"].as_str(), found["fits"].as_str()), ("7:8:750", "yesno"));
    assert_eq!(found["ro"], "ro,relatime:no");
    // What is there keeps its permission bits; where nothing is, everybody may write, as in every /tmp.
    assert_eq!(found["modes"], "711:1777");
    assert!(found["shm"].starts_with("rw,nosuid,nodev,noexec") && found["shm"].contains("size=1024k"), "{found:?}");
    assert!(found["data"].starts_with("rw,nosuid,nodev,noexec") && found["data"].ends_with(":no:"), "{found:?}");
    // The one may not be opened for its file system, the other for its number.
    assert_eq!(found["devices"], "Permission denied:Operation not permitted");
}

fn with_init(node: &mut Node) {
    let mut world = node.world();
    world.container.process.init = true;
    let started = node.start(
        &world,
        r#"
        echo me=$$:$(cat /proc/1/comm)
        # An orphan: its parent ends at once.
        (sleep 0.05 & echo orphan=$!)
        trap 'echo got=usr1; exit 7' USR1
        echo ready=yes
        while :; do sleep 0.01; done
        "#,
    );
    started.wait_for("ready=yes");
    let orphan: u32 = started.said()["orphan"].parse().unwrap();
    started.wait_until("the orphan is reaped", |started| {
        let pid = started.launched.child.pid;
        !std::fs::exists(format!("/proc/{pid}/root/proc/{orphan}")).unwrap()
    });
    pidfd_send_signal(&started.launched.child.pidfd, Signal::USR1).unwrap();
    let (found, code) = started.finish_with_code();
    assert_eq!((found["got"].as_str(), code), ("usr1", Some(7)));
    assert_eq!(found["me"].split_once(':').unwrap().1, "orlop-init");

    let started = node.start(&world, "kill -KILL $$");
    assert_eq!(started.finish_with_code().1, Some(137));
    world.container.process.command = vec!["not-there".into()];
    let started = node.start_spec(&world);
    assert_eq!(started.outcome, Outcome::Failed(Failure { stage: Stage::Exec, errno: libc::ENOENT }));
    started.reap();
}

fn bare_init(node: &mut Node) {
    let mut world = node.world();
    world.container.process.init = true;
    world.container.security.capabilities_add = vec!["ALL".into()];
    world.user = ResolvedUser { home: "/root".into(), groups: vec![0], ..ResolvedUser::default() };
    let found = node.run(
        &world,
        r#"
        status() { sed -n "s/^$1:	//p" /proc/1/status; }
        echo fds=$(ls /proc/1/fd | wc -l)
        echo root=$(ls /proc/1/root | grep -c work)
        echo caps=$(status CapPrm):$(status CapEff):$(status CapBnd):$(status CapInh)
        echo locked=$(status NoNewPrivs):$(status Seccomp)
        echo mine=$(sed -n "s/^CapEff:	//p" /proc/self/status)
        "#,
    );
    assert_eq!((found["fds"].as_str(), found["root"].as_str(), found["locked"].as_str()), ("0", "0", "1:2"));
    let (kill, none) = ("0000000000000020", "0000000000000000");
    assert_eq!(found["caps"], format!("{kill}:{kill}:{none}:{none}"));
    assert_ne!(found["mine"], kill);
}

// === What they stand on ===

/// This node, with a folder and a cgroup of the tests' own.
struct Node {
    hierarchies: Hierarchies,
    capabilities: u64,
    cgroup: CgroupPath,
    dir: tempfile::TempDir,
    profiles: Cache,
    proc: OwnedFd,
    pid_namespace: OwnedFd,
    null: OwnedFd,
}

/// A container that was started.
struct Started {
    launched: Launched,
    outcome: Outcome,
    output: std::fs::File,
}

impl Node {
    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("namespaces and mounts need root".into());
        }
        let hierarchies = Hierarchies::detect().map_err(|error| error.to_string())?;
        let cgroup = CgroupPath::parse(&format!("/orlop-spec-test-{}", std::process::id())).unwrap();
        drop(Leaf::create(&hierarchies, &cgroup).map_err(|error| error.to_string())?);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("hosts", "127.0.0.1 localhost\n"), ("resolv.conf", ""), ("hostname", "pod\n")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::write(dir.path().join("data/word"), "kept\n").unwrap();
        let open = |path: &str, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Ok(Self {
            hierarchies,
            capabilities: u64::from_str_radix(held.trim(), 16).unwrap(),
            cgroup,
            dir,
            profiles: Cache::default(),
            proc: open("/proc", OFlags::PATH | OFlags::DIRECTORY),
            pid_namespace: open("/proc/self/ns/pid", OFlags::RDONLY),
            null: open("/dev/null", OFlags::RDWR),
        })
    }

    /// A container with every namespace of its own, its `/usr` the node's.
    fn world(&self) -> World {
        let mut world = World::new();
        let spaces = &mut world.container.namespaces;
        (spaces.network, spaces.ipc, spaces.uts) = (NamespaceMode::New, NamespaceMode::New, NamespaceMode::New);
        world.host.capabilities = self.capabilities;
        world.container.mounts = vec![Mount { access: MountAccess::ReadOnly, ..Mount::new("/usr", "/usr") }];
        world.container.process = Process { working_dir: "/srv/app".into(), ..Process::default() };
        let at = |name: &str| Some(self.dir.path().join(name));
        world.files = SandboxFiles { resolv_conf: at("resolv.conf"), hostname: at("hostname"), hosts: at("hosts") };
        world
    }

    fn mount(&self, target: &str, source: &str, access: MountAccess) -> Mount {
        Mount { access, ..Mount::new(target, self.dir.path().join(source)) }
    }

    fn bind(&self, target: &str, source: &str) -> Mount {
        Mount::new(target, self.dir.path().join(source))
    }

    fn with_facts<T>(&self, work: impl FnOnce(&Facts<'_>) -> T) -> T {
        let Self { hierarchies, capabilities, profiles, .. } = self;
        work(&Facts {
            hierarchies,
            device_programs: orlop_cgroups::devices::can_be_enforced().is_ok(),
            capabilities: *capabilities,
            limits: &HardLimits::NONE,
            profiles,
        })
    }

    /// Runs a script and returns the `name=value` lines that it wrote.
    fn run(&mut self, world: &World, text: &str) -> BTreeMap<String, String> {
        self.start(world, text).finish()
    }

    fn start(&mut self, world: &World, text: &str) -> Started {
        let mut inputs = world.inputs();
        let mut container = world.container.clone();
        container.process.command = script(text);
        inputs.container = &container;
        inputs.sandbox_cgroup = self.cgroup.as_str();
        let spec = self::container(&inputs).unwrap();
        let compiled = self.with_facts(|facts| compile::container(&spec, facts)).unwrap();
        self.launch(compiled, vec![root()], Vec::new())
    }

    fn start_spec(&mut self, world: &World) -> Started {
        let mut inputs = world.inputs();
        inputs.sandbox_cgroup = self.cgroup.as_str();
        let spec = container(&inputs).unwrap();
        let compiled = self.with_facts(|facts| compile::container(&spec, facts)).unwrap();
        self.launch(compiled, vec![root()], Vec::new())
    }

    fn launch(&self, compiled: Compiled, slots: Vec<OwnedFd>, joins: Vec<BorrowedFd<'_>>) -> Started {
        assert_eq!(compiled.warnings, Vec::<String>::new());
        let cgroup = compiled.plan.cgroup.clone().unwrap();
        // An exec enters the container's, whose path it was given before the tests' cgroup was known.
        let path = if joins.is_empty() { cgroup.path.clone() } else { format!("{}/two", self.cgroup) };
        let leaf = Leaf::create(&self.hierarchies, &CgroupPath::parse(&path).unwrap()).unwrap();
        leaf.apply(&cgroup).unwrap();
        let entries = leaf.entry_fds().unwrap();
        let output = tempfile::tempfile().unwrap();
        let around = Surroundings {
            root_attributes: 0,
            slots: &slots,
            joins,
            shm: None,
            cgroup: leaf.unified_dir_fd(),
            cgroup_entries: entries.iter().map(AsFd::as_fd).collect(),
            stdio: [self.null.as_fd(), output.as_fd(), output.as_fd()],
            node_proc: self.proc.as_fd(),
            own_pid_namespace: self.pid_namespace.as_fd(),
        };
        let launched = Prepared::new(&compiled.plan, around).unwrap().launch().unwrap();
        let outcome = heard(&launched);
        if let Outcome::Failed(failure) = &outcome
            && failure.stage != Stage::Exec
        {
            let failed = failure.describe(&compiled.plan);
            panic!("{}: {}", failed.what, std::io::Error::from_raw_os_error(failed.errno));
        }
        Started { launched, outcome, output }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let removed = remove_tree(&self.hierarchies, &self.cgroup);
        // Children that a failed test left; they are dead by now.
        while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

impl Started {
    fn finish(self) -> BTreeMap<String, String> {
        self.finish_with_code().0
    }

    /// Returns what it said, and its exit status; `None` when a signal ended it.
    fn finish_with_code(self) -> (BTreeMap<String, String>, Option<i32>) {
        let code = self.reap();
        (self.said(), code)
    }

    fn said(&self) -> BTreeMap<String, String> {
        let text = self.text();
        let lines = text.lines().map(|line| line.split_once('=').unwrap_or_else(|| panic!("it said:\n{text}")));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Returns what it wrote so far. Its output is one open file with ours: read elsewhere, so that its place stays.
    fn text(&self) -> String {
        let mut bytes = vec![0; 64 * 1024];
        let count = self.output.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(count);
        String::from_utf8(bytes).unwrap()
    }

    fn wait_for(&self, line: &str) {
        self.wait_until(line, |started| started.text().lines().any(|said| said == line));
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < WITHIN, "{what}: not after {WITHIN:?}; it said:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn kill(&self) {
        pidfd_send_signal(&self.launched.child.pidfd, Signal::KILL).unwrap();
        self.reap();
    }

    fn reap(&self) -> Option<i32> {
        let began = Instant::now();
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        loop {
            if let Some(status) = waitid(WaitId::PidFd(self.launched.child.pidfd.as_fd()), ended).unwrap() {
                return status.exit_status();
            }
            assert!(began.elapsed() < WITHIN, "the program still runs after {WITHIN:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn script(text: &str) -> Vec<String> {
    ["sh", "-c", text].map(str::to_owned).to_vec()
}

/// Makes an empty root, mounted nowhere, with the links that lead into `/usr`.
fn root() -> OwnedFd {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_create(context.as_fd()).unwrap();
    let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
    rustix::fs::mkdirat(&root, "covered", Mode::empty()).unwrap();
    rustix::fs::chmodat(&root, "covered", Mode::from_raw_mode(0o711), rustix::fs::AtFlags::empty()).unwrap();
    for name in ["bin", "lib", "lib64", "sbin"] {
        rustix::fs::symlinkat(format!("usr/{name}"), &root, name).unwrap();
    }
    root
}

/// Waits until a program runs or can't.
fn heard(launched: &Launched) -> Outcome {
    let began = Instant::now();
    loop {
        match launched.report.read().unwrap() {
            Outcome::Pending if began.elapsed() < WITHIN => std::thread::sleep(Duration::from_millis(1)),
            known @ (Outcome::Pending | Outcome::Running | Outcome::Failed(_)) => return known,
        }
    }
}

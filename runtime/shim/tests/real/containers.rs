//! Containers: how they start, end, and what their logs say.

use crate::client::Client;
use crate::node::{Node, wait_until};
use crate::plans::{bind, empty_root, ops, plan, program, start};
use orlop_wire::exit::{ExitRecord, ExitStatus};
use orlop_wire::frame::{Event, Failed, Phase, Reply, Request, TaskState};
use orlop_wire::plan::{BindIds, BindSource, CgroupPlan, Op, Plan};
use std::fs::File;
use std::os::fd::AsFd;

/// Starts a container with a log; returns the reply.
pub fn try_start(client: &mut Client, node: &Node, container: &str, plan: Plan) -> Reply {
    let log = File::options().append(true).create(true).open(node.log(container)).unwrap();
    let root = empty_root();
    client.ask_with(&Request::Start(start(container, plan, Some(1))), &[root.as_fd(), log.as_fd()]).0
}

#[track_caller]
pub fn must_start(client: &mut Client, node: &Node, container: &str, words: &[&str]) -> u32 {
    match try_start(client, node, container, plan(&node.cgroup, container, words)) {
        Reply::Started { pid, .. } => pid,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn exited(client: &mut Client, expected: &str) -> ExitRecord {
    match client.event() {
        Event::Exited { container, record } if container == expected => record,
        other => panic!("{other:?}"),
    }
}

/// Runs a shell script to its end; returns status and the log without stamps.
#[track_caller]
fn run(script: &str, plan_of: impl FnOnce(Plan) -> Plan) -> (ExitStatus, Vec<String>) {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let plan = plan_of(plan(&node.cgroup, "c", &["sh", "-c", script]));
    let reply = try_start(&mut client, &node, "c", plan);
    assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
    let record = exited(&mut client, "c");
    (record.status, log_lines(&node, "c"))
}

/// Returns the lines of a log from the stream's name on.
pub fn log_lines(node: &Node, container: &str) -> Vec<String> {
    let text = std::fs::read_to_string(node.log(container)).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn program_that_ends_well_is_reported_with_its_times() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "c", &["true"]);
    let record = exited(&mut client, "c");
    assert_eq!((record.status, record.oom), (ExitStatus::Code(0), false));
    assert!(record.started_ns > 0 && record.finished_ns >= record.started_ns, "{record:?}");
    let file = std::fs::read(node.dir("pod").join("exits/c")).unwrap();
    assert_eq!(ExitRecord::from_file(&file), Ok(record));
    client.done(&Request::DropTask { container: "c".to_owned() });
    client.done(&Request::DropTask { container: "c".to_owned() });
    assert!(!node.dir("pod").join("exits/c").exists());
    assert_eq!(client.ask(&Request::List), Reply::Tasks(Vec::new()));
}

#[test]
fn exit_code_and_signal_are_told_apart() {
    assert_eq!(run("exit 7", |plan| plan).0, ExitStatus::Code(7));
    // A first process ignores signals it does not handle unless they come from outside.
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "c", &["sleep", "1000"]);
    client.done(&Request::Signal { container: "c".to_owned(), signal: 15 });
    client.done(&Request::Signal { container: "c".to_owned(), signal: 9 });
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Signal(9));
    client.done(&Request::Signal { container: "c".to_owned(), signal: 9 });
}

#[track_caller]
fn check_failure(words: &[&str], prepare: impl FnOnce(&mut Plan), errno: i32, phase: Phase, what: &str) {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let mut plan = plan(&node.cgroup, "c", words);
    prepare(&mut plan);
    let reply = try_start(&mut client, &node, "c", plan);
    let expected = Failed { what: what.to_owned(), errno, phase };
    assert_eq!(reply, Reply::Failed(expected));
    assert_eq!(client.ask(&Request::List), Reply::Tasks(Vec::new()));
    assert!(node.procs().is_empty());
    // Nothing of it is left, so that it can be started again.
    must_start(&mut client, &node, "c", &["true"]);
}

#[test]
fn missing_program_is_told_from_one_that_can_not_be_executed() {
    use Phase::{Exec, Setup};
    check_failure(&["no-such-program"], |_| {}, libc::ENOENT, Exec, "run \"no-such-program\"");
    check_failure(&["/usr/bin/sh/below"], |_| {}, libc::ENOENT, Exec, "run \"/usr/bin/sh/below\"");
    check_failure(&["/usr/share"], |_| {}, libc::EACCES, Exec, "run \"/usr/share\"");
    let not_first = |plan: &mut Plan| plan.program.candidates = vec!["/usr/share".to_owned(), "/none".to_owned()];
    check_failure(&["x"], not_first, libc::EACCES, Exec, "run \"x\"");
    let cwd = |plan: &mut Plan| plan.ops.push(Op::Chdir { path: "/usr/bin/env".to_owned(), create: false });
    check_failure(&["true"], cwd, libc::ENOTDIR, Setup, "change to the working folder /usr/bin/env");
    let source = |plan: &mut Plan| plan.ops.insert(2, bind("/no/such/source", "/x"));
    check_failure(&["true"], source, libc::ENOENT, Setup, "mount /no/such/source at /x");
}

#[test]
fn null_device_of_an_image_hides_nothing_when_it_is_another_file() {
    let mask = Op::Mask { target: "/proc/uptime".to_owned() };
    let fake = |plan: &mut Plan| {
        let at = plan.ops.iter().position(|op| matches!(op, Op::MakeDevice { .. })).unwrap();
        plan.ops[at] = bind("/usr/bin/env", "/dev/null");
        plan.ops.push(mask);
    };
    check_failure(&["true"], fake, libc::ENODEV, Phase::Setup, "mask /proc/uptime");
    let other = |plan: &mut Plan| plan.ops.insert(10, crate::plans::device("/dev/null", 5));
    check_failure(&["true"], other, libc::EEXIST, Phase::Setup, "make device /dev/null");
}

#[test]
fn limit_that_can_not_be_set_fails_the_start_and_is_named() {
    use orlop_wire::plan::{CgroupWrite, Missing};
    let mut node = Node::new();
    let mut client = node.sandbox();
    let mut plan = plan(&node.cgroup, "c", &["true"]);
    if let Some(cgroup) = &mut plan.cgroup {
        let (controller, file) = ("no-controller".to_owned(), "no.limit".to_owned());
        cgroup.writes = vec![CgroupWrite { controller, file, value: "1".to_owned(), missing: Missing::Fail }];
    }
    let reply = try_start(&mut client, &node, "c", plan);
    let Reply::Failed(failed) = reply else { panic!("{reply:?}") };
    assert_eq!(failed.phase, Phase::Setup);
    assert!(failed.what.contains("no.limit"), "{failed:?}");
    assert_eq!(client.ask(&Request::List), Reply::Tasks(Vec::new()));
}

#[test]
fn output_becomes_log_lines_of_its_stream() {
    let (status, mut lines) = run("echo one; printf 'no end'; echo two >&2", |plan| plan);
    assert_eq!(status, ExitStatus::Code(0));
    lines.sort();
    assert_eq!(lines, ["stderr F two", "stdout F one", "stdout P no end"]);
}

#[test]
fn long_line_is_written_in_parts_and_nothing_is_lost_or_doubled() {
    let script = "head -c 40000 /dev/zero | tr '\\0' x; echo; seq 1 50000";
    let (_, lines) = run(script, |plan| plan);
    let parts: Vec<(&str, usize)> = lines[..3].iter().map(|line| line.split_at(9)).map(|(t, x)| (t, x.len())).collect();
    assert_eq!(parts, [("stdout P ", 16384), ("stdout P ", 16384), ("stdout F ", 7232)]);
    let numbers: Vec<u32> = lines[3..].iter().map(|line| line["stdout F ".len()..].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=50_000).collect::<Vec<_>>());
}

#[test]
fn log_that_can_not_be_written_does_not_stop_the_container() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let root = empty_root();
    let script = "seq 1 100000; touch /tmp/written; while test ! -e /tmp/go; do sleep 0.01; done; echo last";
    let start = start("c", plan(&node.cgroup, "c", &["sh", "-c", script]), Some(1));
    let reply = client.ask_with(&Request::Start(start), &[root.as_fd(), full.as_fd()]).0;
    let Reply::Started { pid, .. } = reply else { panic!("{reply:?}") };
    let written = format!("/proc/{pid}/root/tmp/written");
    wait_until("the container has written", || std::fs::exists(&written).unwrap());
    let log = File::create(node.log("c")).unwrap();
    let request = Request::ReopenLog { container: "c".to_owned(), log: 0 };
    assert_eq!(client.ask_with(&request, &[log.as_fd()]).0, Reply::Done);
    File::create(format!("/proc/{pid}/root/tmp/go")).unwrap();
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Code(0));
    let lines = log_lines(&node, "c");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("stderr F orlop: ") && lines[0].contains("bytes of the log"), "{lines:?}");
    assert_eq!(lines[1], "stdout F last");
}

#[test]
fn kill_ends_everything_a_container_forked() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    // A session and a group of its own do not help.
    let script = "for i in 1 2 3 4 5; do setsid sleep 1000 & done; (trap '' TERM; sleep 1000) & wait";
    must_start(&mut client, &node, "c", &["sh", "-c", script]);
    wait_until("it has forked", || node.procs().len() >= 7);
    client.done(&Request::Kill { container: "c".to_owned() });
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Signal(9));
    assert!(node.procs().is_empty());
    client.done(&Request::Kill { container: "c".to_owned() });
}

#[test]
fn container_of_the_nodes_processes_ends_with_all_it_forked() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let mut plan = plan(&node.cgroup, "c", &["sh", "-c", "setsid sleep 1000 & exit 3"]);
    plan.clone_flags &= !(libc::CLONE_NEWPID as u64);
    assert!(matches!(try_start(&mut client, &node, "c", plan), Reply::Started { .. }));
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Code(3));
    assert!(node.procs().is_empty());
}

#[test]
fn frozen_container_stands_still_and_can_be_killed() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "c", &["sh", "-c", "while :; do echo x; done"]);
    client.done(&Request::Freeze { container: "c".to_owned() });
    let size = || std::fs::metadata(node.log("c")).unwrap().len();
    // What was in the pipe comes out; then nothing more.
    let mut last = 0;
    wait_until("the log stands still", || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::mem::replace(&mut last, size()) == size()
    });
    client.done(&Request::Thaw { container: "c".to_owned() });
    wait_until("the log grows", || size() > last);
    client.done(&Request::Freeze { container: "c".to_owned() });
    client.done(&Request::Kill { container: "c".to_owned() });
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Signal(9));
}

#[test]
fn memory_limit_is_kept_and_the_verdict_is_reported() {
    use orlop_wire::plan::{CgroupWrite, Missing};
    let mut node = Node::new();
    let mut client = node.sandbox();
    // Keeps all of what it takes for one line.
    let mut plan = plan(&node.cgroup, "c", &["tail", "/dev/zero"]);
    let write = |controller: &str, file: &str| CgroupWrite {
        controller: controller.to_owned(),
        file: file.to_owned(),
        value: "20000000".to_owned(),
        missing: Missing::Ignore,
    };
    if let Some(cgroup) = &mut plan.cgroup {
        cgroup.writes = vec![
            write("memory", "memory.limit_in_bytes"),
            write("memory", "memory.memsw.limit_in_bytes"),
            write("", "memory.max"),
        ];
    }
    assert!(matches!(try_start(&mut client, &node, "c", plan), Reply::Started { .. }));
    let record = exited(&mut client, "c");
    assert!(record.oom, "{record:?}");
}

#[test]
fn container_sees_what_its_plan_says_and_nothing_of_the_node() {
    let script = "\
        echo pid $$; echo host $(hostname); echo fds $(ls /proc/self/fd | wc -l); echo cwd $PWD; \
        echo oom $(cat /proc/self/oom_score_adj); echo groups $(id -G); echo user $(id -u):$(id -g); \
        echo caps $(grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '); \
        echo nnp $(grep NoNewPrivs /proc/self/status | cut -f2); \
        echo sig $(grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2 | tr '\\n' ' '); \
        echo masked $(cat /proc/uptime | wc -c) $(ls /proc/irq | wc -l); \
        (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null || echo readonly; \
        echo port $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start); \
        echo limit $(ulimit -n) umask $(umask); \
        touch /x 2>/dev/null || echo root readonly; echo shm $(ls -d /dev/shm); \
        echo links $(ls /sys/class/net 2>/dev/null | wc -l) cgroup $(cut -d: -f3 /proc/self/cgroup | sort -u); \
        echo mounts $(grep -c orlop-shim-test /proc/self/mounts)";
    let (status, lines) = run(script, |mut plan| {
        let mask = |target: &str| Op::Mask { target: target.to_owned() };
        plan.ops.insert(
            10,
            Op::Bind {
                source: BindSource::SandboxShm,
                recursive: false,
                attributes: 0,
                attributes_recursive: false,
                propagation: 0,
                ids: BindIds::AsOnNode,
                target: "/dev/shm".to_owned(),
            },
        );
        plan.ops.extend([
            mask("/proc/uptime"),
            mask("/proc/irq"),
            mask("/proc/not-there"),
            Op::ReadonlyPath { target: "/proc/sys".to_owned() },
            Op::ReadonlyRoot,
            Op::Rlimit { resource: libc::RLIMIT_NOFILE, soft: 1000, hard: u64::MAX },
            Op::Umask { mask: 0o027 },
            Op::NewSession,
            Op::Chdir { path: "/tmp".to_owned(), create: false },
            Op::CapabilityBounding { keep: 1 << 10 | 1 << 5 },
            Op::Identity { uid: 1000, gid: 1001, groups: vec![2000] },
            Op::Capabilities { effective: 1 << 5, permitted: 1 << 5, inheritable: 0, ambient: 0 },
            Op::NoNewPrivileges,
            // Allows everything: BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
            Op::Seccomp {
                program: [&6_u16.to_ne_bytes()[..], &[0, 0], &0x7fff_0000_u32.to_ne_bytes()].concat(),
                flags: 0,
            },
        ]);
        plan
    });
    assert_eq!(status, ExitStatus::Code(0));
    let expected = [
        "pid 1",
        "host a-pod",
        "fds 4",
        "cwd /tmp",
        "oom 100",
        "groups 1001 2000",
        "user 1000:1001",
        "caps 0000000000000000 0000000000000000 0000000000000000 0000000000000420 0000000000000000",
        "nnp 1",
        "sig 0000000000000000 0000000000000000",
        "masked 0 0",
        "readonly",
        "port 80",
        "limit 1000 umask 0027",
        "root readonly",
        "shm /dev/shm",
        "links 0 cgroup /",
        "mounts 0",
    ];
    let lines: Vec<&str> = lines.iter().map(|line| line.strip_prefix("stdout F ").unwrap_or(line)).collect();
    assert_eq!(lines, expected);
}

#[test]
fn working_folder_that_leads_out_is_refused() {
    for at in 3..12 {
        let mut node = Node::new();
        let mut client = node.sandbox();
        let mut plan = plan(&node.cgroup, "c", &["true"]);
        plan.ops.push(Op::Chdir { path: format!("/proc/self/fd/{at}"), create: false });
        match try_start(&mut client, &node, "c", plan) {
            Reply::Failed(failed) => {
                assert_eq!(failed.phase, Phase::Setup);
                assert!([libc::ENOENT, libc::ELOOP].contains(&failed.errno), "{failed:?}");
            }
            other => panic!("descriptor {at}: {other:?}"),
        }
    }
}

#[test]
fn start_that_comes_twice_starts_once() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let root = empty_root();
    let request = Request::Start(start("c", plan(&node.cgroup, "c", &["sh", "-c", "exit 4"]), None));
    let (one, two) = (client.send(&request, &[root.as_fd()]), client.send(&request, &[root.as_fd()]));
    let (one, two) = (client.reply_to(one).0, client.reply_to(two).0);
    assert!(matches!(one, Reply::Started { .. }));
    assert_eq!(one, two);
    let record = exited(&mut client, "c");
    assert_eq!(client.ask_with(&request, &[root.as_fd()]).0, one);
    assert_eq!(exited(&mut client, "c"), record);
    assert_eq!(client.ask(&Request::List), Reply::Tasks(vec![("c".to_owned(), TaskState::Ended(record))]));
}

#[test]
fn plan_larger_than_a_datagram_runs() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let mut plan = plan(&node.cgroup, "c", &["sh", "-c", "exit $(env | grep -c ^BIG)"]);
    plan.program.env.extend((0..9).map(|n| format!("BIG{n}={}", "x".repeat(20_000)).into_bytes()));
    assert!(matches!(try_start(&mut client, &node, "c", plan), Reply::Started { .. }));
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Code(9));
}

#[test]
fn plan_that_makes_no_sense_is_refused_before_anything_is_done() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let check = |client: &mut Client, change: &dyn Fn(&mut Plan)| {
        let mut plan = Plan { ops: ops(), program: program(&["true"]), ..Plan::default() };
        plan.cgroup = Some(CgroupPlan { path: format!("{}/c", node.cgroup), ..CgroupPlan::default() });
        change(&mut plan);
        let reply = client.ask(&Request::Start(start("c", plan, None)));
        assert!(matches!(reply, Reply::Error { errno: libc::EINVAL, .. }), "{reply:?}");
    };
    check(&mut client, &|_| {}); // No descriptor came for slot 0.
    check(&mut client, &|plan| plan.ops = vec![Op::Chdir { path: "a\0b".to_owned(), create: false }]);
    check(&mut client, &|plan| plan.ops = vec![Op::Seccomp { program: vec![1; 7], flags: 0 }]);
    check(&mut client, &|plan| plan.clone_flags = libc::CLONE_NEWUSER as u64);
    assert_eq!(client.ask(&Request::List), Reply::Tasks(Vec::new()));
    assert!(node.leaf().unwrap().procs().unwrap().is_empty());
}

//! What is on disk, as an earlier build wrote it: a change of the model that would change it fails here.
//!
//! `ORLOP_BLESS=1 cargo test -p orlop-store --test golden` writes the file anew; the diff is reviewed as code, and a record that
//! can no longer be read needs a migration.
#![allow(clippy::unwrap_used, reason = "tests")]

use orlop_model::container::*;
use orlop_model::container_state::*;
use orlop_model::record::{ContainerAsked, Durability, SandboxAsked};
use orlop_model::sandbox::*;
use orlop_model::sandbox_state::{self, Attachment, Raising, SandboxState};
use orlop_model::streams::TerminalSize;
use orlop_model::{ContainerId, Digest, ErrorKind, Failure, ImageId, Namespace, NaturalKey, SandboxId, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/records.json");

fn sandbox() -> SandboxAsked {
    let port = |protocol, host_ip| PortMapping {
        protocol,
        container_port: 80,
        host_port: 8080,
        choice: PortChoice::Exactly,
        host_ip,
    };
    SandboxAsked {
        id: SandboxId::from_random([1; 32]),
        created_at: Timestamp(1_700_000_000_000_000_001),
        spec: SandboxSpec {
            namespace: Namespace("cri".to_owned()),
            key: NaturalKey("ns/name/uid/0".to_owned()),
            hostname: "host".to_owned(),
            network: NamespaceScope::Sandbox,
            ipc: NamespaceScope::Host,
            sysctls: BTreeMap::from([("kernel.shm_rmid_forced".to_owned(), "1".to_owned())]),
            dns: Some(Dns {
                servers: vec!["10.0.0.1".to_owned()],
                searches: vec!["a.b".to_owned()],
                options: vec!["ndots:5".to_owned()],
            }),
            ports: vec![
                port(Protocol::Tcp, None),
                port(Protocol::Udp, Some([127, 0, 0, 1].into())),
                port(Protocol::Sctp, None),
            ],
            cgroup_parent: Some("/kubepods/pod1".to_owned()),
            networks: Networks::Default,
            network_args: vec![("K8S_POD_NAME".to_owned(), "name".to_owned())],
            ends: SandboxEnd::WithContainer,
            domainname: String::new(),
            mac: None,
            shm_bytes_max: None,
            hosts: Vec::new(),
            user_namespace: None,
        },
        annex: vec![0, 255],
        durability: Durability::Boot,
    }
}

fn container() -> ContainerAsked {
    let mount = |access, propagation| Mount { access, propagation, ..Mount::new("/in", "/out") };
    ContainerAsked {
        id: ContainerId::from_random([2; 32]),
        created_at: Timestamp(5),
        spec: ContainerSpec {
            namespace: Namespace("cri".to_owned()),
            key: NaturalKey("c/0".to_owned()),
            sandbox: SandboxId::from_random([1; 32]),
            image: ImageId(Digest::parse(&format!("sha256:{}", "ab".repeat(32))).unwrap()),
            process: Process {
                command: vec!["sh".to_owned()],
                args: vec!["-c".to_owned()],
                env: vec![("A".to_owned(), vec![255, 0])],
                working_dir: "/w".to_owned(),
                user: User {
                    user: "1000".to_owned(),
                    group: Some(7),
                    supplemental_groups: vec![8],
                    supplemental_group_names: Vec::new(),
                    groups_policy: GroupsPolicy::Strict,
                },
                terminal: true,
                terminal_size: TerminalSize::default(),
                stdin: Stdin::Once,
                rlimits: vec![Rlimit { name: "RLIMIT_NOFILE".to_owned(), soft: 1, hard: 2 }],
                init: false,
            },
            mounts: vec![
                mount(MountAccess::ReadWrite, Propagation::Private),
                mount(MountAccess::ReadOnly, Propagation::HostToContainer),
                mount(MountAccess::ReadOnlyRecursive, Propagation::Bidirectional),
            ],
            tmpfs: Vec::new(),
            devices: vec![Device {
                target: "/dev/x".into(),
                source: "/dev/null".into(),
                permissions: "rwm".to_owned(),
            }],
            device_rules: Vec::new(),
            namespaces: Namespaces {
                pid: NamespaceMode::OfContainer(ContainerId::from_random([3; 32])),
                network: NamespaceMode::OfSandbox,
                ipc: NamespaceMode::Host,
                uts: NamespaceMode::Path("/proc/1/ns/uts".into()),
                cgroup: NamespaceMode::New,
            },
            rootfs: RootfsAccess::ReadOnly,
            security: Security {
                privileged: false,
                capabilities_add: vec!["NET_ADMIN".to_owned()],
                capabilities_drop: vec!["ALL".to_owned()],
                capabilities_ambient: vec!["CHOWN".to_owned()],
                no_new_privileges: true,
                seccomp: SeccompProfile::Custom("{}".to_owned()),
                masked_paths: Some(vec!["/proc/kcore".to_owned()]),
                readonly_paths: None,
            },
            log: Some(LogPath { directory: "/var/log/pods/x".into(), file: "c/0.log".into() }),
            stop_signal: Some(3),
        },
        resources: Resources {
            memory_reservation_bytes: 0,
            memory_swappiness: None,
            version: 2,
            cpu_period_us: 100_000,
            cpu_quota_us: -1,
            cpu_shares: 512,
            memory_bytes_max: 1 << 30,
            memory_swap_bytes_max: -1,
            cpuset_cpus: "0-1".to_owned(),
            cpuset_mems: "0".to_owned(),
            pids_max: 100,
            hugepage_bytes_max: BTreeMap::from([("2MB".to_owned(), 0)]),
            unified: BTreeMap::from([("memory.high".to_owned(), "1".to_owned())]),
            oom_score_adj: Some(-997),
        },
        update: None,
        checked: None,
        annex_generation: 0,
        annex: Vec::new(),
        durability: Durability::Node,
    }
}

/// With what the second build of the model knows beside.
fn sandbox_with_all() -> SandboxAsked {
    let asked = sandbox();
    let spec = SandboxSpec {
        domainname: "nis".to_owned(),
        shm_bytes_max: Some(1 << 20),
        hosts: vec![HostEntry { address: [10, 0, 0, 9].into(), name: "db".to_owned() }],
        user_namespace: Some(IdMapping { inside: 0, node: 65_536, count: 65_536 }),
        ..asked.spec
    };
    SandboxAsked { spec, ..asked }
}

/// With what the second build of the model knows beside.
fn container_with_all() -> ContainerAsked {
    let asked = container();
    let mount = Mount {
        flags: MountFlags { nosuid: true, nodev: true, noexec: false },
        depth: MountDepth::Single,
        missing: MissingSource::MakeFolder,
        ids: Some(IdMapping { inside: 0, node: 65_536, count: 65_536 }),
        ..Mount::new("/in", "/out")
    };
    let tmpfs = Tmpfs { bytes_max: Some(65_536), mode: Some(0o700), owner: Some((1, 2)), ..Tmpfs::new("/run") };
    let read_only = Tmpfs { access: TmpfsAccess::ReadOnly, flags: MountFlags::default(), ..Tmpfs::new("/empty") };
    let rule = |kind, major| DeviceRule { kind, major, minor: None, permissions: "rw".to_owned() };
    let other = |n| NamespaceMode::OfOther {
        sandbox: SandboxId::from_random([n; 32]),
        container: ContainerId::from_random([n; 32]),
    };
    let user = User { supplemental_group_names: vec!["audio".to_owned()], ..asked.spec.process.user };
    let spec = ContainerSpec {
        process: Process { user, init: true, ..asked.spec.process },
        mounts: vec![mount],
        tmpfs: vec![tmpfs, read_only],
        device_rules: vec![rule(DeviceKind::Any, None), rule(DeviceKind::Char, Some(1)), rule(DeviceKind::Block, None)],
        namespaces: Namespaces { pid: other(4), ..asked.spec.namespaces },
        ..asked.spec
    };
    ContainerAsked { spec, ..asked }
}

/// With what the third build of the model knows beside.
fn sandbox_third() -> SandboxAsked {
    let asked = sandbox();
    let spec = SandboxSpec { mac: Some([2, 0x42, 0xac, 0x11, 0, 10]), ..asked.spec };
    SandboxAsked { spec, ..asked }
}

/// With what the third build of the model knows beside.
fn container_third() -> ContainerAsked {
    let asked = container();
    let resources = Resources { memory_reservation_bytes: 1 << 24, memory_swappiness: Some(60), ..asked.resources };
    ContainerAsked { resources, ..asked }
}

/// The same, of a container alone whose annex was replaced.
fn container_alone() -> ContainerAsked {
    let checked = Checked { uid: 1, gid: 2, groups: vec![3], stop_signal: 15 };
    ContainerAsked { checked: Some(checked), annex_generation: 4, annex: vec![7], ..container() }
}

fn sandbox_states() -> Vec<SandboxState> {
    use sandbox_state::{Leave, Leaving};
    let leave = |stage| Leave { stage, failures: 1, retry_at: Some(Timestamp(9)) };
    let attachments = vec![Attachment {
        network: "orlop".to_owned(),
        interface: "eth0".to_owned(),
        addresses: vec![[10, 88, 0, 2].into(), "fd00::2".parse().unwrap()],
        ..Attachment::default()
    }];
    let why = Some(Failure::new(ErrorKind::Exhausted, "no address is left"));
    vec![
        SandboxState::Creating { since: Timestamp(1), stage: Raising::Shim },
        SandboxState::Creating { since: Timestamp(1), stage: Raising::Container },
        SandboxState::Starting { since: Timestamp(1), stage: Raising::Network },
        SandboxState::Ready { since: Timestamp(1), attachments },
        SandboxState::Stopping { leave: leave(Leaving::Shim), why: None },
        SandboxState::Stopping { leave: leave(Leaving::Network), why: why.clone() },
        SandboxState::NotReady { since: Timestamp(1), why: why.clone() },
        SandboxState::Removing { leave: leave(Leaving::Network), why: why.clone() },
        SandboxState::Removing { leave: leave(Leaving::Containers), why: None },
        SandboxState::Removing { leave: leave(Leaving::Record), why: None },
        SandboxState::Gone { why },
    ]
}

fn container_states() -> Vec<ContainerState> {
    let checked = Checked { uid: 1, gid: 2, groups: vec![3], stop_signal: 15 };
    let task = Task { pid: 7, started: Timestamp(3), checked: checked.clone() };
    let ask_again = Some(Timestamp(5));
    let stopping =
        |how, signal| ContainerState::Stopping { task: task.clone(), deadline: Timestamp(4), how, ask_again, signal };
    let exits = [
        Exit::Code { code: 7, oom: true },
        Exit::Signal { signal: 9, oom: false },
        Exit::NeverStarted { code: 127, message: "not found".to_owned() },
        Exit::Unstarted,
        Exit::Unknown,
    ];
    let mut states = vec![
        ContainerState::Creating { since: Timestamp(1), stage: Preparing::Rootfs },
        ContainerState::Creating { since: Timestamp(1), stage: Preparing::Check },
        ContainerState::Created { checked: checked.clone() },
        ContainerState::Starting {
            since: Timestamp(1),
            checked: checked.clone(),
            stop: Some(Duration::from_millis(1500)),
            signal: None,
        },
        ContainerState::Running(task.clone()),
        ContainerState::Frozen(task.clone()),
        ContainerState::Lost(task.clone()),
        stopping(Stopping::Thawing, None),
        stopping(Stopping::Asked, None),
        stopping(Stopping::Asked, Some(2)),
        stopping(Stopping::Killed, None),
        ContainerState::Gone { why: None },
    ];
    states.extend(exits.map(|exit| {
        let ended = Ended { started: Some(Timestamp(3)), finished: Timestamp(4), exit };
        let task = Some(Leave { stage: Leaving::Task, failures: 2, retry_at: Some(Timestamp(9)) });
        ContainerState::Exited { ended, checked: checked.clone(), task }
    }));
    states.extend([Leaving::Task, Leaving::Rootfs, Leaving::Record].map(|stage| {
        let leave = Leave { stage, failures: 0, retry_at: None };
        let last = Some(Ended { started: None, finished: Timestamp(4), exit: Exit::Unstarted });
        ContainerState::Removing(Removal { leave, why: None, last, checked: Some(checked.clone()) })
    }));
    states
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn records_of_an_earlier_build_are_read_and_written_as_they_were() {
    let now = json!({
        "sandbox-asked": sandbox(),
        "sandbox-asked-2": sandbox_with_all(),
        "sandbox-asked-3": sandbox_third(),
        "container-asked": container(),
        "container-asked-2": container_with_all(),
        "container-asked-3": container_third(),
        "container-asked-alone": container_alone(),
        "sandbox-state": sandbox_states(),
        "container-state": container_states(),
    });
    if std::env::var_os("ORLOP_BLESS").is_some() {
        std::fs::write(PATH, format!("{}\n", serde_json::to_string_pretty(&now).unwrap())).unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(PATH).unwrap()).unwrap();
    assert_eq!(now, golden, "the model no longer writes what is on disk");
    assert_eq!(read::<SandboxAsked>(&golden["sandbox-asked"]), sandbox());
    assert_eq!(read::<SandboxAsked>(&golden["sandbox-asked-2"]), sandbox_with_all());
    assert_eq!(read::<ContainerAsked>(&golden["container-asked"]), container());
    assert_eq!(read::<ContainerAsked>(&golden["container-asked-2"]), container_with_all());
    assert_eq!(read::<SandboxAsked>(&golden["sandbox-asked-3"]), sandbox_third());
    assert_eq!(read::<ContainerAsked>(&golden["container-asked-3"]), container_third());
    assert_eq!(read::<ContainerAsked>(&golden["container-asked-alone"]), container_alone());
    assert_eq!(read::<Vec<SandboxState>>(&golden["sandbox-state"]), sandbox_states());
    assert_eq!(read::<Vec<ContainerState>>(&golden["container-state"]), container_states());
}

//! Whole specs, from model types to what the OCI crate reads.

#![allow(clippy::unwrap_used, reason = "tests, their helpers included")]

mod world;

use oci_spec::runtime as oracle;
use orlop_cgroups::{Hierarchies, Hierarchy};
use orlop_model::ErrorKind;
use orlop_model::container::{Device, Mount, MountAccess, NamespaceMode, Propagation, RootfsAccess, SeccompProfile};
use orlop_model::sandbox::{IdMapping, NamespaceScope};
use orlop_model::streams::TerminalSize;
use orlop_plan::compile::{self, Facts, SANDBOX, SANDBOX_SHM};
use orlop_plan::oci::{self, Spec};
use orlop_plan::rlimit::HardLimits;
use orlop_plan::seccomp::Cache;
use orlop_spec::{SpecError, container, exec, sandbox_sysctls};
use std::path::Path;
use world::World;

fn made(world: &World) -> Spec {
    container(&world.inputs()).unwrap()
}

fn mount<'a>(spec: &'a Spec, target: &str) -> Option<&'a oci::Mount> {
    let mut found = spec.mounts.iter().filter(|mount| mount.destination == target);
    let mount = found.next();
    assert!(found.next().is_none(), "{target} is mounted twice");
    mount
}

fn env(spec: &Spec, name: &str) -> Option<String> {
    let entries = &spec.process.as_ref().unwrap().env;
    let mut found = entries.iter().filter(|entry| entry.name() == Some(name.as_bytes()));
    let value = found.next().map(|entry| String::from_utf8_lossy(entry.value().unwrap()).into_owned());
    assert!(found.next().is_none(), "{name} is set twice");
    value
}

fn bind(target: &str, source: &str) -> Mount {
    Mount::new(target, source)
}

#[test]
fn whole_spec_is_as_it_was_and_the_oracle_reads_it() {
    let spec = made(&World::new());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/container.json");
    let text = serde_json::to_string_pretty(&spec).unwrap() + "\n";
    if std::env::var_os("ORLOP_BLESS").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&golden).unwrap();
    let theirs: oracle::Spec = serde_json::from_str(&text).unwrap();
    let expected: oracle::Spec = serde_json::from_str(&kept).unwrap();
    assert_eq!(theirs, expected, "after a wanted change, run the test with ORLOP_BLESS=1 and review the difference");
    assert_eq!(Spec::parse(kept.as_bytes()).unwrap(), spec);
}

#[test]
fn every_spec_made_here_can_be_planned() {
    let mut world = World::new();
    world.container.devices.push(Device {
        target: "/dev/x".into(),
        source: "/dev/fuse".into(),
        permissions: "rw".into(),
    });
    world.container.mounts.push(bind("/data", "/srv"));
    let plan = |world: &World| {
        let profiles = Cache::default();
        let facts = Facts {
            hierarchies: &hierarchies(),
            device_programs: false,
            capabilities: world.host.capabilities,
            limits: &HardLimits::NONE,
            profiles: &profiles,
        };
        let first = compile::container(&made(world), &facts).unwrap();
        let more = exec(&world.inputs(), &["true".to_owned()], None).unwrap();
        let exec = compile::exec(&more, world.container_id.as_str(), &facts).unwrap();
        assert_eq!((&first.warnings, &exec.warnings), (&Vec::new(), &Vec::new()));
        assert_eq!(exec.plan.program.env, first.plan.program.env);
        first
    };
    let usual = plan(&world);
    assert_eq!(usual.plan.cgroup.unwrap().path, format!("/pods/one/{}", world.container_id));
    world.container.security.privileged = true;
    plan(&world);
}

#[test]
fn environment_is_the_containers_over_the_images_over_the_defaults() {
    let mut world = World::new();
    world.image.env = vec!["A=image".into(), "B=image".into(), "NOVALUE".into(), "=x".into(), "HOSTNAME=mine".into()];
    world.container.process.env = vec![("B".into(), b"own".to_vec()), ("C".into(), vec![0xFF, b'='])];
    let spec = made(&world);
    let values: Vec<_> = ["A", "B", "NOVALUE", "HOME", "HOSTNAME"].map(|name| env(&spec, name)).into();
    assert_eq!(values, [Some("image".into()), Some("own".into()), None, Some("/home/me".into()), Some("mine".into())]);
    assert!(env(&spec, "PATH").unwrap().contains("/usr/bin"));
    assert!(spec.process.unwrap().env.iter().any(|entry| entry.0 == b"C=\xFF="));
    for bad in ["", "A=B", "A\0"] {
        world.container.process.env = vec![(bad.into(), Vec::new())];
        assert_eq!(container(&world.inputs()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn sandbox_files_give_way_to_the_containers_own() {
    let mut world = World::new();
    assert_eq!(mount(&made(&world), "/etc/hosts").unwrap().source.as_deref(), Some("/run/one/hosts"));
    world.container.mounts =
        vec![bind("/etc/hosts", "/var/lib/kubelet/hosts"), bind("/deep/er", "/a"), bind("/deep", "/b")];
    let spec = made(&world);
    assert_eq!(mount(&spec, "/etc/hosts").unwrap().source.as_deref(), Some("/var/lib/kubelet/hosts"));
    let at = |target: &str| spec.mounts.iter().position(|mount| mount.destination == target);
    assert!(at("/deep") < at("/deep/er") && at("/etc/resolv.conf").is_some());
    world.container.rootfs = RootfsAccess::ReadOnly;
    assert!(mount(&made(&world), "/etc/resolv.conf").unwrap().options.contains(&"ro".to_owned()));
}

#[test]
fn own_dev_and_sys_take_the_place_of_the_defaults() {
    let mut world = World::new();
    world.container.mounts = vec![bind("/dev/", "/dev"), bind("/sys", "/sys")];
    let spec = made(&world);
    assert_eq!(mount(&spec, "/dev").unwrap().kind.as_deref(), Some("bind"));
    assert!(mount(&spec, "/sys/fs/cgroup").is_none());
    let at = |target: &str| spec.mounts.iter().position(|mount| mount.destination == target);
    assert!(at("/dev") < at("/dev/pts"));
}

#[test]
fn shm_goes_with_the_ipc_namespace() {
    let mut world = World::new();
    let source = |world: &World| mount(&made(world), "/dev/shm").unwrap().source.clone().unwrap();
    assert_eq!(source(&world), SANDBOX_SHM);
    world.sandbox.ipc = NamespaceScope::Host;
    assert_eq!(source(&world), "/dev/shm");
    world.container.namespaces.ipc = NamespaceMode::New;
    assert_eq!(source(&world), "shm");
}

#[test]
fn mounts_say_access_and_propagation() {
    let mut world = World::new();
    for (access, propagation, expected) in [
        (MountAccess::ReadWrite, Propagation::Private, ["rbind", "rprivate", "rw"]),
        (MountAccess::ReadOnly, Propagation::HostToContainer, ["rbind", "rslave", "ro"]),
        (MountAccess::ReadWrite, Propagation::Bidirectional, ["rbind", "rshared", "rw"]),
        (MountAccess::ReadOnlyRecursive, Propagation::Private, ["rbind", "rprivate", "rro"]),
    ] {
        world.container.mounts = vec![Mount { access, propagation, ..bind("/data", "/srv") }];
        assert_eq!(mount(&made(&world), "/data").unwrap().options, expected);
    }
    let recursive = Mount { access: MountAccess::ReadOnlyRecursive, ..bind("/data", "/srv") };
    world.container.mounts = vec![Mount { propagation: Propagation::Bidirectional, ..recursive.clone() }];
    assert_eq!(container(&world.inputs()).unwrap_err().kind(), ErrorKind::RecursiveReadOnlyUnsupported);
    world.container.mounts = vec![recursive];
    world.host.recursive_readonly = false;
    assert_eq!(container(&world.inputs()).unwrap_err().kind(), ErrorKind::RecursiveReadOnlyUnsupported);
    for bad in [bind("", "/srv"), bind("/data", "srv"), bind("/data", "/s\0")] {
        world.container.mounts = vec![bad];
        assert_eq!(container(&world.inputs()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn capabilities_are_the_usual_ones_and_what_is_asked_for() {
    let mut world = World::new();
    let sets = |world: &World| made(world).process.unwrap().capabilities.unwrap();
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let usual = sets(&world);
    assert_eq!((usual.bounding.len(), usual.inheritable.len(), usual.ambient.len()), (14, 0, 0));
    for (add, drop, expected) in [
        (text(&["NET_ADMIN"]), text(&[]), 15),
        (text(&["net_admin", "CAP_NET_ADMIN"]), text(&["NET_RAW"]), 14),
        (text(&[]), text(&["ALL"]), 0),
        (text(&["CHOWN"]), text(&["ALL"]), 1),
        (text(&["CHOWN"]), text(&["CHOWN"]), 13),
        // Of 41 this node lacks one.
        (text(&["ALL"]), text(&[]), 40),
        (text(&["ALL"]), text(&["SYS_ADMIN"]), 39),
    ] {
        world.container.security.capabilities_add = add.clone();
        world.container.security.capabilities_drop = drop.clone();
        assert_eq!(sets(&world).bounding.len(), expected, "{add:?} {drop:?}");
    }
    world.container.security.capabilities_add.clear();
    world.container.security.capabilities_drop.clear();
    world.container.security.capabilities_ambient = text(&["NET_BIND_SERVICE"]);
    let sets = sets(&world);
    assert_eq!((sets.ambient.clone(), sets.bounding.len()), (text(&["CAP_NET_BIND_SERVICE"]), 14));
    assert_eq!(sets.inheritable, sets.ambient);
}

#[test]
fn privileged_container_is_not_confined() {
    let mut world = World::new();
    world.container.security.privileged = true;
    world.container.security.masked_paths = Some(vec!["/bin/ls".into()]);
    let spec = made(&world);
    let linux = spec.linux.as_ref().unwrap();
    assert!(linux.seccomp.is_none() && linux.masked_paths.is_empty() && linux.readonly_paths.is_empty());
    assert!(linux.resources.as_ref().unwrap().devices.is_empty());
    assert_eq!(linux.devices.len(), world.host.devices.len());
    assert_eq!(spec.process.as_ref().unwrap().capabilities.as_ref().unwrap().bounding.len(), 40);
    assert!(mount(&spec, "/sys").unwrap().options.contains(&"rw".to_owned()));
}

#[test]
fn paths_and_filter_are_the_containers_own_when_it_says_so() {
    let mut world = World::new();
    world.container.security.masked_paths = Some(vec!["/bin/ls".into()]);
    world.container.security.readonly_paths = Some(Vec::new());
    world.container.security.seccomp = SeccompProfile::Custom(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}]}"#
            .into(),
    );
    let linux = made(&world).linux.unwrap();
    assert_eq!((linux.masked_paths, linux.readonly_paths), (vec!["/bin/ls".to_owned()], Vec::new()));
    assert_eq!(linux.seccomp.unwrap().syscalls.len(), 1);
    world.container.security.seccomp = SeccompProfile::Unconfined;
    assert!(made(&world).linux.unwrap().seccomp.is_none());
    world.container.security.seccomp = SeccompProfile::Custom("{".into());
    assert_eq!(container(&world.inputs()).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn devices_are_those_of_the_node() {
    let mut world = World::new();
    let asked = |target: &str, source: &str, permissions: &str| Device {
        target: target.into(),
        source: source.into(),
        permissions: permissions.into(),
    };
    world.container.devices = vec![asked("/dev/x", "/dev/fuse", "rw")];
    let linux = made(&world).linux.unwrap();
    let (device, rules) = (&linux.devices[0], linux.resources.unwrap().devices);
    assert_eq!((device.path.as_str(), device.major, device.minor), ("/dev/x", 10, 229));
    assert!(!rules[0].allow && rules[0].kind.is_none());
    assert_eq!((rules.last().unwrap().major, rules.last().unwrap().access.as_deref()), (Some(10), Some("rw")));
    for bad in [asked("/dev/x", "/dev/none", "rw"), asked("/dev/x", "/dev/fuse", "rx"), asked("", "/dev/fuse", "r")] {
        world.container.devices = vec![bad];
        assert_eq!(container(&world.inputs()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn namespaces_are_made_shared_or_left_to_the_node() {
    let mut world = World::new();
    let listed = |world: &World| -> Vec<(String, Option<String>)> {
        made(world).linux.unwrap().namespaces.into_iter().map(|n| (n.kind, n.path)).collect()
    };
    let of_sandbox = |kind: &str| (kind.to_owned(), Some(SANDBOX.to_owned()));
    let new = |kind: &str| (kind.to_owned(), None);
    let expected =
        [new("mount"), new("cgroup"), of_sandbox("ipc"), of_sandbox("network"), new("pid"), of_sandbox("uts")];
    assert_eq!(listed(&world), expected);
    world.sandbox.network = NamespaceScope::Host;
    world.sandbox.hostname.clear();
    world.container.namespaces.pid = NamespaceMode::Host;
    assert_eq!(listed(&world), [new("mount"), new("cgroup"), of_sandbox("ipc")]);
    world.container.namespaces.pid = NamespaceMode::OfContainer(world.container_id.clone());
    world.container.namespaces.network = NamespaceMode::Path("/run/netns/x".into());
    let found = listed(&world);
    assert!(found.contains(&("pid".into(), Some(format!("orlop:task:{}", world.container_id)))));
    assert!(found.contains(&("network".into(), Some("/run/netns/x".into()))));
    world.container.namespaces.network = NamespaceMode::Path("netns".into());
    assert!(container(&world.inputs()).is_err());
}

#[test]
fn score_is_always_set_and_never_below_what_the_node_lets_us() {
    let mut world = World::new();
    let score = |world: &World| made(world).process.unwrap().oom_score_adj;
    for (asked, own, expected) in
        [(None, 0, 0), (Some(-997), 0, 0), (Some(985), 0, 985), (Some(-997), -500, -500), (None, 300, 300)]
    {
        world.resources.oom_score_adj = asked;
        world.host.oom_score_adj = own;
        assert_eq!(score(&world), Some(expected));
    }
    world.host.capabilities |= 1 << 24;
    world.resources.oom_score_adj = Some(-997);
    assert_eq!(score(&world), Some(-997));
}

#[test]
fn nothing_to_run_is_refused() {
    let mut world = World::new();
    world.image.cmd.clear();
    assert_eq!(container(&world.inputs()), Err(SpecError::NoCommand));
    assert_eq!(exec(&world.inputs(), &[], None), Err(SpecError::NoCommand));
    exec(&world.inputs(), &["true".to_owned()], None).unwrap();
}

#[test]
fn terminal_of_an_exec_is_its_own_and_not_its_containers() {
    let mut world = World::new();
    let words = ["true".to_owned()];
    let term = |process: &orlop_plan::oci::Process| process.env.iter().any(|entry| entry.name() == Some(b"TERM"));
    for of_container in [false, true] {
        world.container.process.terminal = of_container;
        let first = made(&world).process.unwrap();
        assert_eq!((first.terminal, term(&first)), (of_container, of_container));
        let size = TerminalSize { rows: 30, columns: 100 };
        for terminal in [None, Some(size)] {
            let process = exec(&world.inputs(), &words, terminal).unwrap().process.unwrap();
            assert_eq!((process.terminal, term(&process)), (terminal.is_some(), terminal.is_some()));
            let said = process.other.get("consoleSize").map(ToString::to_string);
            assert_eq!(said, terminal.map(|_| r#"{"height":30,"width":100}"#.to_owned()));
        }
    }
}

#[test]
fn sysctls_of_a_sandbox_never_reach_the_node() {
    let mut world = World::new();
    world.sandbox.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    world.sandbox.sysctls.insert("kernel.shmmax".into(), "5".into());
    let expected = [("kernel/shmmax".to_owned(), "5".to_owned()), ("net/ipv4/ip_forward".to_owned(), "1".to_owned())];
    assert_eq!(sandbox_sysctls(&world.sandbox), Ok(expected.to_vec()));
    world.sandbox.network = NamespaceScope::Host;
    assert!(sandbox_sysctls(&world.sandbox).unwrap_err().to_string().contains("net.ipv4.ip_forward"));
    world.sandbox.sysctls = [("kernel.core_pattern".to_owned(), "|/x".to_owned())].into();
    assert_eq!(sandbox_sysctls(&world.sandbox).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// A hybrid node.
fn hierarchies() -> Hierarchies {
    Hierarchies {
        v1: ["memory", "cpu", "devices"].map(|name| hierarchy(&format!("/sys/fs/cgroup/{name}"), name)).to_vec(),
        unified: Some(hierarchy("/sys/fs/cgroup/unified", "hugetlb")),
    }
}

fn hierarchy(mount: &str, controller: &str) -> Hierarchy {
    Hierarchy { mount: mount.into(), controllers: vec![controller.into()] }
}

const IDS: IdMapping = IdMapping { inside: 0, node: 65_536, count: 65_536 };

#[test]
fn users_of_a_sandbox_bind_devices_and_map_what_is_asked_for() {
    let mut world = World::new();
    world.sandbox.user_namespace = Some(IDS);
    world.container.devices.push(Device {
        target: "/dev/x".into(),
        source: "/dev/fuse".into(),
        permissions: "rw".into(),
    });
    world.container.mounts = vec![Mount { ids: Some(IDS), ..bind("/mapped", "/srv") }, bind("/plain", "/srv")];
    let spec = made(&world);
    let linux = spec.linux.as_ref().unwrap();
    assert!(linux.devices.is_empty());
    assert_eq!((linux.uid_mappings.len(), &linux.uid_mappings), (1, &linux.gid_mappings));
    assert!(linux.namespaces.iter().any(|space| space.kind == "user" && space.path.is_some()));
    let mount = |target: &str| mount(&spec, target).unwrap();
    assert_eq!(mount("/dev/x").source.as_deref(), Some("/dev/fuse"));
    assert_eq!((mount("/mapped").uid_mappings.len(), mount("/plain").uid_mappings.len()), (1, 0));
    assert!(mount("/etc/hosts").options.iter().any(|option| option == compile::MAP_IF_POSSIBLE));
    let plain = made(&World::new());
    assert!(!plain.mounts.iter().any(|mount| mount.options.iter().any(|option| option == compile::MAP_IF_POSSIBLE)));
}

#[test]
fn what_can_not_be_among_users_of_a_sandbox_is_refused() {
    type Change = fn(&mut World);
    let cases: [(Change, &str); 7] = [
        (|world| world.container.namespaces.network = NamespaceMode::Host, "network namespace"),
        (|world| world.container.namespaces.pid = NamespaceMode::Host, "PID namespace"),
        (|world| world.sandbox.ipc = NamespaceScope::Host, "IPC namespace"),
        (|world| world.user.uid = 65_536, "user"),
        (|world| world.user.groups.push(70_000), "group"),
        (|world| world.container.mounts[0].propagation = Propagation::Bidirectional, "mount /data"),
        (|world| world.container.mounts[0].ids = Some(IdMapping { node: 1, ..IDS }), "mount /data"),
    ];
    for (change, field) in cases {
        let mut world = World::new();
        world.sandbox.user_namespace = Some(IDS);
        world.container.mounts = vec![bind("/data", "/srv")];
        container(&world.inputs()).unwrap();
        change(&mut world);
        let error = container(&world.inputs()).unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
    }
    let mut world = World::new();
    world.container.mounts = vec![Mount { ids: Some(IDS), ..bind("/data", "/srv") }];
    assert!(container(&world.inputs()).unwrap_err().to_string().contains("no user namespace"));
}

#[test]
fn groups_that_may_ping_are_those_that_there_are() {
    let mut world = World::new();
    let range = |world: &World| {
        let all = orlop_spec::sandbox_sysctl_defaults(&world.sandbox, false);
        all.into_iter().find(|(path, _)| path.ends_with("ping_group_range")).unwrap().1
    };
    assert_eq!(range(&world), "0 2147483647");
    world.sandbox.user_namespace = Some(IDS);
    assert_eq!(range(&world), "0 65535");
}

use super::*;
use crate::oci::{Capabilities, Device, IdMapping, Linux, LinuxSeccomp, Mount, Namespace, Process, Rlimit, Root};
use orlop_cgroups::Hierarchy;
use orlop_wire::plan::{BindIds, BindSource, DeviceAccess, IdMap, Join, JoinFrom, NamespaceKind, Op};
use proptest::prelude::*;
use std::path::Path;

fn hierarchy(mount: &str, controllers: &[&str]) -> Hierarchy {
    Hierarchy {
        mount: Path::new(mount).to_owned(),
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn hybrid() -> Hierarchies {
    Hierarchies {
        v1: vec![hierarchy("/cg/cpu,cpuacct", &["cpu", "cpuacct"]), hierarchy("/cg/memory", &["memory"])],
        unified: Some(hierarchy("/cg/unified", &[])),
    }
}

fn unified() -> Hierarchies {
    Hierarchies { v1: Vec::new(), unified: Some(hierarchy("/cg", &["memory"])) }
}

fn with<T>(hierarchies: &Hierarchies, work: impl FnOnce(&Facts<'_>) -> T) -> T {
    let device_programs = false;
    let (capabilities, profiles) = (crate::capability::ALL, &Cache::default());
    work(&Facts { hierarchies, device_programs, capabilities, limits: &HardLimits::NONE, profiles })
}

fn compile(spec: &Spec) -> Result<Compiled, CompileError> {
    with(&hybrid(), |facts| container(spec, facts))
}

fn namespace(kind: &str, path: Option<&str>) -> Namespace {
    Namespace { kind: kind.to_owned(), path: path.map(str::to_owned) }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

fn caps(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn spec() -> Spec {
    Spec {
        oci_version: "1.3.0".into(),
        process: Some(Process {
            args: vec!["sh".into()],
            env: vec!["PATH=/bin:/usr/bin/".into()],
            cwd: "/work".into(),
            oom_score_adj: Some(7),
            rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 1, hard: 2 }],
            capabilities: Some(Capabilities {
                bounding: caps(&["CAP_CHOWN"]),
                permitted: caps(&["CAP_CHOWN"]),
                effective: caps(&["CAP_CHOWN"]),
                ..Capabilities::default()
            }),
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        mounts: vec![mount("/proc", "proc", "proc", &["nosuid"]), mount("/data", "bind", "/srv", &["rbind", "ro"])],
        linux: Some(Linux {
            namespaces: vec![namespace("mount", None), namespace("pid", None)],
            cgroups_path: Some("/a/b".into()),
            masked_paths: vec!["/proc/kcore".into()],
            readonly_paths: vec!["/proc/sys".into()],
            seccomp: Some(LinuxSeccomp { default_action: "SCMP_ACT_ALLOW".into(), ..LinuxSeccomp::default() }),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

fn edit(change: impl FnOnce(&mut Spec)) -> Spec {
    let mut spec = spec();
    change(&mut spec);
    spec
}

fn linux(spec: &mut Spec) -> &mut Linux {
    spec.linux.as_mut().unwrap()
}

fn process(spec: &mut Spec) -> &mut Process {
    spec.process.as_mut().unwrap()
}

fn name(op: &Op) -> String {
    let text = format!("{op:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

fn order(ops: &[Op]) -> Vec<String> {
    let mut names: Vec<String> = ops.iter().map(name).collect();
    names.dedup();
    names
}

#[track_caller]
fn refused(spec: &Spec, field: &str) {
    let error = compile(spec).expect_err("the spec must be refused");
    let (CompileError::Invalid { field: found, .. } | CompileError::Unsupported { field: found, .. }) = &error;
    assert!(found.starts_with(field), "{error}");
}

#[test]
fn operations_come_in_an_order_that_no_privilege_is_missing() {
    let got = order(&compile(&spec()).unwrap().plan.ops);
    let tree = ["SetPropagation", "AttachRootfs", "MountNew", "Bind", "MakeDevice", "Symlink", "PivotRoot"];
    let rest =
        ["Chdir", "Mask", "ReadonlyPath", "ReadonlyRoot", "OomScoreAdj", "Rlimit", "Umask", "NewSession", "Chdir"];
    let confined = ["CapabilityBounding", "Seccomp", "Identity", "Capabilities"];
    assert_eq!(got, [&tree[..], &rest, &confined].concat());
}

#[test]
fn terminal_starts_the_session_below_an_init_and_before_limits() {
    let spec = edit(|spec| {
        process(spec).terminal = true;
        let size = serde_json::json!({"height": 30, "width": 100});
        process(spec).other.insert("consoleSize".into(), size);
        spec.mounts.push(mount("/dev/", "tmpfs", "tmpfs", &[]));
        spec.annotations.insert(INIT.to_owned(), "true".to_owned());
    });
    let of = |compiled: Compiled| {
        let found = compiled.plan.ops.iter().position(|op| name(op) == "Terminal").unwrap();
        (compiled.plan.ops[found].clone(), order(&compiled.plan.ops))
    };
    let op = |console| Op::Terminal { rows: 30, columns: 100, console };
    let (found, ops) = of(compile(&spec).unwrap());
    assert_eq!(found, op(true));
    let at = |wanted: &str| ops.iter().position(|name| name == wanted).unwrap_or_else(|| panic!("{wanted}: {ops:?}"));
    assert!(at("Init") < at("Terminal") && at("Terminal") < at("Rlimit"));
    assert!(!ops.contains(&"NewSession".to_owned()));
    let (found, ops) = of(with(&hybrid(), |facts| exec(&spec, "abc", facts)).unwrap());
    assert_eq!(found, op(false));
    assert!(!ops.contains(&"NewSession".to_owned()));
    let mut bound = spec.clone();
    bound.mounts.retain(|mount| mount.destination != "/dev/");
    assert_eq!(of(compile(&bound).unwrap()).0, op(false));
    bound.mounts.push(mount("/dev/", "bind", "/dev", &["rbind"]));
    assert_eq!(of(compile(&bound).unwrap()).0, op(false));
    process(&mut bound).other.insert("consoleSize".into(), serde_json::json!({"height": 70_000, "width": 1}));
    refused(&bound, "process.consoleSize.height");
}

#[test]
fn filter_comes_last_where_new_privileges_are_out_of_reach() {
    let got = order(&compile(&edit(|spec| process(spec).no_new_privileges = true)).unwrap().plan.ops);
    assert_eq!(got[got.len() - 5..], ["CapabilityBounding", "Identity", "Capabilities", "NoNewPrivileges", "Seccomp"]);
}

#[test]
fn volume_as_working_folder_is_entered_by_the_user() {
    let got = order(&compile(&edit(|spec| process(spec).cwd = "/data/".into())).unwrap().plan.ops);
    assert_eq!(got[got.len() - 4..], ["Seccomp", "Identity", "Capabilities", "Chdir"]);
    assert_eq!(got.iter().filter(|name| *name == "Chdir").count(), 1);
}

#[test]
fn namespaces_are_made_and_joined() {
    let compiled = compile(&edit(|spec| {
        linux(spec).namespaces = vec![
            namespace("mount", None),
            namespace("cgroup", None),
            namespace("uts", Some(SANDBOX)),
            namespace("pid", Some(&of_task("abc"))),
            namespace("network", Some("/run/netns/x")),
        ];
    }))
    .unwrap();
    let join = |kind, from| Join { kind, from };
    assert_eq!(
        compiled.plan.join,
        [
            join(NamespaceKind::Uts, JoinFrom::Sandbox),
            join(NamespaceKind::Network, JoinFrom::Slot(1)),
            join(NamespaceKind::Pid, JoinFrom::Task("abc".into())),
        ]
    );
    assert_eq!(compiled.plan.clone_flags, 0x2_0000 | 0x200_0000);
    let namespace = SlotSource::Namespace { flag: 0x4000_0000, path: "/run/netns/x".into() };
    assert_eq!(compiled.slots, [SlotSource::Rootfs, namespace]);
}

#[test]
fn exec_joins_all_that_the_container_does_not_share_with_the_node() {
    let spec = edit(|spec| linux(spec).namespaces.push(namespace("network", Some(SANDBOX))));
    let compiled = with(&hybrid(), |facts| exec(&spec, "abc", facts)).unwrap();
    let kinds: Vec<_> = compiled.plan.join.iter().map(|join| join.kind).collect();
    assert_eq!(kinds, [NamespaceKind::Network, NamespaceKind::Pid, NamespaceKind::Mount]);
    assert!(compiled.plan.join.iter().all(|join| join.from == JoinFrom::Task("abc".into())));
    assert_eq!((compiled.plan.clone_flags, compiled.slots.len()), (0, 0));
    let cgroup = compiled.plan.cgroup.unwrap();
    assert_eq!((cgroup.path.as_str(), cgroup.writes.len()), ("/a/b", 0));
    let expected = [
        "OomScoreAdj",
        "Rlimit",
        "Umask",
        "NewSession",
        "Chdir",
        "CapabilityBounding",
        "Seccomp",
        "Identity",
        "Capabilities",
    ];
    assert_eq!(order(&compiled.plan.ops), expected);
}

#[test]
fn program_is_sought_along_its_own_path() {
    let program = |args: &str, env: &[&str]| {
        let spec = edit(|spec| {
            process(spec).args = vec![args.to_owned()];
            process(spec).env = env.iter().map(|entry| (*entry).into()).collect();
        });
        compile(&spec).unwrap().plan.program.candidates
    };
    assert_eq!(program("sh", &["PATH=/a:/b/", "X=1"]), ["/a/sh", "/b/sh"]);
    assert_eq!(program("sh", &["PATH=/a", "PATH=/c"]), ["/c/sh"]);
    assert_eq!(program("sh", &["PATH=/a::"]), ["/a/sh", "./sh", "./sh"]);
    assert_eq!(program("./x/sh", &["PATH=/a"]), ["./x/sh"]);
    assert_eq!(program("sh", &[]).len(), 6);
    let long = format!("PATH={}", "/x:".repeat(5000));
    assert_eq!(program("sh", &[&long]).len(), 128);
}

#[test]
fn binds_say_source_access_and_propagation() {
    let bound = |options: &[&str], source: &str| {
        let spec = edit(|spec| spec.mounts = vec![mount("/x/../d", "none", source, options)]);
        compile(&spec).unwrap().plan.ops.into_iter().find(|op| name(op) == "Bind").unwrap()
    };
    let Op::Bind { source, recursive, attributes, attributes_recursive, propagation, target, .. } =
        bound(&["rbind", "rro", "rslave"], "/srv")
    else {
        panic!("a bind")
    };
    assert_eq!((source, target.as_str()), (BindSource::Path("/srv".into()), "/d"));
    assert_eq!((recursive, attributes, attributes_recursive, propagation), (true, 1, true, libc::MS_SLAVE));
    let Op::Bind { source, recursive, propagation, .. } = bound(&["bind"], SANDBOX_SHM) else { panic!("a bind") };
    assert_eq!((source, recursive, propagation), (BindSource::SandboxShm, false, libc::MS_PRIVATE));
}

#[test]
fn container_sees_its_own_cgroup_in_each_hierarchy() {
    let spec = edit(|spec| spec.mounts = vec![mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid"])]);
    #[allow(clippy::wildcard_enum_match_arm, reason = "only what mounts is looked at")]
    let text = |ops: &[Op]| -> Vec<String> {
        let at = |op: &Op| match op {
            Op::Bind { source: BindSource::Path(path), target, .. } => Some(format!("{path} {target}")),
            Op::MountNew { fstype, attributes, target, .. } => Some(format!("{fstype} {attributes} {target}")),
            Op::Symlink { to, target } if target.starts_with("/sys") => Some(format!("{to} <- {target}")),
            Op::ReadonlyPath { target } if target.starts_with("/sys") => Some(format!("ro {target}")),
            _ => None,
        };
        ops.iter().filter_map(at).collect()
    };
    let on_hybrid = with(&hybrid(), |facts| container(&spec, facts)).unwrap();
    assert_eq!(
        text(&on_hybrid.plan.ops),
        [
            "tmpfs 2 /sys/fs/cgroup",
            "/cg/cpu,cpuacct/a/b /sys/fs/cgroup/cpu,cpuacct",
            "cpu,cpuacct <- /sys/fs/cgroup/cpu",
            "cpu,cpuacct <- /sys/fs/cgroup/cpuacct",
            "/cg/memory/a/b /sys/fs/cgroup/memory",
            "/cg/unified/a/b /sys/fs/cgroup/unified",
            "ro /sys/fs/cgroup",
        ]
    );
    let on_v2 = with(&unified(), |facts| container(&spec, facts)).unwrap();
    assert_eq!(text(&on_v2.plan.ops), ["/cg/a/b /sys/fs/cgroup"]);
}

#[test]
fn devices_replace_defaults_and_nothing_is_made_in_a_bound_dev() {
    let device = Device {
        path: "/dev/null".into(),
        kind: "c".into(),
        major: 1,
        minor: 3,
        file_mode: Some(0o600),
        ..Device::default()
    };
    let made = |spec: &Spec| {
        let is_device = |op: &&Op| matches!(op, Op::MakeDevice { .. } | Op::Symlink { .. });
        compile(spec).unwrap().plan.ops.iter().filter(is_device).count()
    };
    assert_eq!(made(&edit(|spec| linux(spec).devices = vec![device.clone()])), 6 + 5);
    assert_eq!(made(&edit(|spec| spec.mounts.push(mount("/dev/", "bind", "/dev", &["rbind"])))), 0);
    refused(&edit(|spec| linux(spec).devices = vec![Device { kind: "z".into(), ..device.clone() }]), "linux.devices");
    refused(&edit(|spec| linux(spec).devices = vec![Device { major: -1, ..device.clone() }]), "linux.devices");
    refused(&edit(|spec| linux(spec).devices = vec![Device { path: "dev/x".into(), ..device }]), "linux.devices");
}

#[test]
fn proc_can_only_be_mounted_over_by_a_whole_proc() {
    let over = |mount| edit(|spec| spec.mounts = vec![mount]);
    refused(&over(mount("/", "bind", "/srv", &["bind"])), "mounts[/]");
    refused(&over(mount("/x/..", "bind", "/srv", &["bind"])), "mounts[/x/..]");
    refused(&over(mount("/proc", "tmpfs", "tmpfs", &[])), "mounts[/proc]");
    refused(&over(mount("/proc", "bind", "/srv", &["rbind"])), "mounts[/proc]");
    refused(&over(mount("/proc/self/attr", "tmpfs", "tmpfs", &[])), "mounts[/proc/self/attr]");
    refused(&over(mount("/a/../proc/sys", "bind", "/srv", &["bind"])), "mounts[/a/../proc/sys]");
    for good in [
        mount("/proc", "proc", "proc", &[]),
        mount("/proc", "bind", "/proc/", &["rbind"]),
        mount("/proc/meminfo", "bind", "/lxcfs/meminfo", &["bind"]),
        mount("/process", "bind", "/srv", &["bind"]),
    ] {
        compile(&over(good)).unwrap();
    }
}

#[test]
fn what_is_not_built_is_refused_by_its_field_and_what_says_nothing_passes() {
    let json = |text: &str| serde_json::from_str(text).unwrap();
    let other = |at: &str, text: &str| {
        let (at, value) = (at.to_owned(), json(text));
        edit(move |spec| drop(spec.other.insert(at, value)))
    };
    refused(&other("hooks", r#"{"poststop": [{"path": "/x"}]}"#), "hooks");
    compile(&other("hooks", r#"{"poststop": []}"#)).unwrap();
    let compiled = compile(&other("novelty", "1")).unwrap();
    assert_eq!(compiled.warnings, ["novelty is not known and passed over"]);
    for (field, value) in
        [("apparmorProfile", "\"p\""), ("selinuxLabel", "\"l\""), ("scheduler", r#"{"policy": "SCHED_FIFO"}"#)]
    {
        let spec = edit(|spec| drop(process(spec).other.insert(field.to_owned(), json(value))));
        refused(&spec, &format!("process.{field}"));
    }
    for field in ["intelRdt", "memoryPolicy", "personality", "timeOffsets", "netDevices", "mountLabel"] {
        let spec = edit(|spec| drop(linux(spec).other.insert(field.to_owned(), json("\"x\""))));
        refused(&spec, &format!("linux.{field}"));
    }
    refused(&edit(|spec| spec.oci_version = "2.0.0".into()), "ociVersion");
    refused(&edit(|spec| spec.process = None), "process");
    refused(&edit(|spec| spec.linux = None), "linux");
    refused(&edit(|spec| process(spec).args.clear()), "process.args");
    refused(&edit(|spec| process(spec).cwd = "work".into()), "process.cwd");
    refused(&edit(|spec| process(spec).user.uid = 1 << 31), "process.user.uid");
    refused(&edit(|spec| process(spec).user.additional_gids = vec![u32::MAX]), "process.user.additionalGids");
    refused(&edit(|spec| process(spec).oom_score_adj = Some(1001)), "process.oomScoreAdj");
    refused(&edit(|spec| process(spec).rlimits[0].kind = "RLIMIT_FLY".into()), "process.rlimits");
    refused(&edit(|spec| process(spec).rlimits[0].soft = 3), "process.rlimits");
    refused(&edit(|spec| linux(spec).namespaces.clear()), "linux.namespaces");
    refused(&edit(|spec| linux(spec).namespaces.push(namespace("pid", None))), "linux.namespaces");
    refused(&edit(|spec| linux(spec).namespaces.push(namespace("weather", None))), "linux.namespaces");
    refused(&edit(|spec| linux(spec).namespaces.push(namespace("user", None))), "linux.namespaces");
    refused(&edit(|spec| linux(spec).uid_mappings.push(MAPPING)), "linux.uidMappings");
    refused(&edit(|spec| spec.mounts[1].gid_mappings.push(MAPPING)), "mounts[/data].uidMappings");
    refused(&edit(|spec| linux(spec).cgroups_path = Some("/a/../b".into())), "linux.cgroupsPath");
    refused(&edit(|spec| linux(spec).cgroups_path = Some("a.slice:b:c".into())), "linux.cgroupsPath");
    refused(&edit(|spec| linux(spec).rootfs_propagation = Some("odd".into())), "linux.rootfsPropagation");
    refused(&edit(|spec| linux(spec).masked_paths = vec!["x".into()]), "linux.maskedPaths");
    refused(&edit(|spec| linux(spec).seccomp.as_mut().unwrap().default_action = "X".into()), "linux.seccomp");
    refused(&edit(|spec| spec.mounts[1].source = Some("srv".into())), "mounts[/data]");
    refused(&edit(|spec| spec.mounts[1].options.push("tmpcopyup".into())), "mounts[/data]");
}

#[test]
fn sysctls_and_names_need_a_namespace_that_is_not_the_nodes() {
    let set = |name: &str, spaces: &[Namespace]| {
        edit(|spec| {
            linux(spec).sysctl.insert(name.to_owned(), "1".to_owned());
            linux(spec).namespaces.extend_from_slice(spaces);
        })
    };
    refused(&set("net.ipv4.ip_forward", &[]), "linux.sysctl");
    refused(&set("kernel.core_pattern", &[namespace("ipc", None), namespace("uts", None)]), "linux.sysctl");
    let compiled = compile(&set("net.ipv4.ip_forward", &[namespace("network", None)])).unwrap();
    assert!(compiled.plan.ops.contains(&Op::Sysctl { path: "net/ipv4/ip_forward".into(), value: "1".into() }));
    refused(&edit(|spec| spec.hostname = Some("h".into())), "hostname");
    let named = edit(|spec| {
        spec.hostname = Some("h".into());
        linux(spec).namespaces.push(namespace("uts", None));
    });
    assert!(
        compile(&named).unwrap().plan.ops.contains(&Op::Sysctl { path: "kernel/hostname".into(), value: "h".into() })
    );
}

#[test]
fn capabilities_that_are_unknown_or_not_ours_are_passed_over_with_a_warning() {
    let spec = edit(|spec| {
        let all = caps(&["CAP_CHOWN", "CAP_FLY", "CAP_SYS_ADMIN"]);
        let sets = process(spec).capabilities.as_mut().unwrap();
        *sets = Capabilities {
            bounding: all.clone(),
            permitted: all,
            ambient: caps(&["CAP_CHOWN"]),
            ..Capabilities::default()
        };
    });
    let compiled = with(&hybrid(), |facts| container(&spec, &Facts { capabilities: 0b11, ..*facts })).unwrap();
    assert!(compiled.plan.ops.contains(&Op::CapabilityBounding { keep: 1 }));
    // Effective was not asked for; ambient without inheritable would be refused by the kernel.
    let sets = Op::Capabilities { effective: 0, permitted: 1, inheritable: 0, ambient: 0 };
    assert!(compiled.plan.ops.contains(&sets));
    assert_eq!(compiled.warnings.len(), 4, "{:?}", compiled.warnings);
}

const MAPPING: IdMapping = IdMapping { inside: 0, node: 65_536, count: 65_536 };

fn of_users(change: impl FnOnce(&mut Spec)) -> Spec {
    edit(|spec| {
        linux(spec).namespaces.push(namespace("user", Some(SANDBOX)));
        (linux(spec).uid_mappings, linux(spec).gid_mappings) = (vec![MAPPING], vec![MAPPING]);
        change(spec);
    })
}

#[test]
fn users_of_a_sandbox_are_entered_first_and_devices_are_bound() {
    let plan = compile(&of_users(|_| ())).unwrap().plan;
    assert_eq!(plan.users, Some(IdMap { inside: 0, node: 65_536, count: 65_536 }));
    assert_eq!(plan.join[0], Join { kind: NamespaceKind::User, from: JoinFrom::Sandbox });
    assert!(!plan.ops.iter().any(|op| matches!(op, Op::MakeDevice { .. })));
    let null = |op: &&Op| matches!(op, Op::Bind { source: BindSource::Path(path), .. } if path == "/dev/null");
    assert_eq!(plan.ops.iter().filter(null).count(), 1);
    let exec = with(&hybrid(), |facts| super::exec(&of_users(|_| ()), "c", facts)).unwrap().plan;
    assert_eq!((exec.users, &exec.join[0].from), (plan.users, &JoinFrom::Task("c".to_owned())));
    assert_eq!(compile(&edit(|_| ())).unwrap().plan.users, None);
}

#[test]
fn owners_of_mounts_are_mapped_as_the_users_are_or_not_at_all() {
    let ids = |change: fn(&mut Mount)| {
        let plan = compile(&of_users(|spec| change(&mut spec.mounts[1]))).unwrap().plan;
        plan.ops.into_iter().find_map(|op| {
            if let Op::Bind { ids, target, .. } = op { Some(ids).filter(|_| target == "/data") } else { None }
        })
    };
    assert_eq!(ids(|_| ()), Some(BindIds::AsOnNode));
    assert_eq!(ids(|mount| mount.options.push(MAP_IF_POSSIBLE.to_owned())), Some(BindIds::MappedIfPossible));
    let mapped = |mount: &mut Mount| (mount.uid_mappings, mount.gid_mappings) = (vec![MAPPING], vec![MAPPING]);
    assert_eq!(ids(mapped), Some(BindIds::Mapped));
    let other = IdMapping { node: 7, ..MAPPING };
    refused(&of_users(|spec| spec.mounts[1].uid_mappings = vec![other]), "mounts[/data].uidMappings");
    refused(&of_users(|spec| spec.mounts[1].uid_mappings = vec![MAPPING]), "mounts[/data].gidMappings");
    for bad in [
        vec![],
        vec![MAPPING, MAPPING],
        vec![IdMapping { inside: 1, ..MAPPING }],
        vec![IdMapping { count: 0, ..MAPPING }],
        vec![IdMapping { node: u32::MAX - 1, ..MAPPING }],
    ] {
        let spec = of_users(|spec| (linux(spec).uid_mappings, linux(spec).gid_mappings) = (bad.clone(), bad));
        refused(&spec, "linux.uidMappings");
    }
    refused(&of_users(|spec| linux(spec).gid_mappings = vec![other]), "linux.gidMappings");
}

#[test]
fn limits_that_can_not_be_raised_are_warned_of() {
    let spec = edit(|spec| {
        process(spec).rlimits = vec![Rlimit { kind: "RLIMIT_NOFILE".to_owned(), soft: 10, hard: 2000 }];
    });
    let mut held = HardLimits::NONE;
    held.0[libc::RLIMIT_NOFILE as usize] = 1000;
    let warnings = |capabilities| {
        with(&hybrid(), |facts| container(&spec, &Facts { capabilities, limits: &held, ..*facts })).unwrap().warnings
    };
    assert_eq!(warnings(crate::capability::ALL), Vec::<String>::new());
    let without = crate::capability::ALL & !(1 << crate::capability::bit("SYS_RESOURCE").unwrap());
    let warned = warnings(without);
    assert!(warned.iter().any(|warning| warning.contains("RLIMIT_NOFILE above 1000")), "{warned:?}");
}

#[test]
fn init_stands_above_the_session_and_the_limits_of_its_program() {
    let spec = edit(|spec| {
        spec.annotations.insert(INIT.to_owned(), "true".to_owned());
        process(spec).rlimits = vec![Rlimit { kind: "RLIMIT_NPROC".to_owned(), soft: 1, hard: 1 }];
    });
    let ops = compile(&spec).unwrap().plan.ops;
    let at = |found: fn(&Op) -> bool| ops.iter().position(found).unwrap();
    let init = at(|op| matches!(op, Op::Init));
    assert!(at(|op| matches!(op, Op::PivotRoot)) < init);
    for after in [
        at(|op| matches!(op, Op::Rlimit { .. })),
        at(|op| matches!(op, Op::NewSession)),
        at(|op| matches!(op, Op::CapabilityBounding { .. })),
    ] {
        assert!(init < after);
    }
    let exec = with(&hybrid(), |facts| super::exec(&spec, "c", facts)).unwrap();
    assert!(!exec.plan.ops.contains(&Op::Init), "an exec has the container's init above it");
}

#[test]
fn namespaces_of_another_sandbox_are_slots() {
    let spec = edit(|spec| {
        linux(spec).namespaces.retain(|namespace| namespace.kind != "network");
        linux(spec).namespaces.push(namespace("network", Some(&of_other("pod2", "web"))));
        spec.mounts.push(mount("/dev/shm", "bind", &shm_of_other("pod2"), &["rbind"]));
    });
    let compiled = compile(&spec).unwrap();
    let other =
        SlotSource::OfOther { kind: NamespaceKind::Network, sandbox: "pod2".to_owned(), container: "web".to_owned() };
    assert_eq!(compiled.slots, [SlotSource::Rootfs, other, SlotSource::ShmOfOther { sandbox: "pod2".to_owned() }]);
    assert!(compiled.plan.join.contains(&Join { kind: NamespaceKind::Network, from: JoinFrom::Slot(1) }));
    let bound = |op: &Op| matches!(op, Op::Bind { source: BindSource::Slot(2), target, .. } if target == "/dev/shm");
    assert!(compiled.plan.ops.iter().any(bound));
}

#[test]
fn limits_reach_the_plan_in_the_nodes_tongue() {
    let spec = edit(|spec| {
        let json = r#"{"memory": {"limit": 5, "swap": 5}, "pids": {"limit": 3}, "cpu": {"shares": 0}}"#;
        linux(spec).resources = Some(serde_json::from_str(json).unwrap());
    });
    let files = |hierarchies: &Hierarchies| -> Vec<String> {
        let plan = with(hierarchies, |facts| container(&spec, facts)).unwrap().plan;
        plan.cgroup.unwrap().writes.into_iter().map(|write| write.file).collect()
    };
    assert_eq!(files(&hybrid()), ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max"]);
    assert_eq!(files(&unified()), ["memory.max", "memory.swap.max", "pids.max"]);
    let bad = edit(|spec| {
        linux(spec).resources = Some(serde_json::from_str(r#"{"memory": {"limit": 5, "swap": 4}}"#).unwrap());
    });
    refused(&bad, "linux.resources.memory.swap");
}

/// Privileges that an operation needs and that a later one could lack, by how far the confining has gone.
fn stage(op: &Op) -> usize {
    match op {
        Op::SetPropagation { .. } => 0,
        Op::AttachRootfs { .. } => 1,
        Op::MountNew { .. } | Op::Bind { .. } | Op::MakeDevice { .. } | Op::Symlink { .. } => 2,
        Op::PivotRoot => 3,
        Op::Sysctl { .. } => 4,
        Op::Mask { .. } | Op::ReadonlyPath { .. } => 5,
        Op::ReadonlyRoot => 6,
        Op::Rlimit { .. }
        | Op::OomScoreAdj { .. }
        | Op::Umask { .. }
        | Op::NewSession
        | Op::Init
        | Op::Terminal { .. } => 7,
        Op::CapabilityBounding { .. } => 8,
        Op::Identity { .. } => 9,
        Op::Capabilities { .. } => 10,
        Op::NoNewPrivileges => 11,
        // Where these two stand has tests of its own.
        Op::Chdir { .. } | Op::Seccomp { .. } => usize::MAX,
    }
}

proptest! {
    #[test]
    fn no_operation_needs_what_an_earlier_one_dropped(
        nnp in any::<bool>(), readonly in any::<bool>(), confined in any::<bool>(),
        targets in prop::collection::vec("/[a-d]{1,2}(/[a-d]{1,2})?", 0..6), cwd in "/[a-d]{0,2}",
    ) {
        let spec = edit(|spec| {
            process(spec).no_new_privileges = nnp;
            process(spec).cwd = cwd;
            spec.root = Some(Root { path: "r".into(), readonly });
            if !confined { linux(spec).seccomp = None; }
            spec.mounts.extend(targets.iter().map(|target| mount(target, "bind", "/srv", &["rbind"])));
        });
        let ops = compile(&spec).unwrap().plan.ops;
        let stages: Vec<usize> = ops.iter().map(stage).filter(|stage| *stage != usize::MAX).collect();
        prop_assert!(stages.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", order(&ops));
        let at = |wanted: &str| ops.iter().rposition(|op| name(op) == wanted);
        if let Some(filter) = at("Seccomp") {
            let identity = at("Identity").unwrap();
            prop_assert_eq!(nnp, filter > identity);
        }
        // The folder that the program stands in is entered after everything that is mounted.
        prop_assert!(at("Chdir") > at("ReadonlyRoot").or(at("ReadonlyPath")));
    }
}

#[test]
fn attack_devices_can_not_be_made_where_nothing_enforces_device_rules() {
    let mut spec = spec();
    let names = caps(&["CAP_MKNOD", "CAP_CHOWN"]);
    let asked =
        Capabilities { bounding: names.clone(), permitted: names.clone(), effective: names, ..Default::default() };
    spec.process.as_mut().unwrap().capabilities = Some(asked);
    let rule = crate::oci::DeviceCgroup { allow: false, access: Some("rwm".to_owned()), ..Default::default() };
    let mut enforced = hybrid();
    enforced.v1.push(hierarchy("/cg/devices", &["devices"]));
    let mknod = 1 << crate::capability::bit("MKNOD").unwrap();
    for (hierarchies, device_programs, rules, expected) in [
        (&unified(), false, vec![rule.clone()], DeviceAccess::Unenforced),
        (&unified(), true, vec![rule.clone()], DeviceAccess::Program(Vec::new())),
        (&hybrid(), false, vec![rule.clone()], DeviceAccess::Unenforced),
        (&hybrid(), true, vec![rule.clone()], DeviceAccess::Program(Vec::new())),
        // The files are there; a program would say the same again.
        (&enforced, true, vec![rule], DeviceAccess::AsWritten),
        // Privileged: there are no rules.
        (&unified(), false, Vec::new(), DeviceAccess::AsWritten),
    ] {
        let resources = spec.linux.as_mut().unwrap().resources.get_or_insert_default();
        resources.devices = rules;
        let compiled = with(hierarchies, |facts| container(&spec, &Facts { device_programs, ..*facts })).unwrap();
        let held = compiled.plan.ops.iter().find_map(|op| {
            let Op::Capabilities { permitted, effective, .. } = op else { return None };
            Some(permitted | effective)
        });
        let is_enforced = expected != DeviceAccess::Unenforced;
        assert_eq!(held.unwrap() & mknod != 0, is_enforced);
        assert_eq!(compiled.warnings.iter().any(|warning| warning.contains("CAP_MKNOD")), !is_enforced);
        let devices = compiled.plan.cgroup.unwrap().devices;
        assert_eq!(std::mem::discriminant(&devices), std::mem::discriminant(&expected));
        if let DeviceAccess::Program(bytes) = devices {
            assert!(!bytes.is_empty() && bytes.len() % 8 == 0);
        }
        // What an exec is given agrees with its container's.
        let exec = with(hierarchies, |facts| super::exec(&spec, "c", &Facts { device_programs, ..*facts })).unwrap();
        assert_eq!(exec.warnings.is_empty(), is_enforced);
    }
}

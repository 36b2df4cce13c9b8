//! Containers whose users are none of the node's.

use crate::sharing::{end, output};
use crate::support::{Pod, World, pod};
use crate::world;
use orlop_model::container::{ContainerSpec, Mount, NamespaceMode, Rlimit, Tmpfs};
use orlop_model::container_state::Exit;
use orlop_model::ports::{ExecOverrides, Launched, Runtime};
use orlop_model::sandbox::{IdMapping, NamespaceScope};
use orlop_model::streams::TerminalSize;
use orlop_model::{ContainerId, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};

const IDS: IdMapping = IdMapping { inside: 0, node: 200_000, count: 65_536 };

/// Raises a pod with users of its own; `None`, with the reason said, where owners of files can't be mapped.
async fn ground(name: &str) -> Option<(World, Pod)> {
    let mut world = World::new(name);
    if let Err(error) = world.map_rootfs(IDS) {
        eprintln!("skipped: this file system can't show owners mapped: {error}");
        return None;
    }
    for program in ["/usr/bin/stat", "/bin/mount", "/bin/touch", "/bin/grep"] {
        world.add_program(program);
    }
    let mut web = pod("web");
    web.spec.user_namespace = Some(IDS);
    web.spec.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    web.spec.sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
    web.spec.sysctls.insert("fs.mqueue.msg_max".into(), "20".into());
    world.client.raise(&web.id, &web.spec).await.unwrap();
    Some((world, web))
}

macro_rules! ground {
    ($name:expr) => {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        } else if let Some(ground) = ground($name).await {
            ground
        } else {
            return;
        }
    };
}

/// A word for each question, so that an answer is found by its place.
async fn answers(world: &World, pod: &Pod, spec: &ContainerSpec, id: &ContainerId) -> Vec<(String, String)> {
    let said = output(world, pod, spec, id).await;
    let pairs = said.iter().map(|line| line.split_once('=').unwrap_or_else(|| panic!("{said:?}")));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn of(found: &[(String, String)], name: &str) -> String {
    found.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("{name}"))
}

#[tokio::test]
async fn root_of_a_pod_rules_its_namespaces_and_is_nobody_on_the_node() {
    let (world, web) = ground!("userns");
    let script = r#"
        try() { "$@" > /dev/null 2>&1 && echo yes || echo no; }
        echo map=$(cat /proc/self/uid_map)
        echo groups=$(cat /proc/self/setgroups)
        echo id=$(id -u):$(id -g):$(id -G)
        echo caps=$(grep CapEff /proc/self/status)
        echo host=$(cat /proc/sys/kernel/hostname)
        echo sysctls=$(cat /proc/sys/net/ipv4/ip_forward):$(cat /proc/sys/kernel/shm_rmid_forced):$(cat /proc/sys/fs/mqueue/msg_max)
        echo ping=$(cat /proc/sys/net/ipv4/ping_group_range)
        echo root=$(stat -c %u /):$(stat -c %u /bin/sh):$(stat -c %u /etc/hosts):$(stat -c %u /dev/shm):$(stat -c %u /dev/pts/ptmx)
        echo null=$(try sh -c 'echo x > /dev/null'):$(stat -c %t:%T /dev/null):$(try sh -c ': < /dev/urandom')
        echo owner=$(stat -c %u /dev/null)
        echo net=$(try ls /sys/class/net/lo)
        echo mqueue=$(try touch /dev/mqueue/x)
        echo shm=$(try touch /dev/shm/x):$(stat -c %u /dev/shm/x)
        echo files=$(try touch /new /etc/new):$(try grep web /etc/hostname)
        echo proc=$(try sh -c 'echo 1 > /proc/sys/kernel/core_pattern'):$(try sh -c 'echo 1 > /proc/sysrq-trigger')
        echo cgroup=$(try touch /sys/fs/cgroup/x):$(try mount -t tmpfs none /tmp)
        echo stdout=$(try sh -c 'echo stdout=x > /dev/stdout')
        echo tmpfs=$(stat -c %u:%g /run)
        echo masked=$(try cat /proc/kcore):$(ls /sys/firmware)
        "#;
    let (mut spec, id) = world.container(&web, "one", script);
    spec.tmpfs = vec![Tmpfs { owner: Some((7, 8)), ..Tmpfs::new("/run") }];
    spec.process.rlimits = vec![Rlimit { name: "RLIMIT_NOFILE".into(), soft: 100, hard: 200 }];
    let found = answers(&world, &web, &spec, &id).await;
    let of = |name| of(&found, name);
    assert_eq!(of("map").split_whitespace().collect::<Vec<_>>(), ["0", "200000", "65536"]);
    assert_eq!((of("groups"), of("id")), ("allow".into(), "0:0:0".into()));
    assert_eq!(of("caps"), "CapEff: 00000000a80425fb");
    assert_eq!((of("host"), of("sysctls")), ("web".into(), "1:1:20".into()));
    assert_eq!(of("ping").split_whitespace().collect::<Vec<_>>(), ["0", "65535"]);
    assert_eq!(of("root"), "0:0:0:0:0");
    assert_eq!(of("null"), "yes:1:3:yes");
    assert_eq!(of("owner"), "65534", "the node's devices stay the node's");
    assert_eq!((of("net"), of("mqueue"), of("shm")), ("yes".into(), "yes".into(), "yes:0".into()));
    assert_eq!((of("files"), of("proc")), ("yes:yes".into(), "no:no".into()));
    // Its cgroup is shown and stays the node's; without CAP_SYS_ADMIN nothing is mounted.
    assert_eq!((of("cgroup"), of("tmpfs")), ("no:no".into(), "7:8".into()));
    assert_eq!(of("masked"), "no:");
    let made = std::fs::metadata(world.dir.path().join("rootfs/new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0), "what it makes is its own, as its layer stores it");
    end(world, &[&web]).await;
}

#[tokio::test]
async fn right_to_mount_is_one_of_the_pod_alone() {
    let (world, web) = ground!("usersmount");
    let script = r#"
        try() { "$@" > /dev/null 2>&1 && echo yes || echo no; }
        echo mount=$(try mount -t tmpfs none /tmp)
        echo disk=$(try mount -t ext4 /dev/null /tmp)
        echo node=$(try sh -c 'echo x > /proc/sys/kernel/core_pattern')
        echo caps=$(grep CapEff /proc/self/status)
        "#;
    let (mut spec, id) = world.container(&web, "one", script);
    spec.security.capabilities_add = vec!["ALL".into()];
    spec.security.seccomp = orlop_model::container::SeccompProfile::Unconfined;
    let found = answers(&world, &web, &spec, &id).await;
    assert_eq!((of(&found, "mount"), of(&found, "disk"), of(&found, "node")), ("yes".into(), "no".into(), "no".into()));
    // Also those that the node's root has not.
    assert_eq!(of(&found, "caps"), "CapEff: 000001ffffffffff");
    end(world, &[&web]).await;
}

#[tokio::test]
async fn other_user_of_a_pod_has_its_pipes_and_an_exec_is_among_them() {
    let (world, web) = ground!("usersother");
    let script = "echo first=$(id -u):$(id -G); echo out=yes > /dev/stdout; echo score=$(cat /proc/self/oom_score_adj); exec sleep 600";
    let (mut spec, id) = world.container(&web, "one", script);
    spec.process.user.user = "web".into();
    let launched = world.start(&web, &spec, &id).await.unwrap();
    let Launched::Running { pid, .. } = launched else { panic!("{launched:?}") };
    crate::support::wait_for("the program", || world.log("one.log").contains("score=").then_some(())).await;
    let log = world.log("one.log");
    assert!(log.contains("first=33:33 44") && log.contains("out=yes"), "{log}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t200033\t200033\t200033\t200033"), "{status}");

    let script = "echo $(id -u); cat /proc/self/uid_map; echo x > /dev/stdout";
    let found = world.exec(&web, &spec, &id, &["/bin/sh", "-c", script], None).await.unwrap();
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["0", "0", "200000", "65536", "x"], "{found:?}");
    end(world, &[&web]).await;
}

#[tokio::test]
async fn processes_of_a_pod_with_users_can_be_shared_and_have_an_init() {
    let (world, web) = ground!("usersshared");
    let (mut first, first_id) = world.container(&web, "first", "");
    // No shell, which would be one for a moment.
    first.process.command = ["/bin/sleep", "600"].map(str::to_owned).to_vec();
    first.namespaces.pid = NamespaceMode::OfSandbox;
    first.process.init = true;
    world.start(&web, &first, &first_id).await.unwrap();
    let script =
        "cat /proc/1/comm; cat /proc/*/comm | grep -c -x sleep; grep Uid /proc/1/status; grep CapPrm /proc/1/status";
    let (mut second, second_id) = world.container(&web, "second", script);
    second.namespaces.pid = NamespaceMode::OfSandbox;
    let said = output(&world, &web, &second, &second_id).await;
    assert_eq!(said, ["orlop-init", "1", "Uid:\t0\t0\t0\t0", "CapPrm:\t0000000000000000"]);
    // Also into a container whose first process nobody in there may look at.
    let found =
        world.exec(&web, &first, &first_id, &["/bin/sh", "-c", "id -u; cat /proc/self/uid_map"], None).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout).split_whitespace().next(), Some("0"), "{found:?}");
    world.client.signal(&web.id, &first_id, 15).await.unwrap();
    assert_eq!(world.wait_ended(&first_id).await.exit, Exit::Code { code: 143, oom: false });
    end(world, &[&web]).await;
}

#[tokio::test]
async fn owners_of_a_volume_are_mapped_where_that_is_asked_for() {
    let (world, web) = ground!("usersvolume");
    for name in ["mapped", "plain"] {
        let folder = world.dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.join("file"), "").unwrap();
        lchown(folder.join("file"), Some(33), Some(33)).unwrap();
    }
    let script = r#"
        try() { "$@" > /dev/null 2>&1 && echo yes || echo no; }
        echo mapped=$(stat -c %u:%g /mapped/file):$(try touch /mapped/new)
        echo plain=$(stat -c %u:%g /plain/file):$(try touch /plain/new)
        "#;
    let (mut spec, id) = world.container(&web, "one", script);
    let mapped = Mount { ids: Some(IDS), ..Mount::new("/mapped", world.dir.path().join("mapped")) };
    spec.mounts = vec![mapped.clone(), Mount::new("/plain", world.dir.path().join("plain"))];
    let found = answers(&world, &web, &spec, &id).await;
    assert_eq!((of(&found, "mapped"), of(&found, "plain")), ("33:33:yes".into(), "65534:65534:no".into()));
    let made = std::fs::metadata(world.dir.path().join("mapped/new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0));

    // A file system that can't: the failure names the volume.
    let (mut spec, id) = world.container(&web, "two", "true");
    spec.mounts = vec![Mount { ids: Some(IDS), ..Mount::new("/data", "/proc/sys/net") }];
    let launched = world.start(&web, &spec, &id).await.unwrap();
    let Launched::Failed(ended) = launched else { panic!("{launched:?}") };
    let Exit::NeverStarted { message, .. } = ended.exit else { panic!("{ended:?}") };
    assert!(message.contains("mount /proc/sys/net at /data") && message.contains("owners mapped"), "{message}");
    end(world, &[&web]).await;
}

#[tokio::test]
async fn what_can_not_be_among_users_of_a_pod_is_refused() {
    let world = world!("usersrefused");
    let mut web = pod("web");
    web.spec.user_namespace = Some(IDS);
    web.spec.network = NamespaceScope::Host;
    let failure = world.client.raise(&web.id, &web.spec).await.unwrap_err();
    assert!(failure.message.contains("must be its own"), "{failure}");
    world.client.drop_sandbox(&web.id).await.unwrap();

    web.spec.network = NamespaceScope::Sandbox;
    let (good, id) = world.container(&web, "one", "true");
    let mut cases = Vec::new();
    let mut bad = good.clone();
    bad.process.user.user = "70000".into();
    cases.push((bad, "70000 is not in the sandbox's user namespace"));
    let mut bad = good.clone();
    bad.namespaces.pid = NamespaceMode::Host;
    cases.push((bad, "PID namespace"));
    let mut bad = good.clone();
    bad.mounts = vec![Mount { ids: Some(IdMapping { node: 7, ..IDS }), ..Mount::new("/data", "/usr") }];
    cases.push((bad, "mount /data"));
    let mut bad = good.clone();
    let propagation = orlop_model::container::Propagation::Bidirectional;
    bad.mounts = vec![Mount { propagation, ..Mount::new("/data", "/usr") }];
    cases.push((bad, "mount /data"));
    for (bad, says) in cases {
        let failure = world.check(&web, &bad, &id).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::InvalidArgument, "{failure}");
        assert!(failure.message.contains(says), "{failure}");
    }
    world.end().await;
}

#[tokio::test]
async fn terminals_of_a_pod_with_users_are_its_users() {
    let (world, web) = ground!("userterminal");
    let (mut spec, id) = world.container(&web, "one", "stat -c %u /dev/console; echo > /dev/tty; sleep 1000");
    spec.process.terminal = true;
    let launched = world.start(&web, &spec, &id).await.unwrap();
    assert!(matches!(launched, Launched::Running { .. }), "{launched:?}");
    crate::support::wait_for("its words", || world.log("one.log").contains(" stdout F 0").then_some(())).await;
    let overrides = ExecOverrides { user: "web".to_owned(), ..ExecOverrides::default() };
    let script = "stat -L -c %u /proc/self/fd/0; echo words > /dev/tty";
    let size = Some(TerminalSize::default());
    let run = crate::streams::open(&world, (&web, &spec, &id), script, &overrides, size).await.unwrap();
    assert_eq!(run.ended.await.unwrap().exit_code, 0);
    drop(run.streams.stdin);
    assert_eq!(crate::streams::read(run.streams.stdout.as_ref().unwrap(), None).await, "33\nwords\n");
    world.client.drop_sandbox(&web.id).await.unwrap();
    world.client.drop_task(&web.id, &id).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn other_user_of_a_pod_has_its_terminal() {
    let (world, web) = ground!("usersterminal");
    let script = "id -u > /dev/tty; stat -c %u:%a /dev/pts/0; test -t 0 && echo terminal";
    let (mut spec, id) = world.container(&web, "one", script);
    spec.process.user.user = "web".into();
    spec.process.terminal = true;
    let said = output(&world, &web, &spec, &id).await;
    let said: Vec<&str> = said.iter().map(|line| line.trim_end()).collect();
    assert_eq!(said, ["33", "33:620", "terminal"]);
    end(world, &[&web]).await;
}

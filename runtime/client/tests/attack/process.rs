//! What a process is born with: descriptors, capabilities, groups, environment; and what it can do to our own processes.

use crate::support::wait_for;
use crate::up;
use orlop_model::container::NamespaceMode;
use orlop_model::container_state::Exit;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[tokio::test]
async fn attack_no_descriptor_leaks_into_start_or_exec() {
    let ground = up!("fds");
    let running = ground.start("one", "exec sleep 1000", |_| {}).await;
    let open = || {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", running.pid)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    // The loader has its library open for a moment, for the shell as for its successor.
    wait_for("the end of all but the three", || (open() == ["0", "1", "2"]).then_some(())).await;
    // The fourth is that of ls itself, open on what it lists.
    let said = ground.exec_said(&running, "exec ls -l /proc/self/fd").await;
    let links: Vec<&str> = said.lines().filter_map(|line| line.split_once(" -> ")).map(|(_, to)| to).collect();
    assert_eq!(links.len(), 4, "{said}");
    assert!(links[3].starts_with("/proc/"), "{said}");
    ground.end().await;
}

#[tokio::test]
async fn attack_standard_input_is_no_file_of_the_node() {
    let ground = up!("stdin");
    ground.world.add_program("/bin/chmod");
    let node = || std::fs::metadata("/dev/null").unwrap();
    let before = node();
    let script = "chmod 667 /proc/self/fd/0 /dev/stdin; head -c 1 <&0; echo done";
    let said = ground.run("one", script, |_| {}).await;
    let running = ground.start("two", "sleep 1000", |_| {}).await;
    let by_exec = ground.exec_said(&running, script).await;
    let after = node();
    std::fs::set_permissions("/dev/null", before.permissions()).unwrap();
    assert_eq!(after.permissions().mode(), before.permissions().mode(), "the node's /dev/null was changed");
    assert_eq!((said.as_str(), by_exec.as_str()), ("done\n", "done\n"));
    let ours = std::fs::metadata(format!("/proc/{}/fd/0", running.pid)).unwrap();
    assert_eq!(ours.rdev(), before.rdev());
    assert_ne!((ours.dev(), ours.ino()), (before.dev(), before.ino()));
    ground.end().await;
}

#[tokio::test]
async fn attack_inheritable_capabilities_are_empty_for_start_and_exec() {
    let ground = up!("caps");
    let running = ground.start("one", "cat /proc/self/status; exec sleep 1000", |_| {}).await;
    wait_for("the status", || ground.said("one").contains("NoNewPrivs").then_some(())).await;
    let by_exec = ground.exec_said(&running, "cat /proc/self/status").await;
    for status in [ground.said("one"), by_exec] {
        for (name, expected) in [
            ("CapInh", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
            ("CapPrm", "00000000a80425fb"),
            ("CapEff", "00000000a80425fb"),
            ("CapBnd", "00000000a80425fb"),
            ("Seccomp", "2"),
        ] {
            let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim();
            assert_eq!(found, expected, "{name}");
        }
    }
    let user = ground.run("two", "cat /proc/self/status", |spec| spec.process.user.user = "web".to_owned()).await;
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(user.contains(&format!("{name}:\t0000000000000000")), "{user}");
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_groups_are_set_so_that_none_of_the_node_remains() {
    let ground = up!("groups");
    std::fs::write(ground.inside("/tmp/denied"), "x").unwrap();
    std::os::unix::fs::chown(ground.inside("/tmp/denied"), Some(0), Some(44)).unwrap();
    std::fs::set_permissions(ground.inside("/tmp/denied"), std::fs::Permissions::from_mode(0o707)).unwrap();
    let script = "id -u; id -g; id -G; cat /tmp/denied || echo denied";
    for (name, user, expected) in [
        // In group 44 by the image: the file says that its group may not.
        ("one", "web", "33\n33\n33 44\n"),
        ("two", "33", "33\n33\n33 44\n"),
        ("three", "1000", "1000\n0\n0\n"),
    ] {
        let said = ground.run(name, script, |spec| spec.process.user.user = user.to_owned()).await;
        assert!(said.starts_with(expected), "{user}: {said}");
        assert_eq!(said.ends_with("denied\n"), user != "1000", "{user}: {said}");
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_user_can_open_its_own_output_and_no_other() {
    let ground = up!("stdout");
    let script = "echo out > /dev/stdout; echo err > /dev/stderr; (echo x > /proc/1/fd/0) 2>/dev/null; echo over";
    let user = "web";
    let said = ground.run("one", script, |spec| spec.process.user.user = user.to_owned()).await;
    // Two pipes: which of them the shim reads first is not told.
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "out", "over"]);
    let as_user = |spec: &mut orlop_model::container::ContainerSpec| spec.process.user.user = user.to_owned();
    let running = ground.start("two", "sleep 1000", as_user).await;
    assert_eq!(ground.exec_said(&running, script).await, "out\nover\nerr\n");
    ground.end().await;
}

#[tokio::test]
async fn attack_environment_of_one_container_is_not_in_another() {
    let ground = up!("env");
    let with = |name: &str, value: &str| vec![("PATH".into(), b"/bin".to_vec()), (name.into(), value.into())];
    let one = ground.run("one", "export -p", |spec| spec.process.env = with("SECRET_ONE", "of-one")).await;
    let two = ground.run("two", "export -p", |spec| spec.process.env = with("SECRET_TWO", "of-two")).await;
    assert!(one.contains("of-one") && !one.contains("SECRET_TWO"), "{one}");
    assert!(two.contains("of-two") && !two.contains("SECRET_ONE"), "{two}");
    // Nothing of ours either.
    let known = ["PATH=", "HOME=", "HOSTNAME=", "PWD=", "OLDPWD", "SECRET_TWO="];
    for line in two.lines() {
        assert!(known.iter().any(|name| line.strip_prefix("export ").is_some_and(|l| l.starts_with(name))), "{line}");
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_our_binary_can_not_be_opened_for_writing_through_proc() {
    const EXECS: usize = 100;
    let ground = up!("exe");
    let binary = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("orlop-shim");
    let before = std::fs::read(&binary).unwrap();
    std::fs::write(ground.inside("/evil"), "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(ground.inside("/evil"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // As the first program, and as that of an exec: it runs our binary, which then is a program without arguments it knows.
    let (ended, _) = ground.run_to_end("zero", "", |spec| spec.process.command = vec!["/evil".to_owned()]).await;
    assert_eq!(ended.exit, Exit::Code { code: 2, oom: false });
    let opener =
        "echo up; while :; do for p in /proc/[0-9]*; do ( : >> $p/exe ) 2>/dev/null && echo opened $p; done; done";
    let running = ground.start("one", opener, |_| {}).await;
    wait_for("the opener", || ground.said("one").contains("up").then_some(())).await;
    for _ in 0..EXECS {
        ground.world.exec(&ground.pod, &running.spec, &running.id, &["/evil"], None).await.unwrap();
    }
    assert_eq!(ground.said("one"), "up\n");
    assert!(std::fs::read(&binary).unwrap() == before, "our binary was changed");
    ground.end().await;
}

#[tokio::test]
async fn attack_first_process_of_a_pod_gives_nothing_of_the_node_to_a_container_that_may_trace_it() {
    let ground = up!("podinit");
    let script = "cat /proc/1/comm; ls -A /proc/1/root/ && echo end of root; ls -l /proc/1/fd; cat /proc/1/status; \
                  for n in net ipc uts mnt; do ls -l /proc/1/ns/$n /proc/self/ns/$n; done";
    let said = ground
        .run("one", script, |spec| {
            spec.namespaces.pid = NamespaceMode::OfSandbox;
            spec.security.capabilities_add = vec!["SYS_PTRACE".to_owned()];
        })
        .await;
    assert!(said.starts_with("orlop-init\nend of root\n"), "its root is not empty: {said}");
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(said.contains(&format!("{name}:\t0000000000000000\n")), "{name}: {said}");
    }
    assert!(said.contains("NoNewPrivs:\t1\n") && said.contains("Seccomp:\t2\n"), "{said}");
    let open: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with('l'))
        .filter_map(|line| line.split_once(" -> "))
        .map(|l| l.1)
        .collect();
    let (descriptors, namespaces) = open.split_at(open.len() - 8);
    assert_eq!(descriptors.len(), 3, "{said}");
    assert!(descriptors.iter().all(|to| to.contains("null")), "{said}");
    for pair in namespaces.chunks(2).take(3) {
        assert_eq!(pair[0], pair[1], "a namespace of the node: {said}");
    }
    let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_ne!(namespaces[6], own.to_str().unwrap(), "{said}");
    ground.end().await;
}

#[tokio::test]
async fn attack_working_folder_with_line_breaks_writes_no_file() {
    let ground = up!("lines");
    let passwd = || std::fs::read_to_string(ground.inside("/etc/passwd")).unwrap();
    let before = passwd();
    let folder = "/x\nroot2::0:0::/:/bin/sh";
    let said = ground.run("one", "cat /etc/passwd", |spec| spec.process.working_dir = folder.to_owned()).await;
    assert_eq!((passwd(), said), (before.clone(), before));
    ground.end().await;
}

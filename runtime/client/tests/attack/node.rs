//! What is the node's: sockets, folders, logs, sysctls.

use crate::support::pod;
use crate::up;
use orlop_model::ErrorKind;
use orlop_model::ports::Runtime;
use orlop_model::sandbox::NamespaceScope;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[tokio::test]
async fn attack_container_with_the_nodes_network_reaches_no_socket_of_ours() {
    let mut ground = up!("abstract");
    ground.pod = pod("node");
    ground.pod.spec.network = NamespaceScope::Host;
    ground.pod.spec.hostname = String::new();
    let before = pod("web");
    ground.world.client.raise(&ground.pod.id, &ground.pod.spec).await.unwrap();
    let script =
        format!("cat /proc/net/unix; ls {} 2> /dev/null || echo out of reach", ground.world.run_dir().display());
    let said = ground.run("one", &script, |_| {}).await;
    assert!(said.ends_with("out of reach\n"), "{said}");
    let ours: Vec<&str> =
        said.lines().filter(|line| line.ends_with("shim.sock") || line.ends_with("spawner.sock")).collect();
    assert!(ours.len() >= 3, "the sockets of both shims and the spawner are there by their paths: {said}");
    assert!(ours.iter().all(|line| !line.contains(" @")), "{ours:?}");
    ground.world.client.drop_sandbox(&before.id).await.unwrap();
    ground.end().await;
}

#[tokio::test]
async fn attack_other_users_of_the_node_see_nothing_of_the_run_folder() {
    let ground = up!("others");
    let running = ground.start("one", "sleep 1000", |_| {}).await;
    // The folder above is a test's own and keeps others out by itself.
    std::fs::set_permissions(ground.world.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = ground.world.run_dir();
    let sandbox = run.join("sandboxes").join(ground.pod.id.as_str());
    for path in [run.join("spawner.sock"), run.join("sandboxes"), sandbox.join("shim.sock"), sandbox.join("hosts")] {
        std::fs::symlink_metadata(&path).unwrap();
        let mut stat = Command::new("stat");
        stat.arg(&path).uid(65534).gid(65534).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(!stat.status().unwrap().success(), "{} can be seen", path.display());
    }
    for socket in [run.join("spawner.sock"), sandbox.join("shim.sock")] {
        assert_eq!(std::fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);
    }
    for folder in [run, sandbox.clone(), sandbox.join("exits")] {
        assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
    assert!(running.pid > 0);
    ground.end().await;
}

#[tokio::test]
async fn attack_log_that_is_a_link_is_not_followed_and_its_path_does_not_climb() {
    let ground = up!("logs");
    let logs = ground.world.dir.path().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    std::os::unix::fs::symlink(ground.canary().join("file"), logs.join("one.log")).unwrap();
    std::os::unix::fs::symlink(ground.canary(), logs.join("sub")).unwrap();
    std::os::unix::fs::symlink(ground.canary(), ground.world.dir.path().join("elsewhere")).unwrap();
    let elsewhere = ground.world.dir.path().join("elsewhere");
    for (name, directory, file) in [
        ("one", &logs, "one.log"),
        ("two", &logs, "sub/x.log"),
        ("three", &elsewhere, "x.log"),
        ("four", &elsewhere, "a/x.log"),
    ] {
        let (mut spec, id) = ground.spec(name, "echo harm");
        let log = spec.log.as_mut().unwrap();
        (log.directory, log.file) = (directory.clone(), PathBuf::from(file));
        ground.world.start(&ground.pod, &spec, &id).await.unwrap_err();
    }
    for (name, file) in [("five", "../canary/x"), ("six", "/etc/x"), ("seven", "a/../../canary/x"), ("eight", "")] {
        let (mut spec, id) = ground.spec(name, "echo harm");
        spec.log.as_mut().unwrap().file = PathBuf::from(file);
        let refused = ground.world.check(&ground.pod, &spec, &id).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{file}");
        ground.world.start(&ground.pod, &spec, &id).await.unwrap_err();
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_sysctls_of_the_node_are_refused_and_values_stay_values() {
    let ground = up!("sysctl");
    let core_pattern = || std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = core_pattern();
    for (host, name, value) in [
        (true, "net.ipv4.ip_forward", "1"),
        (true, "kernel.shmmax", "1"),
        (false, "kernel.core_pattern", "|/x"),
        (false, "vm.overcommit_memory", "1"),
        (false, "net.ipv4/../../kernel/core_pattern", "|/x"),
        (false, "net/../kernel/core_pattern", "|/x"),
        (false, "net.ipv4.ip_local_port_range", "1 2\nkernel.core_pattern=x"),
        (false, "net.ipv4.ip_local_port_range", "1 2\0"),
        (false, "net.ipv4.ip_local_port_range", "1 2+kernel.core_pattern=|/x"),
    ] {
        let mut bad = pod("bad");
        if host {
            (bad.spec.network, bad.spec.ipc) = (NamespaceScope::Host, NamespaceScope::Host);
            bad.spec.hostname = String::new();
        }
        bad.spec.sysctls.insert(name.to_owned(), value.to_owned());
        let refused = ground.world.client.raise(&bad.id, &bad.spec).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{name}: {refused}");
        ground.world.client.drop_sandbox(&bad.id).await.unwrap();
    }
    assert_eq!(core_pattern(), before);
    ground.end().await;
}

#[tokio::test]
async fn attack_shim_is_never_in_a_cgroup_of_its_pod() {
    let ground = up!("memcg");
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", ground.shim())).unwrap();
    assert!(!own.contains(ground.pod.id.as_str()) && own.contains("/shims"), "{own}");
    assert!(Path::new(&format!("/proc/{}", ground.shim())).exists());
    ground.end().await;
}

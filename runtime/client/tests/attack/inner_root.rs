//! Root of a pod with users of its own, with every capability there, against its cgroup and what is made in its pod.

use crate::ground::Ground;
use orlop_model::container::{ContainerSpec, NamespaceMode, SeccompProfile};
use orlop_model::ports::Runtime;
use orlop_model::sandbox::IdMapping;

const IDS: IdMapping = IdMapping { inside: 0, node: 400_000, count: 65_536 };

/// Raises the pod anew with users of its own; `None`, with the reason said, where owners of files can't be mapped.
async fn ground(name: &str) -> Option<Ground> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    let mut ground = Ground::new(name).await;
    ground.world.client.drop_sandbox(&ground.pod.id).await.unwrap();
    if let Err(error) = ground.world.map_rootfs(IDS) {
        eprintln!("skipped: this file system can't show owners mapped: {error}");
        ground.end().await;
        return None;
    }
    ground.pod.spec.user_namespace = Some(IDS);
    ground.world.client.raise(&ground.pod.id, &ground.pod.spec).await.unwrap();
    for program in ["/bin/mount", "/bin/touch", "/bin/mkdir", "/bin/readlink"] {
        ground.world.add_program(program);
    }
    Some(ground)
}

fn with_all_rights(spec: &mut ContainerSpec) {
    spec.security.capabilities_add = vec!["ALL".into()];
    spec.security.seccomp = SeccompProfile::Unconfined;
    spec.security.masked_paths = Some(Vec::new());
    spec.security.readonly_paths = Some(Vec::new());
}

#[tokio::test]
async fn attack_root_of_a_pod_with_users_can_not_change_its_cgroup_nor_leave_it() {
    let Some(ground) = ground("innercgroup").await else { return };
    // Read-only is undone by whoever may mount; whose the files are is not.
    let script = r#"
        for at in /sys/fs/cgroup /sys/fs/cgroup/*; do
            mount -o remount,bind,rw $at 2>/dev/null
            for file in cgroup.procs tasks release_agent memory.limit_in_bytes pids.max; do
                test -e $at/$file && echo 0 2>/dev/null > $at/$file && echo wrote $at/$file
            done
            touch $at/new 2>/dev/null && test "$at" != /sys/fs/cgroup && echo touched $at
            test -e $at/cgroup.procs && mkdir $at/below 2>/dev/null && echo made $at
        done
        echo done; exec sleep 600
        "#;
    let running = ground.start("one", script, with_all_rights).await;
    crate::support::wait_for("the attempts", || ground.said("one").contains("done").then_some(())).await;
    assert_eq!(ground.said("one").lines().filter(|line| !line.contains("cannot create")).collect::<Vec<_>>(), ["done"]);
    let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", running.pid)).unwrap();
    let (within, found) = (ground.cgroup(), cgroups.matches(&ground.cgroup()).count());
    assert!(found > 0, "none of {cgroups} is below {within}");
    let elsewhere = |line: &&str| !line.contains(&within) && !line.ends_with(":/") && !line.contains("name=");
    assert_eq!(cgroups.lines().filter(elsewhere).collect::<Vec<_>>(), [""; 0], "CVE-2025-47291: {cgroups}");
    ground.end().await;
}

#[tokio::test]
async fn attack_root_of_a_pod_with_users_finds_nothing_of_the_node_in_processes_that_join_it() {
    let Some(ground) = ground("innerjoin").await else { return };
    let canary = ground.canary();
    let shared = |spec: &mut ContainerSpec| {
        with_all_rights(spec);
        spec.namespaces.pid = NamespaceMode::OfSandbox;
    };
    // Whoever may trace every process of the pod looks at each that comes, as often as it can.
    let script = format!(
        "echo ready; while :; do for p in /proc/[0-9]*; do \
         test -e $p/root{0} && echo FOUND root of $p; test -e $p/cwd{0} && echo FOUND cwd of $p; \
         for f in $p/fd/*; do test -w $f/sys/kernel/core_pattern && echo FOUND $f; done; done; done",
        canary.display()
    );
    let spy = ground.start("spy", &script, shared).await;
    crate::support::wait_for("the spy", || ground.said("spy").contains("ready").then_some(())).await;
    for round in 0..20 {
        assert_eq!(ground.run(&format!("c{round}"), "echo well", shared).await, "well\n");
        assert_eq!(ground.exec_said(&spy, "echo well").await, "well\n");
    }
    let said = ground.said("spy");
    assert!(!said.contains("FOUND"), "{said}");
    ground.end().await;
}

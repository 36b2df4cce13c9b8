//! What the default capabilities and filter keep a container from.

use crate::up;

#[tokio::test]
async fn attack_hidden_and_read_only_paths_can_not_be_undone() {
    let ground = up!("masks");
    for program in ["/bin/mount", "/bin/umount", "/usr/bin/unshare"] {
        ground.world.add_program(program);
    }
    let script = "
        for p in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /sys/firmware /proc/scsi; do
            umount $p 2>/dev/null && echo undone $p
            umount -l $p 2>/dev/null && echo undone $p
            head -c 1 $p 2>/dev/null | head -c 1
        done
        for p in /proc/sys /proc/sysrq-trigger /sys /sys/fs/cgroup /proc /; do
            mount -o remount,rw $p 2>/dev/null && echo undone $p
            mount -o remount,rw,bind $p 2>/dev/null && echo undone $p
        done
        mount -t proc proc /tmp 2>/dev/null && echo mounted proc
        mount -t sysfs sysfs /tmp 2>/dev/null && echo mounted sysfs
        unshare -m true 2>/dev/null && echo mounted in a namespace of its own
        unshare -Ur true 2>/dev/null && echo mounted as root of a user namespace
        unshare -Urmpf mount -t proc proc /tmp 2>/dev/null && echo mounted proc there
        mount --bind / /tmp 2>/dev/null && echo bound
        (echo h > /proc/sysrq-trigger) 2>/dev/null && echo wrote sysrq
        (echo 0 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null && echo wrote sysctl
        (echo x > /sys/kernel/uevent_helper) 2>/dev/null && echo wrote sys
        ls /sys/firmware /proc/scsi
        echo over";
    let said = ground.run("one", script, |_| {}).await;
    let folders: Vec<&str> = said.lines().filter(|line| !line.ends_with(':') && !line.is_empty()).collect();
    assert!(!said.contains("undone") && !said.contains("wrote") && folders.last() == Some(&"over"), "{said}");
    assert!(!said.contains("mounted") && !said.contains("bound"), "{said}");
    ground.end().await;
}

#[tokio::test]
async fn attack_release_agent_of_a_cgroup_can_not_be_written() {
    let ground = up!("agent");
    ground.world.add_program("/bin/mount");
    let script = "
        mount -t cgroup -o memory cgroup /tmp 2>/dev/null && echo mounted
        mount -t cgroup2 cgroup2 /tmp 2>/dev/null && echo mounted
        for f in $(ls -d /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release /sys/fs/cgroup/*/cgroup.procs 2>/dev/null); do
            (echo 1 > $f) 2>/dev/null && echo wrote $f
        done
        ls /sys/fs/cgroup | head -n 1; echo over";
    let said = ground.run("one", script, |_| {}).await;
    assert!(!said.contains("mounted") && !said.contains("wrote") && said.ends_with("over\n"), "{said}");
    ground.end().await;
}

#[tokio::test]
async fn attack_device_of_the_node_can_be_made_and_not_opened() {
    let ground = up!("mknod");
    let programs = orlop_cgroups::devices::can_be_enforced();
    if !std::path::Path::new("/sys/fs/cgroup/devices").exists() && programs.is_err() {
        eprintln!("skipped: neither v1 nor a device program enforces device rules: {programs:?}");
        return ground.end().await;
    }
    ground.world.add_program("/bin/mknod");
    // The node's kernel log and memory, and every first disk there could be. Also as what an image brought.
    let nodes =
        [("kmsg", 'c', 1, 11), ("mem", 'c', 1, 1), ("vda", 'b', 254, 0), ("sda", 'b', 8, 0), ("fuse", 'c', 10, 229)];
    for (name, kind, major, minor) in nodes {
        let file = ground.inside(&format!("/tmp/image-{name}"));
        let status = std::process::Command::new("mknod")
            .arg(file)
            .args([kind.to_string(), major.to_string(), minor.to_string()])
            .status();
        assert!(status.unwrap().success());
    }
    let mut script = "cd /tmp\n".to_owned();
    for (name, kind, major, minor) in nodes {
        script += &format!(
            "mknod own-{name} {kind} {major} {minor}; for f in own-{name} image-{name}; do head -c 1 $f && echo read; (: >> $f) && echo opened; done\n"
        );
    }
    let said = ground.run("one", &format!("{script} echo over"), |_| {}).await;
    assert_eq!(said.matches("Operation not permitted").count(), 20, "{said}");
    assert!(!said.contains("read\n") && !said.contains("opened\n"), "{said}");
    ground.end().await;
}

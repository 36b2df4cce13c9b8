//! Links, exchanged folders and strange working folders: what is mounted, made and entered stays inside.

use crate::up;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn attack_proc_or_sys_that_is_a_link_is_refused() {
    let ground = up!("proclink");
    for (at, folder) in ["/proc", "/sys"].into_iter().enumerate() {
        for (way, to) in ground.ways_out().into_iter().chain([PathBuf::from("/tmp")]).enumerate() {
            ground.plant(folder, to);
            let why = ground.refused(&format!("c{at}{way}"), "exit 0", |_| {}).await;
            assert!(why.contains(folder) && why.contains("Not a directory"), "{why}");
        }
        std::fs::remove_file(ground.inside(folder)).unwrap();
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_dev_that_is_a_link_is_refused_and_nothing_is_made_where_it_points() {
    let ground = up!("devlink");
    let data = ground.volume("data", "/data");
    for (way, to) in ground.ways_out().into_iter().chain([PathBuf::from("/data")]).enumerate() {
        ground.plant("/dev", to);
        let data = data.clone();
        let why = ground.refused(&format!("c{way}"), "exit 0", |spec| spec.mounts.push(data)).await;
        assert!(why.contains("/dev") && why.contains("Not a directory"), "{why}");
    }
    assert_eq!(std::fs::read_dir(&data.source).unwrap().count(), 0, "devices or links in a volume");
    ground.end().await;
}

#[tokio::test]
async fn attack_mount_target_behind_links_stays_inside() {
    let ground = up!("targetlink");
    let data = ground.volume("data", "/data");
    std::fs::write(data.source.join("probe"), "probe").unwrap();
    for (way, to) in ground.ways_out().into_iter().enumerate() {
        ground.plant("/data", &to);
        let (below, data) = (ground.volume("data", "/data/deeper"), data.clone());
        let mounts = vec![data, below];
        let script = "cat /data/probe; cat /data/deeper/probe";
        let said = ground.run(&format!("c{way}"), script, |spec| spec.mounts = mounts).await;
        assert_eq!(said, "probeprobe\n", "{}", to.display());
        ground.check_canary();
        let made = std::fs::read_dir(ground.inside("/")).unwrap().count();
        assert!(made > 0);
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_mount_target_below_a_link_to_nowhere_is_made_inside() {
    let ground = up!("dangling");
    ground.plant("/var/run", "/run");
    ground.plant("/etc/resolv.conf", "../run/resolve/stub-resolv.conf");
    std::fs::remove_dir_all(ground.inside("/run")).ok();
    let token = ground.volume("token", "/var/run/secrets/kubernetes.io/serviceaccount");
    std::fs::write(token.source.join("token"), "of the pod\n").unwrap();
    let script = "cat /run/secrets/kubernetes.io/serviceaccount/token; cat /etc/resolv.conf";
    let said = ground.run("one", script, |spec| spec.mounts.push(token)).await;
    assert_eq!(said, "of the pod\nnameserver 10.9.8.7\n");
    ground.end().await;
}

#[tokio::test]
async fn attack_mount_over_proc_is_refused_by_name_and_by_link() {
    let ground = up!("overproc");
    for (at, target) in ["/proc", "/proc/self/attr", "/proc/sys", "/x/../proc/1"].into_iter().enumerate() {
        let volume = ground.volume("data", target);
        let (mut spec, id) = ground.spec(&format!("n{at}"), "exit 0");
        spec.mounts.push(volume);
        let refused = ground.world.check(&ground.pod, &spec, &id).await.unwrap_err();
        assert!(refused.message.contains("proc"), "{refused}");
    }
    for (at, to) in ["/proc", "/proc/self/attr", "/proc/sys", "proc/../proc/self"].into_iter().enumerate() {
        ground.plant("/data", to);
        let volume = ground.volume("data", "/data");
        let why = ground.refused(&format!("l{at}"), "exit 0", |spec| spec.mounts.push(volume)).await;
        assert!(why.contains("/data"), "{why}");
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_folders_exchanged_with_links_during_hundreds_of_starts_lead_nowhere() {
    const STARTS: usize = 200;
    let ground = up!("exchange");
    let volume = ground.volume("shared", "/vol");
    let inner = ground.volume("inner", "/vol/a/deep/er");
    std::fs::create_dir_all(volume.source.join("a/deep")).unwrap();
    let [absolute, climbing, _] = ground.ways_out();
    let stop = Arc::new(AtomicBool::new(false));
    let threads = [("b", absolute), ("c", climbing)].map(|(name, to)| {
        std::os::unix::fs::symlink(to, volume.source.join(name)).unwrap();
        let (a, other, stop) = (volume.source.join("a"), volume.source.join(name), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        })
    });
    let before = mounts_of_ours(ground.world.dir.path());
    for _ in 0..STARTS {
        let mounts = vec![volume.clone(), inner.clone()];
        // It starts, or it doesn't: both are well.
        let (_, id, _) = ground.launch("one", "exit 0", |spec| spec.mounts = mounts).await;
        ground.drop(&id).await;
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(mounts_of_ours(ground.world.dir.path()), before);
    ground.end().await;
}

#[tokio::test]
async fn attack_null_device_of_an_image_that_is_a_link_masks_nothing() {
    let ground = up!("nulllink");
    let pattern = || std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = pattern();
    let dev = ground.volume("dev", "/dev");
    for (at, to) in ["/proc/sys/kernel/core_pattern", "/etc/passwd", "/nowhere"].into_iter().enumerate() {
        let _ = std::fs::remove_file(dev.source.join("null"));
        std::os::unix::fs::symlink(to, dev.source.join("null")).unwrap();
        let dev = dev.clone();
        let why = ground.refused(&format!("c{at}"), "exit 0", |spec| spec.mounts.push(dev)).await;
        assert!(why.contains("mask /proc/"), "{why}");
    }
    assert_eq!(pattern(), before);
    ground.end().await;
}

#[tokio::test]
async fn attack_links_where_the_sandboxs_files_go_change_nothing_outside() {
    let ground = up!("planted");
    for (way, to) in ground.ways_out().into_iter().enumerate() {
        for name in ["resolv.conf", "hosts", "hostname"] {
            ground.plant(&format!("/etc/{name}"), to.join(name));
        }
        let said = ground.run(&format!("c{way}"), "cat /etc/hostname; echo x > /etc/hosts", |_| {}).await;
        assert_eq!(said, "web\n");
        ground.check_canary();
    }
    // The whole folder away: users are then not found, and root needs none.
    for (way, to) in ground.ways_out().into_iter().enumerate() {
        ground.plant("/etc", to);
        let said = ground.run(&format!("e{way}"), "cat /etc/hostname", |_| {}).await;
        assert_eq!(said, "web\n");
        ground.check_canary();
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_working_folder_by_a_descriptor_of_the_shim_is_refused_at_start() {
    let ground = up!("cwdstart");
    let mut folders: Vec<String> = (0..64).map(|fd| format!("/proc/self/fd/{fd}")).collect();
    folders.extend(["/proc/self/cwd", "/proc/1/root", "/proc/self/root/..", "/link"].map(str::to_owned));
    ground.plant("/link", "/proc/self/fd/7");
    for (at, folder) in folders.into_iter().enumerate() {
        let by_image = at % 2 == 1;
        let (mut spec, id) = ground.spec(&format!("c{at}"), "ls");
        let mut pod = crate::support::pod("web");
        if by_image { &mut pod.image.working_dir } else { &mut spec.process.working_dir }.clone_from(&folder);
        let launched = ground.world.start(&pod, &spec, &id).await.unwrap();
        assert!(matches!(launched, orlop_model::ports::Launched::Failed(_)), "{folder}: {launched:?}");
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_working_folder_by_a_descriptor_of_the_shim_is_refused_for_an_exec() {
    let ground = up!("cwdexec");
    let mut running = ground.start("one", "sleep 1000", |_| {}).await;
    ground.plant("/link", "/proc/self/fd/8");
    let mut folders: Vec<String> = (0..64).map(|fd| format!("/proc/self/fd/{fd}")).collect();
    folders.extend(["/proc/self/cwd", "/proc/1/root", "/proc/1/cwd", "/link"].map(str::to_owned));
    for folder in folders {
        running.spec.process.working_dir.clone_from(&folder);
        let output = ground.exec(&running, "echo got in; ls").await;
        assert!(output.exit_code != 0 && output.stdout.is_empty(), "{folder}: {output:?}");
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_volumes_of_an_image_bring_nothing_of_the_node() {
    let mut ground = up!("volumes");
    let [absolute, climbing, _] = ground.ways_out();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    ground.pod.image.volumes = vec![text(&absolute), text(&Path::new("/").join(climbing)), "/../../../..".to_owned()];
    let script = format!("cat {}/file || echo nothing", absolute.display());
    let said = ground.run("one", &script, |_| {}).await;
    assert!(said.ends_with("nothing\n") && !said.contains("of the node"), "{said}");
    ground.end().await;
}

#[tokio::test]
async fn attack_root_file_system_that_is_shared_with_the_node_shows_it_no_mounts() {
    use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
    struct Shared(PathBuf);
    impl Drop for Shared {
        fn drop(&mut self) {
            let _ = unmount(&self.0, UnmountFlags::DETACH);
        }
    }
    let ground = up!("sharedroot");
    let root = ground.inside("/");
    mount_bind(&root, &root).unwrap();
    let shared = Shared(root.clone());
    mount_change(&root, MountPropagationFlags::SHARED).unwrap();
    let before = mounts_of_ours(ground.world.dir.path());
    let running = ground.start("one", "sleep 1000", |_| {}).await;
    assert_eq!(mounts_of_ours(ground.world.dir.path()), before);
    assert!(running.pid > 0);
    drop(shared);
    ground.end().await;
}

/// Mounts of the node at or below a folder.
fn mounts_of_ours(folder: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(folder.to_str().unwrap())).map(str::to_owned).collect()
}

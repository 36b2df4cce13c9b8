//! Sandboxes: raised, observed, dropped, with their shims or without.

use crate::support::{World, pod, wait_for};
use crate::world;
use orlop_model::ErrorKind;
use orlop_model::ports::{Observed, Runtime};
use orlop_model::sandbox::NamespaceScope;
use std::os::fd::AsFd;

#[tokio::test]
async fn sandbox_is_raised_observed_and_dropped_each_as_often_as_wanted() {
    let world = world!("life");
    let web = pod("web");
    world.client.ready().await.unwrap();
    for _ in 0..2 {
        world.client.raise(&web.id, &web.spec).await.unwrap();
        assert_eq!(world.client.observe(&web.id).await.unwrap(), Observed::Shim { tasks: Vec::new() });
    }
    assert_eq!(world.client.leftovers().await.unwrap(), std::slice::from_ref(&web.id));
    assert!(world.cgroup(&format!("/orlop-{}", web.id)));
    let folder = world.run_dir().join("sandboxes").join(web.id.as_str());
    assert_eq!(std::fs::read_to_string(folder.join("resolv.conf")).unwrap(), "nameserver 10.9.8.7\n");
    assert!(std::fs::read_to_string(folder.join("hosts")).unwrap().contains("127.0.1.1\tweb\n"));
    assert_eq!(std::fs::read_to_string(folder.join("hostname")).unwrap(), "web\n");
    assert!(!world.client.end().await.unwrap(), "with a sandbox left nothing is ended");
    for _ in 0..2 {
        assert_eq!(world.client.drop_sandbox(&web.id).await.unwrap(), []);
        assert_eq!(world.client.observe(&web.id).await.unwrap(), Observed::NoShim { ended: Vec::new() });
        assert!(world.client.leftovers().await.unwrap().is_empty());
    }
    assert!(!world.cgroup(&format!("/orlop-{}", web.id)));
    assert!(world.heard.gone.lock().unwrap().is_empty(), "a shim that we end did not die by itself");
    world.end().await;
}

#[tokio::test]
async fn network_namespace_is_the_sandboxs_own_and_its_socket_was_made_inside() {
    let world = world!("netns");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let found = world.client.network_namespace(&web.id).await.unwrap();
    let inode = |fd: std::os::fd::BorrowedFd<'_>| rustix::fs::fstat(fd).unwrap().st_ino;
    let own = std::fs::File::open("/proc/self/ns/net").unwrap();
    assert_ne!(inode(found.namespace.as_fd()), inode(own.as_fd()));
    let domain = rustix::net::sockopt::socket_domain(&found.route_socket).unwrap();
    assert_eq!(domain, rustix::net::AddressFamily::NETLINK);
    world.client.drop_sandbox(&web.id).await.unwrap();

    let mut node = pod("node");
    node.spec.network = NamespaceScope::Host;
    node.spec.hostname = String::new();
    world.client.raise(&node.id, &node.spec).await.unwrap();
    assert!(world.client.network_namespace(&node.id).await.is_err());
    world.client.drop_sandbox(&node.id).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn bad_sandbox_is_refused_and_leaves_nothing() {
    let world = world!("bad");
    let mut bad = pod("bad");
    bad.spec.sysctls.insert("vm.swappiness".into(), "1".into());
    assert_eq!(world.client.raise(&bad.id, &bad.spec).await.unwrap_err().kind, ErrorKind::InvalidArgument);
    world.client.drop_sandbox(&bad.id).await.unwrap();

    let mut lines = pod("lines");
    lines.spec.dns.as_mut().unwrap().servers = vec!["10.0.0.1\noptions evil".into()];
    assert_eq!(world.client.raise(&lines.id, &lines.spec).await.unwrap_err().kind, ErrorKind::InvalidArgument);
    lines.spec.dns = None;
    lines.spec.cgroup_parent = Some("/a/../..".into());
    assert_eq!(world.client.raise(&lines.id, &lines.spec).await.unwrap_err().kind, ErrorKind::InvalidArgument);
    assert!(world.client.leftovers().await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn shim_that_is_killed_is_reported_once_and_its_sandbox_is_taken_away() {
    let world = world!("killed");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    kill_shim(&world, &web.id);
    wait_for("the report", || (!world.heard.gone.lock().unwrap().is_empty()).then_some(())).await;
    assert_eq!(world.client.observe(&web.id).await.unwrap(), Observed::NoShim { ended: Vec::new() });
    assert!(world.cgroup(&format!("/orlop-{}", web.id)));
    world.client.drop_sandbox(&web.id).await.unwrap();
    assert!(!world.cgroup(&format!("/orlop-{}", web.id)));
    assert_eq!(*world.heard.gone.lock().unwrap(), [web.id]);
    world.end().await;
}

#[tokio::test]
async fn shim_that_is_stopped_is_dropped_all_the_same() {
    let mut world = world!("stopped");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    signal_shim(&world, &web.id, rustix::process::Signal::STOP);
    // A daemon that comes back meets a shim that does not even greet.
    world.restart();
    world.client.drop_sandbox(&web.id).await.unwrap();
    assert!(world.client.leftovers().await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn daemon_that_comes_back_finds_spawner_and_shims() {
    let mut world = world!("back");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let before = shims(&world);
    world.restart();
    assert_eq!(world.client.leftovers().await.unwrap(), std::slice::from_ref(&web.id));
    assert_eq!(world.client.observe(&web.id).await.unwrap(), Observed::Shim { tasks: Vec::new() });
    world.client.ready().await.unwrap();
    assert_eq!(shims(&world), before, "nobody was started anew");
    world.client.drop_sandbox(&web.id).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn spawner_that_dies_is_started_again_and_its_shims_live_on() {
    let world = world!("spawner");
    let (one, two) = (pod("one"), pod("two"));
    world.client.raise(&one.id, &one.spec).await.unwrap();
    let spawner = find(&world, "--spawner");
    rustix::process::kill_process(spawner, rustix::process::Signal::KILL).unwrap();
    wait_for("the spawner's end", || rustix::process::test_kill_process(spawner).err()).await;
    world.client.raise(&two.id, &two.spec).await.unwrap();
    for pod in [&one, &two] {
        assert_eq!(world.client.observe(&pod.id).await.unwrap(), Observed::Shim { tasks: Vec::new() });
        world.client.drop_sandbox(&pod.id).await.unwrap();
    }
    world.end().await;
}

// === processes ===

/// Command lines of spawner and shims, by process id.
fn shims(world: &World) -> Vec<(rustix::process::Pid, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(rustix::process::Pid::from_raw)
        else {
            continue;
        };
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
        if line.contains(world.run_dir().to_str().unwrap()) {
            found.push((pid, line));
        }
    }
    found
}

fn find(world: &World, word: &str) -> rustix::process::Pid {
    shims(world).into_iter().find(|(_, line)| line.contains(word)).unwrap().0
}

fn signal_shim(world: &World, id: &orlop_model::SandboxId, signal: rustix::process::Signal) {
    rustix::process::kill_process(find(world, id.as_str()), signal).unwrap();
}

pub fn kill_shim(world: &World, id: &orlop_model::SandboxId) {
    signal_shim(world, id, rustix::process::Signal::KILL);
}

//! What changes while a container runs: its limits, its log file; and what it uses.

use crate::support::{Pod, World, pod, wait_for};
use crate::world;
use orlop_model::container::{ContainerSpec, Resources};
use orlop_model::ports::{Launched, Runtime, Update};
use orlop_model::usage::{Usage, UsageOf};
use orlop_model::{ContainerId, ErrorKind, Failure};

const MIB: i64 = 1 << 20;

async fn start(world: &World, web: &Pod, name: &str, script: &str) -> (ContainerSpec, ContainerId) {
    let (spec, id) = world.container(web, name, script);
    let launched = world.start(web, &spec, &id).await.unwrap();
    assert!(matches!(launched, Launched::Running { .. }), "{launched:?}");
    (spec, id)
}

/// Takes the sandbox down and checks that nothing is left.
async fn finish(world: World, web: &Pod, ids: &[&ContainerId]) {
    world.client.drop_sandbox(&web.id).await.unwrap();
    for id in ids {
        world.client.drop_task(&web.id, id).await.unwrap();
    }
    world.end().await;
}

async fn update(world: &World, web: &Pod, id: &ContainerId, old: &Resources, new: &Resources) -> Result<(), Failure> {
    let update = Update { sandbox_id: &web.id, sandbox: &web.spec, id, old, new };
    world.client.update(update).await
}

async fn usage(world: &World, web: &Pod, container: Option<&ContainerId>) -> Option<Usage> {
    let of = [UsageOf { sandbox_id: &web.id, sandbox: &web.spec, container }];
    world.client.usage(&of).await.unwrap().remove(0)
}

#[tokio::test]
async fn limits_of_a_running_container_change_together_or_not_at_all() {
    let world = world!("limits");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (_, id) = start(&world, &web, "one", "exec sleep 100").await;
    let old = Resources::default();
    let roomy = Resources { cpu_shares: 512, memory_bytes_max: 64 * MIB, cpuset_cpus: "0".into(), ..old.clone() };
    for _ in 0..2 {
        update(&world, &web, &id, &old, &roomy).await.unwrap();
    }
    let files = || {
        let cgroup = format!("{}/one", world.sandbox_cgroup(&web));
        ["cpu.shares", "memory.limit_in_bytes", "cpuset.cpus"].map(|file| world.cgroup_file(&cgroup, file))
    };
    if let [Some(shares), Some(memory), Some(cpus)] = files() {
        assert_eq!([shares.as_str(), memory.as_str(), cpus.as_str()], ["512", &(64 * MIB).to_string(), "0"]);
    }
    let before = files();
    // Shares and memory would be taken; there is no such processor.
    let odd = Resources { cpu_shares: 900, memory_bytes_max: 32 * MIB, cpuset_cpus: "4000".into(), ..old.clone() };
    let refused = update(&world, &web, &id, &roomy, &odd).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{refused}");
    assert!(refused.message.contains("4000") && refused.message.contains("cpuset.cpus"), "{refused}");
    assert_eq!(files(), before);
    let swap = Resources { memory_bytes_max: 32 * MIB, memory_swap_bytes_max: 16 * MIB, ..old.clone() };
    let refused = update(&world, &web, &id, &roomy, &swap).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{refused}");
    assert_eq!(files(), before);
    world.client.drop_sandbox(&web.id).await.unwrap();
    let refused = update(&world, &web, &id, &old, &roomy).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
    finish(world, &web, &[&id]).await;
}

#[tokio::test]
async fn memory_below_what_is_in_use_is_refused_and_says_so() {
    let world = world!("below");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let script = "x=$(head -c 24000000 /dev/zero | cat -v); echo ready; sleep 100";
    let (_, id) = start(&world, &web, "one", script).await;
    wait_for("the memory is in use", || world.log("one.log").contains("ready").then_some(())).await;
    let old = Resources::default();
    let tight = Resources { memory_bytes_max: 8 * MIB, memory_swap_bytes_max: 8 * MIB, ..old.clone() };
    let refused = update(&world, &web, &id, &old, &tight).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
    let memory = usage(&world, &web, Some(&id)).await.unwrap().memory.unwrap();
    assert_eq!(memory.available_bytes, None, "it has no limit, as before");
    assert!(memory.rss_bytes > 24 * MIB as u64 && memory.working_set_bytes >= memory.rss_bytes / 2, "{memory:?}");
    finish(world, &web, &[&id]).await;
}

#[tokio::test]
async fn usage_is_read_of_containers_and_of_their_sandbox() {
    let world = world!("usage");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (_, busy) = start(&world, &web, "busy", "while :; do :; done").await;
    let (_, idle) = start(&world, &web, "idle", "exec sleep 100").await;
    let nobody = ContainerId::parse("nobody").unwrap();
    assert_eq!(usage(&world, &web, Some(&nobody)).await, None);
    let cpu = |usage: Option<Usage>| usage.unwrap().cpu_ns.unwrap();
    let before = cpu(usage(&world, &web, Some(&busy)).await);
    loop {
        if cpu(usage(&world, &web, Some(&busy)).await) > before + 100_000_000 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let all = cpu(usage(&world, &web, None).await);
    let quiet = usage(&world, &web, Some(&idle)).await.unwrap();
    assert!(all > before + 100_000_000 && quiet.cpu_ns < Some(all), "{all} {quiet:?}");
    assert_eq!(quiet.tasks, Some(1));
    assert!(quiet.at.0 > 0);
    world.client.drop_sandbox(&web.id).await.unwrap();
    assert_eq!(usage(&world, &web, None).await, None);
    finish(world, &web, &[&busy, &idle]).await;
}

#[tokio::test]
async fn log_goes_on_in_a_fresh_file_and_none_is_made_for_what_has_ended() {
    let world = world!("reopen");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (spec, id) =
        start(&world, &web, "one", "echo before; while [ ! -e /tmp/go ]; do sleep 0.01; done; echo after").await;
    let log = spec.log.clone().unwrap();
    wait_for("the first line", || world.log("one.log").contains("before").then_some(())).await;
    let logs = world.dir.path().join("logs");
    std::fs::rename(logs.join("one.log"), logs.join("one.log.1")).unwrap();
    world.client.reopen_log(&web.id, &id, &log).await.unwrap();
    assert_eq!(world.log("one.log"), "", "it is there when the call returns");
    // Nothing was moved away: it goes on in the same file.
    world.client.reopen_log(&web.id, &id, &log).await.unwrap();
    std::fs::write(world.dir.path().join("rootfs/tmp/go"), "").unwrap();
    world.wait_ended(&id).await;
    assert!(world.log("one.log").contains("after") && !world.log("one.log").contains("before"));
    assert!(world.log("one.log.1").contains("before") && !world.log("one.log.1").contains("after"));

    std::fs::rename(logs.join("one.log"), logs.join("one.log.2")).unwrap();
    let refused = world.client.reopen_log(&web.id, &id, &log).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
    assert!(refused.message.contains("not running"), "{refused}");
    assert!(!logs.join("one.log").exists());
    world.client.drop_sandbox(&web.id).await.unwrap();
    let refused = world.client.reopen_log(&web.id, &id, &log).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
    assert!(!logs.join("one.log").exists());
    finish(world, &web, &[&id]).await;
}

#[tokio::test]
async fn log_is_not_reopened_through_a_link() {
    let world = world!("linklog");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (spec, id) = start(&world, &web, "one", "exec sleep 100").await;
    let logs = world.dir.path().join("logs");
    std::fs::remove_file(logs.join("one.log")).unwrap();
    let outside = world.dir.path().join("outside");
    std::os::unix::fs::symlink(&outside, logs.join("one.log")).unwrap();
    let refused = world.client.reopen_log(&web.id, &id, &spec.log.clone().unwrap()).await.unwrap_err();
    assert!(refused.message.contains("open log"), "{refused}");
    assert!(!outside.exists());
    finish(world, &web, &[&id]).await;
}

//! What containers may use and do use, while they run.

use crate::{WAITS, assert_refused};
use orlop_testkit::client::v1;
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{PROGRAM_LIMIT, container_config};
use orlop_testkit::{Client, Code, Pod, Status, wait_until};
use std::path::Path;
use std::time::Duration;

const MIB: i64 = 1 << 20;

fn update(client: &Client, id: &str, linux: v1::LinuxContainerResources) -> Result<(), Status> {
    let request =
        v1::UpdateContainerResourcesRequest { container_id: id.to_owned(), linux: Some(linux), ..Default::default() };
    client.update_container_resources(request).map(|_| ())
}

/// What a status says: shares, memory, processors.
fn shown(pod: &Pod, id: &str) -> (i64, i64, String) {
    let linux = pod.container(id).resources.unwrap().linux.unwrap();
    (linux.cpu_shares, linux.memory_limit_in_bytes, linux.cpuset_cpus)
}

/// Returns a limit as the kernel has it: of v1's file, or of v2's where v1 does not have it.
fn limit(lab: &Lab, pod: &Pod, id: &str, controller: &str, v1: &str, v2: &str) -> String {
    let below = format!("{}/orlop-{}/{id}", &lab.node.ground().cgroup()[1..], pod.id);
    let cgroups = Path::new("/sys/fs/cgroup");
    let of_v1 = cgroups.join(controller).join(&below).join(v1);
    let file = if of_v1.exists() { of_v1 } else { cgroups.join(&below).join(v2) };
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("read {}: {e}", file.display())).trim().to_owned()
}

fn memory_limit(lab: &Lab, pod: &Pod, id: &str) -> String {
    limit(lab, pod, id, "memory", "memory.limit_in_bytes", "memory.max")
}

fn cpus(lab: &Lab, pod: &Pod, id: &str) -> String {
    limit(lab, pod, id, "cpuset", "cpuset.cpus", "cpuset.cpus")
}

fn stats(client: &Client, id: &str) -> v1::ContainerStats {
    client.container_stats(v1::ContainerStatsRequest { container_id: id.to_owned() }).unwrap().stats.unwrap()
}

#[test]
fn limits_change_while_a_container_is_created_and_while_it_runs_and_outlive_the_daemon() {
    let mut lab = Lab::with_image();
    let mut pod = Pod::run(&lab.node, "resized");
    let id = pod.create(container_config("c", &lab.image(), WAITS)).unwrap();
    let memory = |mib: i64| v1::LinuxContainerResources { memory_limit_in_bytes: mib * MIB, ..Default::default() };
    update(pod.client(), &id, memory(64)).unwrap();
    assert_eq!(shown(&pod, &id), (0, 64 * MIB, String::new()));
    pod.start(&id).unwrap();
    assert_eq!(memory_limit(&lab, &pod, &id), (64 * MIB).to_string(), "its start applied it");

    let more = v1::LinuxContainerResources { cpu_shares: 600, cpuset_cpus: "0".to_owned(), ..memory(96) };
    update(pod.client(), &id, more).unwrap();
    let expected = (600, 96 * MIB, "0".to_owned());
    assert_eq!(shown(&pod, &id), expected);
    lab.node.kill();
    lab.node.start_again();
    pod.reconnect(&lab.node);
    assert_eq!(shown(&pod, &id), expected);
    assert_eq!((memory_limit(&lab, &pod, &id), cpus(&lab, &pod, &id)), ((96 * MIB).to_string(), "0".to_owned()));
    pod.stop_container(&id, 0).unwrap();
    assert_refused("ended", update(pod.client(), &id, memory(32)), &[Code::FailedPrecondition], &["has ended"]);
    pod.remove_container(&id).unwrap();
    assert_refused("removed", update(pod.client(), &id, memory(32)), &[Code::NotFound], &[&id]);
}

#[test]
fn a_change_that_is_refused_leaves_every_limit_as_it_was() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "refused");
    let id = pod.launch("c", &lab.image(), WAITS);
    let good = v1::LinuxContainerResources { cpu_shares: 600, memory_limit_in_bytes: 96 * MIB, ..Default::default() };
    update(pod.client(), &id, good.clone()).unwrap();
    let odd = v1::LinuxContainerResources {
        cpu_shares: 700,
        memory_limit_in_bytes: 64 * MIB,
        cpuset_cpus: "4000".to_owned(),
        ..Default::default()
    };
    assert_refused(
        "no such processor",
        update(pod.client(), &id, odd),
        &[Code::InvalidArgument],
        &["cpuset.cpus", "4000"],
    );
    assert_eq!(shown(&pod, &id), (600, 96 * MIB, String::new()));
    assert_eq!(memory_limit(&lab, &pod, &id), (96 * MIB).to_string());
    for (linux, field) in [
        (v1::LinuxContainerResources { cpu_shares: -1, ..good.clone() }, "linux.cpu_shares"),
        (v1::LinuxContainerResources { cpu_quota: -7, ..good.clone() }, "linux.cpu_quota"),
        (v1::LinuxContainerResources { memory_swap_limit_in_bytes: 5, ..good.clone() }, "linux.memory_swap_limit"),
        (v1::LinuxContainerResources { cpuset_cpus: "0-".to_owned(), ..good }, "linux.cpuset_cpus"),
    ] {
        assert_refused(field, update(pod.client(), &id, linux), &[Code::InvalidArgument], &[field]);
    }
    assert_eq!(shown(&pod, &id), (600, 96 * MIB, String::new()));
}

#[test]
fn a_created_container_is_not_promised_what_could_never_be_written() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "promised");
    let mut config = container_config("c", &lab.image(), WAITS);
    config.linux.as_mut().unwrap().resources = Some(v1::LinuxContainerResources {
        memory_limit_in_bytes: 32 * MIB,
        memory_swap_limit_in_bytes: 32 * MIB,
        ..Default::default()
    });
    let id = pod.create(config).unwrap();
    // More memory than memory and swap together, which stay as they are.
    let more = v1::LinuxContainerResources { memory_limit_in_bytes: 64 * MIB, ..Default::default() };
    assert_refused("above swap", update(pod.client(), &id, more), &[Code::InvalidArgument], &["swap"]);
    assert_eq!(shown(&pod, &id).1, 32 * MIB);
    pod.start(&id).unwrap();
}

#[test]
fn memory_below_what_a_container_holds_is_refused_and_it_lives_on() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "holds");
    let script = "x=$(head -c 24000000 /dev/zero | tr '\\0' x); echo ready; while :; do sleep 1; done";
    let id = pod.launch("c", &lab.image(), &["sh", "-c", script]);
    wait_until(PROGRAM_LIMIT, "it holds its memory", || pod.log("c").first().cloned());
    let before = memory_limit(&lab, &pod, &id);
    let tight = v1::LinuxContainerResources {
        memory_limit_in_bytes: 8 * MIB,
        memory_swap_limit_in_bytes: 8 * MIB,
        ..Default::default()
    };
    assert_refused("too little", update(pod.client(), &id, tight), &[Code::FailedPrecondition], &["memory"]);
    assert_eq!(memory_limit(&lab, &pod, &id), before);
    assert_eq!(pod.exec(&id, &["echo", "alive"]).unwrap().1, "alive\n");
}

#[test]
fn stats_say_what_a_container_uses_and_since_two_looks_how_much_of_a_processor() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "used");
    let mut config =
        container_config("busy", &lab.image(), &["sh", "-c", "head -c 3000000 /dev/zero >/file; while :; do :; done"]);
    config.linux.as_mut().unwrap().resources =
        Some(v1::LinuxContainerResources { memory_limit_in_bytes: 64 * MIB, ..Default::default() });
    let busy = pod.create(config).unwrap();
    pod.start(&busy).unwrap();
    let created = pod.create(container_config("created", &lab.image(), &["true"])).unwrap();
    let client = pod.client();
    let first = stats(client, &busy);
    assert!(first.cpu.as_ref().unwrap().usage_nano_cores.is_none(), "one look makes no rate");
    let rate = wait_until(Duration::from_secs(20), "two looks have made a rate", || {
        stats(client, &busy).cpu.unwrap().usage_nano_cores.map(|rate| rate.value)
    });
    assert!((50_000_000..1_500_000_000).contains(&rate), "one busy thread uses {rate} billionths of a processor");
    let layer = wait_until(Duration::from_secs(20), "the file is counted", || {
        stats(client, &busy).writable_layer.filter(|layer| layer.used_bytes.as_ref().unwrap().value >= 3_000_000)
    });
    assert!(Path::new(&layer.fs_id.unwrap().mountpoint).is_dir() && layer.inodes_used.unwrap().value >= 2);
    let now = stats(client, &busy);
    let (cpu, memory) = (now.cpu.unwrap(), now.memory.unwrap());
    assert!(cpu.timestamp > 0 && memory.timestamp > 0 && layer.timestamp > 0);
    assert!(cpu.usage_core_nano_seconds.unwrap().value > first.cpu.unwrap().usage_core_nano_seconds.unwrap().value);
    let working_set = memory.working_set_bytes.unwrap().value;
    assert!(working_set > 0 && working_set <= memory.usage_bytes.unwrap().value);
    assert_eq!(memory.available_bytes.unwrap().value, (64 * MIB).cast_unsigned() - working_set);
    assert!(memory.page_faults.unwrap().value > 0 && memory.rss_bytes.unwrap().value > 0);
    let refused = client.container_stats(v1::ContainerStatsRequest { container_id: created });
    assert_refused("created", refused, &[Code::FailedPrecondition], &["not running"]);
}

#[test]
fn stats_are_listed_by_filter() {
    let lab = Lab::with_image();
    let (one, two) = (Pod::run(&lab.node, "one"), Pod::run(&lab.node, "two"));
    let (a, b) = (one.launch("a", &lab.image(), WAITS), two.launch("b", &lab.image(), WAITS));
    let ended = two.launch("ended", &lab.image(), &["true"]);
    two.ended(&ended);
    let client = one.client();
    let list = |filter: Option<v1::ContainerStatsFilter>| {
        let stats = client.list_container_stats(v1::ListContainerStatsRequest { filter }).unwrap().stats;
        stats.into_iter().map(|stats| stats.attributes.unwrap().id).collect::<Vec<_>>()
    };
    let of = |id: &str, pod: &str| {
        Some(v1::ContainerStatsFilter { id: id.to_owned(), pod_sandbox_id: pod.to_owned(), ..Default::default() })
    };
    assert_eq!(list(None), [a.clone(), b.clone()]);
    assert_eq!(list(of(&a[..13], "")), [a.as_str()]);
    assert_eq!(list(of("", &two.id)), [b]);
    assert_eq!(list(of(&a, &two.id)), [""; 0]);
}

#[test]
fn stats_of_a_pod_are_those_of_all_its_containers_and_of_its_interface() {
    let lab = Lab::with_image();
    let (server, reader) = (Pod::run(&lab.node, "server"), Pod::run(&lab.node, "reader"));
    let serve = "head -c 2000000 /dev/zero >/www/big; exec httpd -f -p 80 -h /www";
    let web = server.launch("web", &lab.image(), &["sh", "-c", serve]);
    let beside = server.launch("beside", &lab.image(), WAITS);
    let waits = reader.launch("waits", &lab.image(), WAITS);
    let url = format!("http://{}/big", server.address());
    wait_until(PROGRAM_LIMIT, "the file was read", || {
        reader.exec(&waits, &["wget", "-q", "-O", "/dev/null", &url]).ok().filter(|(code, ..)| *code == 0)
    });
    let client = server.client();
    let of = |id: &str| v1::PodSandboxStatsRequest { pod_sandbox_id: id.to_owned() };
    let stats = client.pod_sandbox_stats(of(&server.id)).unwrap().stats.unwrap();
    assert_eq!(stats.attributes.unwrap().metadata.unwrap().name, "server");
    let linux = stats.linux.unwrap();
    let mut ids: Vec<_> = linux.containers.into_iter().map(|stats| stats.attributes.unwrap().id).collect();
    let mut expected = vec![web, beside];
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    let interface = linux.network.unwrap().default_interface.unwrap();
    let (received, sent) = (interface.rx_bytes.unwrap().value, interface.tx_bytes.unwrap().value);
    assert_eq!(interface.name, "eth0");
    assert!(sent >= 2_000_000 && received > 0 && received < sent, "it served: {received} in, {sent} out");
    assert!(linux.process.unwrap().process_count.unwrap().value >= 2);
    assert!(linux.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);
    assert!(linux.memory.unwrap().working_set_bytes.unwrap().value > 0);
    let labels = std::collections::HashMap::from([("app".to_owned(), "reader".to_owned())]);
    let filter = Some(v1::PodSandboxStatsFilter { label_selector: labels, ..Default::default() });
    let list = client.list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest { filter }).unwrap().stats;
    assert_eq!(list.into_iter().map(|stats| stats.attributes.unwrap().id).collect::<Vec<_>>(), [reader.id.as_str()]);
    server.stop().unwrap();
    assert_refused("stopped", client.pod_sandbox_stats(of(&server.id)), &[Code::FailedPrecondition], &["not ready"]);
    assert_refused("unknown", client.pod_sandbox_stats(of(&"f".repeat(64))), &[Code::NotFound], &["ffff"]);
}

#[test]
fn pods_addresses_of_the_cluster_are_taken_note_of() {
    let lab = Lab::start();
    let tell = |pod_cidr: &str| {
        let network_config = Some(v1::NetworkConfig { pod_cidr: pod_cidr.to_owned() });
        let runtime_config = Some(v1::RuntimeConfig { network_config });
        lab.node.client().update_runtime_config(v1::UpdateRuntimeConfigRequest { runtime_config })
    };
    for good in ["", "10.1.0.0/24", "10.1.0.0/24,fd00:1::/64"] {
        tell(good).unwrap();
    }
    assert_refused("no subnet", tell("10.1.0.0/40"), &[Code::InvalidArgument], &["pod_cidr", "10.1.0.0/40"]);
}

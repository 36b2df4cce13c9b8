//! What a container has of its sandbox beside namespaces, and of another sandbox; and mounts whose source is made.

use crate::support::{Pod, World, pod, wait_for};
use crate::world;
use orlop_model::ContainerId;
use orlop_model::ErrorKind;
use orlop_model::container::{ContainerSpec, MissingSource, Mount, NamespaceMode, Tmpfs};
use orlop_model::container_state::Exit;
use orlop_model::ports::{Launched, Runtime};
use orlop_model::sandbox::HostEntry;
use std::os::unix::fs::PermissionsExt;

/// Runs a container to its end and returns its standard output, line by line.
pub(crate) async fn output(world: &World, pod: &Pod, spec: &ContainerSpec, id: &ContainerId) -> Vec<String> {
    world.check(pod, spec, id).await.unwrap();
    let launched = world.start(pod, spec, id).await.unwrap();
    assert!(matches!(launched, Launched::Running { .. }), "{launched:?}");
    let ended = world.wait_ended(id).await;
    let log = world.log(&format!("{id}.log"));
    assert_eq!(ended.exit, Exit::Code { code: 0, oom: false }, "{log}");
    log.lines().filter_map(|line| line.split_once(" stdout F ")).map(|(_, said)| said.to_owned()).collect()
}

pub(crate) async fn end(world: World, pods: &[&Pod]) {
    // Twice: the first keeps the ends that nobody has asked for.
    for pod in pods.iter().chain(pods) {
        world.client.drop_sandbox(&pod.id).await.unwrap();
    }
    world.end().await;
}

#[tokio::test]
async fn sandbox_has_the_names_and_the_shared_memory_that_it_asked_for() {
    let world = world!("names");
    world.add_program("/bin/grep");
    let mut web = pod("web");
    web.spec.domainname = "nis.example".to_owned();
    web.spec.shm_bytes_max = Some(3 << 20);
    web.spec.hosts = vec![HostEntry { address: [10, 0, 0, 9].into(), name: "db".to_owned() }];
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let script = "cat /proc/sys/kernel/domainname; grep ' /dev/shm ' /proc/self/mounts; grep db /etc/hosts";
    let (spec, id) = world.container(&web, "one", script);
    let said = output(&world, &web, &spec, &id).await;
    assert_eq!((said[0].as_str(), said[2].as_str()), ("nis.example", "10.0.0.9\tdb"));
    assert!(said[1].contains("size=3072k"), "{said:?}");
    end(world, &[&web]).await;
}

#[tokio::test]
async fn container_lives_in_namespaces_of_a_container_of_another_sandbox() {
    let world = world!("other");
    world.add_program("/bin/readlink");
    let (one, two) = (pod("one"), pod("two"));
    for pod in [&one, &two] {
        world.client.raise(&pod.id, &pod.spec).await.unwrap();
    }
    let (first, first_id) = world.container(&one, "first", "echo kept > /dev/shm/word; echo up; exec sleep 600");
    let launched = world.start(&one, &first, &first_id).await.unwrap();
    let Launched::Running { pid, .. } = launched else { panic!("{launched:?}") };
    let comm = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    wait_for("the word and the sleep", || (comm() == "sleep\n").then_some(())).await;
    let script = "cat /proc/1/comm; cat /dev/shm/word; for n in net ipc pid uts; do readlink /proc/self/ns/$n; done";
    let (mut second, second_id) = world.container(&two, "second", script);
    let other = || NamespaceMode::OfOther { sandbox: one.id.clone(), container: first_id.clone() };
    let spaces = &mut second.namespaces;
    (spaces.network, spaces.ipc, spaces.pid) = (other(), other(), other());

    let said = output(&world, &two, &second, &second_id).await;
    assert_eq!((said[0].as_str(), said[1].as_str()), ("sleep", "kept"));
    let (plain, plain_id) = world.container(&one, "plain", "for n in net ipc uts; do readlink /proc/self/ns/$n; done");
    let of_one = output(&world, &one, &plain, &plain_id).await;
    assert_eq!(said[2..4], of_one[..2]);
    assert_ne!(said[5], of_one[2], "its host name is its own sandbox's");

    world.client.kill(&one.id, &first_id).await.unwrap();
    world.wait_ended(&first_id).await;
    let (_, third_id) = world.container(&two, "third", "true");
    let failure = world.start(&two, &second, &third_id).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::WrongState);
    assert!(failure.message.contains("first") && failure.message.contains("not running"), "{failure}");
    end(world, &[&two, &one]).await;
}

#[tokio::test]
async fn source_of_a_mount_is_made_only_where_that_is_asked_for() {
    let world = world!("made");
    world.add_program("/bin/grep");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let source = world.dir.path().join("not/there/yet");
    let (mut spec, id) =
        world.container(&web, "one", "echo new > /data/word; echo > /run/x; grep ' /run ' /proc/self/mounts");
    spec.tmpfs = vec![Tmpfs::new("/run")];
    spec.mounts.push(Mount::new("/data", &source));
    let failure = world.check(&web, &spec, &id).await.unwrap_err();
    assert!(failure.message.contains("does not exist"), "{failure}");
    spec.mounts[0].missing = MissingSource::MakeFolder;
    let said = output(&world, &web, &spec, &id).await;
    assert!(said[0].contains("tmpfs rw,nosuid,nodev,noexec"), "{said:?}");
    assert_eq!(std::fs::read_to_string(source.join("word")).unwrap(), "new\n");
    assert_eq!(std::fs::metadata(&source).unwrap().permissions().mode() & 0o7777, 0o755);
    end(world, &[&web]).await;
}

#[tokio::test]
async fn container_with_an_init_ends_by_its_signal_and_with_its_status() {
    let world = world!("init");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (mut spec, id) = world.container(&web, "one", "trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done");
    spec.process.init = true;
    world.start(&web, &spec, &id).await.unwrap();
    crate::support::wait_for("the program", || world.log("one.log").contains("up").then_some(())).await;
    let found = world.exec(&web, &spec, &id, &["cat", "/proc/1/comm"], None).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "orlop-init\n");
    let words = world.exec(&web, &spec, &id, &["cat", "/proc/1/cmdline"], None).await.unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&words).trim_end_matches('\0'), "orlop-init", "nothing of the node's folders");
    world.client.signal(&web.id, &id, 15).await.unwrap();
    assert_eq!(world.wait_ended(&id).await.exit, Exit::Code { code: 3, oom: false });
    end(world, &[&web]).await;
}

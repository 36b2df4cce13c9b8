//! Whole lives of pods over in-memory ports, from seeds, on one thread and a paused clock.
#![allow(clippy::unwrap_used, reason = "tests")]

use orlop_model::container::*;
use orlop_model::container_state::{ContainerState, Exit, Force};
use orlop_model::image::Image;
use orlop_model::record::Durability;
use orlop_model::sandbox::*;
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, Digest, ErrorKind, Failure, ImageId, Namespace, NaturalKey, SandboxId};
use orlop_sim::{Leftovers, World};
use orlop_usecases::{Changed, CreateContainer, Engine, Facade, Policy, RunSandbox};
use std::collections::BTreeMap;
use std::time::Duration;

fn difference(existing: &[u8], asked: &[u8]) -> Option<String> {
    (existing != asked).then(|| "request".to_owned())
}

const CRI: Policy = Policy { durability: Durability::Boot, restart: false, in_not_ready: false, difference };
const DOCKER: Policy = Policy { durability: Durability::Node, restart: true, in_not_ready: true, difference };

fn namespace() -> Namespace {
    Namespace("test".to_owned())
}

fn image() -> ImageId {
    ImageId(Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap())
}

fn world(seed: u64, faults_per_mille: u64) -> World {
    let image = Image {
        id: image(),
        tags: vec!["a:b".to_owned()],
        digests: Vec::new(),
        bytes: 1,
        config: Default::default(),
        pinned: false,
        config_json: String::new(),
    };
    World::new(seed, faults_per_mille, vec![image])
}

async fn node(world: &World, policy: Policy) -> Facade {
    Engine::start(world.ports()).await.unwrap().0.facade(namespace(), policy)
}

fn pod(name: &str) -> RunSandbox {
    let spec = SandboxSpec {
        namespace: namespace(),
        key: NaturalKey(name.to_owned()),
        hostname: name.to_owned(),
        network: NamespaceScope::Sandbox,
        ipc: NamespaceScope::Sandbox,
        sysctls: BTreeMap::new(),
        dns: None,
        ports: Vec::new(),
        cgroup_parent: None,
        network_args: Vec::new(),
        ends: SandboxEnd::OnStop,
    };
    RunSandbox { spec, annex: b"pod".to_vec() }
}

fn container(sandbox: &SandboxId, name: &str) -> CreateContainer {
    let spec = ContainerSpec {
        namespace: namespace(),
        key: NaturalKey(name.to_owned()),
        sandbox: sandbox.clone(),
        image: image(),
        process: Process { command: vec!["run".to_owned()], ..Process::default() },
        mounts: Vec::new(),
        devices: Vec::new(),
        namespaces: Namespaces {
            pid: NamespaceMode::New,
            network: NamespaceMode::OfSandbox,
            ipc: NamespaceMode::OfSandbox,
            uts: NamespaceMode::OfSandbox,
            cgroup: NamespaceMode::New,
        },
        rootfs: RootfsAccess::ReadWrite,
        security: Security {
            privileged: false,
            capabilities_add: Vec::new(),
            capabilities_drop: Vec::new(),
            capabilities_ambient: Vec::new(),
            no_new_privileges: false,
            seccomp: SeccompProfile::RuntimeDefault,
            masked_paths: None,
            readonly_paths: None,
        },
        log: None,
        stop_signal: None,
    };
    CreateContainer { spec, resources: Resources::default(), annex: b"container".to_vec() }
}

fn state(node: &Facade, id: &ContainerId) -> ContainerState {
    node.find_container(id.as_str()).unwrap().state.clone()
}

#[tokio::test(start_paused = true)]
async fn a_pod_lives_and_leaves_nothing() {
    for seed in 0..50 {
        let world = world(seed, 0);
        let node = node(&world, CRI).await;
        let sandbox = node.run_sandbox(pod("p")).await.unwrap();
        let id = node.create_container(container(&sandbox, "c")).await.unwrap();
        assert!(matches!(state(&node, &id), ContainerState::Created { .. }));
        node.start_container(&id).await.unwrap();
        assert!(matches!(state(&node, &id), ContainerState::Running(_)));
        let said = node.exec_sync(&id, &["hello".to_owned()], None, 100).await.unwrap();
        assert_eq!(said.stdout, b"hello");
        assert_eq!(node.stop_container(&id, Duration::from_secs(10)).await.unwrap(), Changed::Yes);
        assert_eq!(node.stop_container(&id, Duration::from_secs(10)).await.unwrap(), Changed::No);
        let ContainerState::Exited(ended, _) = state(&node, &id) else { panic!("it has not ended") };
        assert_eq!(ended.exit, Exit::Signal { signal: 15, oom: false });
        let refused = node.start_container(&id).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
        node.remove_container(&id, Force::Yes).await.unwrap();
        node.stop_sandbox(&sandbox).await.unwrap();
        assert!(matches!(node.find_sandbox(sandbox.as_str()).unwrap().state, SandboxState::NotReady { .. }));
        let refused = node.create_container(container(&sandbox, "late")).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
        node.remove_sandbox(&sandbox).await.unwrap();
        assert_eq!(world.leftovers(), Leftovers::default());
    }
}

/// Whatever fails, a caller hears of it, a retry works, and nothing is left in the end.
#[tokio::test(start_paused = true)]
async fn faults_are_reported_and_undone() {
    for seed in 0..200 {
        let world = world(seed, 100);
        let node = node(&world, CRI).await;
        let sandbox = retry(|| node.run_sandbox(pod("p"))).await;
        let id = retry(|| node.create_container(container(&sandbox, "c"))).await;
        // Under the CRI a start that failed is final.
        drop(node.start_container(&id).await);
        retry(|| node.stop_container(&id, Duration::from_secs(1))).await;
        retry(|| gone_is_good(node.remove_sandbox(&sandbox))).await;
        settle(&world).await;
        assert_eq!(world.leftovers(), Leftovers::default(), "seed {seed}");
        assert!(node.sandboxes().is_empty());
    }
}

async fn retry<T, F: Future<Output = Result<T, Failure>>>(mut ask: impl FnMut() -> F) -> T {
    for _ in 0..200 {
        if let Ok(done) = ask().await {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("200 retries failed");
}

async fn gone_is_good(asked: impl Future<Output = Result<Changed, Failure>>) -> Result<Changed, Failure> {
    match asked.await {
        Err(failure) if failure.kind == ErrorKind::NotFound => Ok(Changed::No),
        other => other,
    }
}

/// Lets retries of what nobody waits for any more come to their end.
async fn settle(world: &World) {
    for _ in 0..1000 {
        if world.leftovers() == Leftovers::default() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_request_joins_and_another_is_refused() {
    let world = world(1, 0);
    let node = node(&world, CRI).await;
    let (first, second) = tokio::join!(node.run_sandbox(pod("p")), node.run_sandbox(pod("p")));
    let sandbox = first.unwrap();
    assert_eq!(sandbox, second.unwrap());
    assert_eq!(world.calls()["raise"], 1);
    assert_eq!(node.run_sandbox(pod("p")).await.unwrap(), sandbox);
    let other = RunSandbox { annex: b"other".to_vec(), ..pod("p") };
    let refused = node.run_sandbox(other).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::AlreadyExists);
    assert!(refused.message.contains(sandbox.as_str()) && refused.message.contains("request"), "{refused}");
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    assert_eq!(node.create_container(container(&sandbox, "c")).await.unwrap(), id);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_stop_the_work() {
    let world = world(7, 0);
    let node = node(&world, CRI).await;
    let left = tokio::time::timeout(Duration::from_millis(1), node.run_sandbox(pod("p"))).await;
    assert!(left.is_err());
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    assert_eq!(world.calls()["raise"], 1);
    assert_eq!(node.sandboxes()[0].asked.id, sandbox);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ignores_its_signal_is_killed_when_the_grace_is_over() {
    let world = world(3, 0);
    let node = node(&world, CRI).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    node.start_container(&id).await.unwrap();
    world.set_faults(1000);
    let before = tokio::time::Instant::now();
    let stop = node.stop_container(&id, Duration::from_secs(30));
    let healed = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.set_faults(0);
    };
    let (stopped, ()) = tokio::join!(stop, healed);
    stopped.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(30), "killed after {:?}", before.elapsed());
    let ContainerState::Exited(ended, _) = state(&node, &id) else { panic!("it has not ended") };
    assert_eq!(ended.exit, Exit::Signal { signal: 9, oom: false });
}

#[tokio::test(start_paused = true)]
async fn a_dead_shim_makes_the_pod_not_ready_and_gives_its_address_back() {
    let world = world(5, 0);
    let node = node(&world, CRI).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    let waiting = node.create_container(container(&sandbox, "never started")).await.unwrap();
    node.start_container(&id).await.unwrap();
    world.kill_shim(&sandbox);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(node.find_sandbox(sandbox.as_str()).unwrap().state, SandboxState::NotReady { .. }));
    assert!(matches!(state(&node, &id), ContainerState::Exited(ended, _) if ended.exit == Exit::Unknown));
    assert!(matches!(state(&node, &waiting), ContainerState::Exited(ended, _) if ended.exit == Exit::Unstarted));
    assert!(world.leftovers().addresses.is_empty());
}

/// The daemon dies at a random moment of a pod's life; the next one takes up, or undoes, what it finds.
#[tokio::test(start_paused = true)]
async fn a_new_daemon_takes_up_where_the_last_one_died() {
    for seed in 0..200 {
        let world = world(seed, 0);
        let first = node(&world, CRI).await;
        let life = async {
            let sandbox = first.run_sandbox(pod("p")).await?;
            let id = first.create_container(container(&sandbox, "c")).await?;
            first.start_container(&id).await?;
            first.stop_container(&id, Duration::from_secs(5)).await?;
            first.remove_sandbox(&sandbox).await
        };
        drop(tokio::time::timeout(Duration::from_millis(seed), life).await);
        let world = world.kill_daemon();
        let second = Engine::start(world.ports()).await.unwrap().0.facade(namespace(), CRI);
        tokio::time::sleep(Duration::from_secs(60)).await;
        for sandbox in second.sandboxes() {
            second.remove_sandbox(&sandbox.asked.id).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.leftovers(), Leftovers::default(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_exit_while_no_daemon_runs_is_not_lost() {
    let world = world(11, 0);
    let first = node(&world, CRI).await;
    let sandbox = first.run_sandbox(pod("p")).await.unwrap();
    let id = first.create_container(container(&sandbox, "c")).await.unwrap();
    first.start_container(&id).await.unwrap();
    let world = world.kill_daemon();
    world.end_task(&sandbox, &id, Exit::Code { code: 7, oom: false });
    let second = node(&world, CRI).await;
    let ContainerState::Exited(ended, _) = state(&second, &id) else { panic!("the end was lost") };
    assert_eq!(ended.exit, Exit::Code { code: 7, oom: false });
}

#[tokio::test(start_paused = true)]
async fn docker_may_start_again_and_in_a_stopped_sandbox() {
    let world = world(13, 0);
    let node = node(&world, DOCKER).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    node.start_container(&id).await.unwrap();
    assert_eq!(node.start_container(&id).await.unwrap(), Changed::No);
    node.stop_sandbox(&sandbox).await.unwrap();
    assert!(matches!(state(&node, &id), ContainerState::Exited(..)));
    node.start_container(&id).await.unwrap();
    assert!(matches!(state(&node, &id), ContainerState::Running(_)));
    assert_eq!(world.calls()["raise"], 2);
    node.remove_sandbox(&sandbox).await.unwrap();
    assert_eq!(world.leftovers(), Leftovers::default());
}

#[tokio::test(start_paused = true)]
async fn ids_are_found_by_unique_prefix_only() {
    let world = world(17, 0);
    let node = node(&world, CRI).await;
    for n in 0..40 {
        node.run_sandbox(pod(&format!("p{n}"))).await.unwrap();
    }
    let sandboxes = node.sandboxes();
    let id = sandboxes[0].asked.id.as_str();
    assert_eq!(node.find_sandbox(&id[..13]).unwrap().asked.id.as_str(), id);
    let crowded = sandboxes.iter().map(|view| &view.asked.id.as_str()[..1]).collect::<Vec<_>>();
    let twice = crowded.iter().find(|first| crowded.iter().filter(|other| other == first).count() > 1).unwrap();
    assert_eq!(node.find_sandbox(twice).unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(node.find_sandbox("nobody").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(node.find_sandbox("a/b").unwrap_err().kind, ErrorKind::InvalidArgument);
}

//! Whole lives of pods over in-memory ports, from seeds, on one thread and a paused clock.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use orlop_model::container_state::{ContainerState, Exit, Force};
use orlop_model::ports::{ExecIo, ExecOverrides};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::streams::{TerminalSize, WantedStreams};
use orlop_model::{ContainerId, ErrorKind, Failure, SandboxId};
use orlop_sim::Leftovers;
use orlop_usecases::{Changed, Engine, Facade, RunSandbox};
use std::time::Duration;
use support::{CRI, DOCKER, container, namespace, node, pod, settle, state, world};

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
        let ContainerState::Exited { ended, .. } = state(&node, &id) else { panic!("it has not ended") };
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

/// Each is refused in words before anything is asked of a shim.
#[tokio::test(start_paused = true)]
async fn streams_are_of_running_containers_and_of_sandboxes_that_are_ready() {
    let world = world(1, 0);
    let node = node(&world, DOCKER).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    let wanted = WantedStreams { stdin: true, stdout: true, stderr: false };
    let io = ExecIo { streams: wanted, terminal: None };
    let none = ExecOverrides::default();
    let words = ["hello".to_owned()];
    let not_started = node.exec_open(&id, &words, io, &none).await.unwrap_err();
    assert!(not_started.message.ends_with("the container has not been started yet"), "{not_started}");
    assert_eq!(node.attach(&id, wanted).await.unwrap_err().kind, ErrorKind::WrongState);
    node.start_container(&id).await.unwrap();
    let run = node.exec_open(&id, &words, io, &none).await.unwrap();
    assert_eq!(run.ended.await.unwrap().exit_code, 0);
    assert!(node.attach(&id, wanted).await.unwrap().streams.stdin.is_some());
    node.close_stdin(&id).await.unwrap();
    assert_eq!(node.processes(&id).await.unwrap().len(), 1);
    node.freeze_container(&id).await.unwrap();
    let paused = node.exec_open(&id, &words, io, &none).await.unwrap_err();
    assert!(paused.message.ends_with("is paused; unpause it first"), "{paused}");
    node.root_of(&id).await.unwrap();
    node.thaw_container(&id).await.unwrap();
    node.stop_container(&id, Duration::from_secs(1)).await.unwrap();
    for refused in [
        node.exec_open(&id, &words, io, &none).await.unwrap_err(),
        node.attach(&id, wanted).await.unwrap_err(),
        node.close_stdin(&id).await.unwrap_err(),
        node.resize(&id, TerminalSize::default()).await.unwrap_err(),
        node.processes(&id).await.unwrap_err(),
        node.root_of(&id).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
        assert!(refused.message.ends_with("the container has ended"), "{refused}");
    }
    assert_eq!(node.connect(&sandbox, 80).await.unwrap_err().kind, ErrorKind::Unavailable);
    node.stop_sandbox(&sandbox).await.unwrap();
    assert_eq!(node.connect(&sandbox, 80).await.unwrap_err().kind, ErrorKind::WrongState);
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
    world.ignore_signals();
    let before = tokio::time::Instant::now();
    node.stop_container(&id, Duration::from_secs(30)).await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(30), "killed after {:?}", before.elapsed());
    let ContainerState::Exited { ended, .. } = state(&node, &id) else { panic!("it has not ended") };
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
    assert!(matches!(state(&node, &id), ContainerState::Exited { ended, .. } if ended.exit == Exit::Unknown));
    assert!(matches!(state(&node, &waiting), ContainerState::Exited { ended, .. } if ended.exit == Exit::Unstarted));
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
    let ContainerState::Exited { ended, .. } = state(&second, &id) else { panic!("the end was lost") };
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
    assert!(matches!(state(&node, &id), ContainerState::Exited { .. }));
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

/// Makes pods with a running container each.
async fn running(node: &Facade, pods: usize) -> Vec<(SandboxId, ContainerId)> {
    let mut ids = Vec::new();
    for n in 0..pods {
        let sandbox = node.run_sandbox(pod(&format!("p{n}"))).await.unwrap();
        let id = node.create_container(container(&sandbox, "c")).await.unwrap();
        node.start_container(&id).await.unwrap();
        ids.push((sandbox, id));
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn silent_shims_hold_up_no_start_and_lose_no_pod() {
    let world = world(19, 0);
    let first = node(&world, CRI).await;
    let ids = running(&first, 110).await;
    // One that answers, one whose program ends while nobody hears of it, and all others silent.
    ids.iter().skip(1).for_each(|(sandbox, _)| world.silence(sandbox, true));
    let world = world.kill_daemon();
    world.end_task(&ids[1].0, &ids[1].1, Exit::Code { code: 7, oom: false });
    let before = tokio::time::Instant::now();
    let (engine, recovered) = Engine::start(world.ports()).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "served after {:?}", before.elapsed());
    assert_eq!(recovered.silent, 109);
    let second = engine.facade(namespace(), CRI);
    assert!(matches!(state(&second, &ids[0].1), ContainerState::Running(_)));
    assert!(matches!(state(&second, &ids[2].1), ContainerState::Lost(_)));
    assert!(second.sandboxes().iter().all(|pod| matches!(pod.state, SandboxState::Ready { .. })));
    ids.iter().for_each(|(sandbox, _)| world.silence(sandbox, false));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(matches!(state(&second, &ids[2].1), ContainerState::Running(_)));
    let ContainerState::Exited { ended, .. } = state(&second, &ids[1].1) else { panic!("the end was lost") };
    assert_eq!(ended.exit, Exit::Code { code: 7, oom: false });
}

/// A kubelet starts what is lost anew.
#[tokio::test(start_paused = true)]
async fn shims_that_are_late_are_waited_for_while_answers_keep_coming() {
    let world = world(19, 0);
    let first = node(&world, CRI).await;
    let pods = running(&first, 10).await;
    for ((sandbox, _), n) in pods.iter().zip(0..) {
        // All but the last two answer, 400 ms one after another; those are too late then.
        let late = if n < 8 { 400 * (n + 1) } else { 1000 * n };
        world.slow_down(sandbox, Duration::from_millis(late));
    }
    let world = world.kill_daemon();
    let before = tokio::time::Instant::now();
    let (engine, recovered) = Engine::start(world.ports()).await.unwrap();
    assert_eq!(recovered.silent, 2);
    assert!(before.elapsed() < Duration::from_secs(5), "served after {:?}", before.elapsed());
    let second = engine.facade(namespace(), CRI);
    let lost: Vec<_> = pods.iter().map(|(_, id)| matches!(state(&second, id), ContainerState::Lost(_))).collect();
    assert_eq!(lost, [[false; 5], [false, false, false, true, true]].concat());
}

/// The shim takes a second start of a task it still knows for the first one repeated.
#[tokio::test(start_paused = true)]
async fn a_container_that_is_started_again_at_once_runs_anew() {
    for seed in 0..50 {
        let world = world(seed, 0);
        let node = node(&world, DOCKER).await;
        let sandbox = node.run_sandbox(pod("p")).await.unwrap();
        let id = node.create_container(container(&sandbox, "c")).await.unwrap();
        for _ in 0..3 {
            node.start_container(&id).await.unwrap();
            assert!(matches!(state(&node, &id), ContainerState::Running(_)), "seed {seed}: {:?}", state(&node, &id));
            node.stop_container(&id, Duration::from_secs(10)).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_in_a_pod_that_stops_is_answered_and_settled() {
    for seed in 0..200 {
        let world = world(seed, 0);
        let node = node(&world, CRI).await;
        let sandbox = node.run_sandbox(pod("p")).await.unwrap();
        let ready = node.create_container(container(&sandbox, "ready")).await.unwrap();
        let work =
            async { (node.start_container(&ready).await, node.create_container(container(&sandbox, "late")).await) };
        let stop = async {
            tokio::time::sleep(Duration::from_millis(seed % 60)).await;
            node.stop_sandbox(&sandbox).await
        };
        let ((_, late), stopped) =
            tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(work, stop) }).await.unwrap();
        stopped.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(
            matches!(state(&node, &ready), ContainerState::Exited { .. }),
            "seed {seed}: {:?}",
            state(&node, &ready)
        );
        match late {
            Ok(id) => assert!(matches!(state(&node, &id), ContainerState::Exited { .. }), "seed {seed}"),
            Err(refused) => assert_eq!(refused.kind, ErrorKind::WrongState, "seed {seed}: {refused}"),
        }
        node.remove_sandbox(&sandbox).await.unwrap();
        assert_eq!(world.leftovers(), Leftovers::default(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_what_can_not_be_killed_is_told() {
    let world = world(23, 0);
    let node = node(&world, CRI).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    node.start_container(&id).await.unwrap();
    world.set_faults(1000);
    let stop = node.stop_container(&id, Duration::from_secs(5));
    let refused = tokio::time::timeout(Duration::from_secs(30), stop).await.unwrap().unwrap_err();
    assert!(refused.message.contains("kill the container") && refused.message.contains("again"), "{refused}");
    world.set_faults(0);
    node.stop_container(&id, Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_signal_that_could_not_be_sent_is_sent_again() {
    let world = world(29, 0);
    let node = node(&world, CRI).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    node.start_container(&id).await.unwrap();
    world.set_faults(1000);
    let healed = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.set_faults(0);
    };
    let (stopped, ()) = tokio::join!(node.stop_container(&id, Duration::from_secs(600)), healed);
    stopped.unwrap();
    let ContainerState::Exited { ended, .. } = state(&node, &id) else { panic!("it has not ended") };
    assert_eq!(ended.exit, Exit::Signal { signal: 15, oom: false });
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_not_there_fails_the_start_and_leaves_127() {
    let world = world(31, 0);
    let node = node(&world, CRI).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let mut wanted = container(&sandbox, "c");
    wanted.spec.process.command = vec![orlop_sim::NO_SUCH_PROGRAM.to_owned()];
    let id = node.create_container(wanted).await.unwrap();
    let refused = node.start_container(&id).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{refused}");
    assert!(refused.message.starts_with("start the container: "), "{refused}");
    let ContainerState::Exited { ended, .. } = state(&node, &id) else { panic!("it has not ended") };
    assert!(matches!(ended.exit, Exit::NeverStarted { code: 127, .. }));
    let again = node.start_container(&id).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::WrongState, "{again}");
    assert!(again.message.contains("has ended"), "{again}");
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_panics_counts_as_failed() {
    let world = world(37, 0);
    let node = node(&world, CRI).await;
    world.panic_once("raise");
    let refused = node.run_sandbox(pod("p")).await.unwrap_err();
    assert!(refused.message.contains("panicked"), "{refused}");
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    world.panic_once("prepare");
    let refused = node.create_container(container(&sandbox, "c")).await.unwrap_err();
    assert!(refused.message.contains("panicked"), "{refused}");
    world.panic_once("drop sandbox");
    let refused = node.remove_sandbox(&sandbox).await.unwrap_err();
    assert!(refused.message.contains("tried again"), "{refused}");
    node.remove_sandbox(&sandbox).await.unwrap();
    assert_eq!(world.leftovers(), Leftovers::default());
}

#[tokio::test(start_paused = true)]
async fn a_container_that_leaves_still_says_how_it_ended() {
    let world = world(41, 0);
    let node = node(&world, CRI).await;
    let sandbox = node.run_sandbox(pod("p")).await.unwrap();
    let id = node.create_container(container(&sandbox, "c")).await.unwrap();
    node.start_container(&id).await.unwrap();
    world.end_task(&sandbox, &id, Exit::Code { code: 7, oom: false });
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.set_faults(1000);
    node.remove_container(&id, Force::Yes).await.unwrap_err();
    let leaving = state(&node, &id);
    assert!(matches!(leaving, ContainerState::Removing(_)));
    assert_eq!(leaving.end().unwrap().exit, Exit::Code { code: 7, oom: false });
    assert!(leaving.checked().is_some());
}

/// A name that its owner is just giving up is waited for, whatever is asked of it next.
#[tokio::test(start_paused = true)]
async fn a_name_is_free_again_when_its_owner_has_left() {
    for seed in 0..60 {
        let world = world(seed, 0);
        let node = node(&world, CRI).await;
        let old = node.run_sandbox(pod("p")).await.unwrap();
        let other = RunSandbox { annex: b"other".to_vec(), ..pod("p") };
        let again = async {
            // By now the removal is recorded.
            tokio::time::sleep(Duration::from_millis(21)).await;
            node.run_sandbox(other).await
        };
        let (removed, new) = tokio::join!(node.remove_sandbox(&old), again);
        removed.unwrap();
        assert_ne!(new.unwrap(), old, "seed {seed}");
    }
}

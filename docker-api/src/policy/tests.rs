//! Policies over a node in memory: what they do to containers, and what a killed daemon's successor makes of what is left.

use super::health::HealthCheck;
use super::kept::{Book, Kept, Rules, Wanted};
use super::restart::Restart;
use super::{Policies, Status};
use orlop_model::container::{ContainerSpec, Process, Resources};
use orlop_model::container_state::{ContainerState, Exit};
use orlop_model::error::Result;
use orlop_model::image::Image;
use orlop_model::record::Durability;
use orlop_model::sandbox::{SandboxEnd, SandboxSpec};
use orlop_model::{ContainerId, Digest, ErrorKind, ImageId, NaturalKey, SandboxId};
use orlop_sim::{NO_SUCH_PROGRAM, World};
use orlop_usecases::{Changed, CreateAlone, Engine, Facade};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An annex of nothing but what policies need.
#[derive(Serialize, Deserialize)]
struct Asked {
    restart: u8,
    auto_remove: bool,
    looks: bool,
    kept: Kept,
}

const NO: u8 = 0;
const ALWAYS: u8 = 1;
const UNLESS_STOPPED: u8 = 2;
const ON_FAILURE: u8 = 3;

const BOOK: Book = Book {
    of: |view| read(&view.asked.annex),
    read,
    write: |bytes, kept| {
        let asked: Asked = serde_json::from_slice(bytes).unwrap();
        serde_json::to_vec(&Asked { kept, ..asked }).unwrap()
    },
};

fn read(bytes: &[u8]) -> (Rules, Kept) {
    let asked: Asked = serde_json::from_slice(bytes).unwrap();
    let restart = match asked.restart {
        NO => Restart::No,
        ALWAYS => Restart::Always,
        UNLESS_STOPPED => Restart::UnlessStopped,
        _ => Restart::OnFailure { max: 3 },
    };
    let health = HealthCheck {
        command: vec!["look".to_owned()],
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        retries: 2,
        start_period: Duration::ZERO,
        start_interval: Duration::from_secs(5),
    };
    let health = asked.looks.then_some(health);
    // Those that are always to run have a signal of their own.
    let own_stop_signal = asked.restart == ALWAYS;
    (Rules { restart, auto_remove: asked.auto_remove, own_stop_signal, health }, asked.kept)
}

fn image() -> ImageId {
    ImageId(Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap())
}

fn world() -> World {
    let image = Image { tags: vec!["a:b".to_owned()], ..Image::new(image()) };
    World::new(1, 0, vec![image])
}

/// A daemon: its engine and its policies.
async fn daemon(world: &World) -> (Facade, Policies) {
    let facade = Engine::start(world.ports()).await.unwrap().0.facade(crate::app::namespace(), crate::app::policy());
    let policies = Policies::new(facade.clone(), BOOK);
    tokio::spawn(policies.clone().keep());
    (facade, policies)
}

async fn create(node: &Facade, restart: u8, auto_remove: bool, looks: bool, command: &str) -> ContainerId {
    let id = node.fresh_id();
    let key = || NaturalKey(id.to_string());
    let namespace = crate::app::namespace();
    let sandbox = SandboxSpec { ends: SandboxEnd::WithContainer, ..SandboxSpec::new(namespace.clone(), key()) };
    let process = Process { command: vec![command.to_owned()], ..Process::default() };
    let container = ContainerSpec::new(namespace, key(), SandboxId::alone(&id), image());
    let container = ContainerSpec { process, ..container };
    let asked = Asked { restart, auto_remove, looks, kept: Kept::default() };
    let annex = serde_json::to_vec(&asked).unwrap();
    let (resources, durability) = (Resources::default(), Durability::Node);
    let wanted = CreateAlone { id: id.clone(), sandbox, container, resources, annex, durability };
    node.create_alone(wanted).await.unwrap()
}

impl Policies {
    /// Starts a container for its user.
    async fn start(&self, id: &ContainerId) -> Result<Changed> {
        let _hold = self.hold(id).await;
        self.start_held(id).await
    }
}

async fn run(node: &Facade, policies: &Policies, restart: u8) -> ContainerId {
    let id = create(node, restart, false, false, "run").await;
    policies.start(&id).await.unwrap();
    id
}

async fn removed_at_its_end(node: &Facade, policies: &Policies) -> ContainerId {
    let id = create(node, NO, true, false, "run").await;
    policies.start(&id).await.unwrap();
    id
}

fn kept(node: &Facade, id: &ContainerId) -> Kept {
    (BOOK.read)(&node.find_container(id.as_str()).unwrap().asked.annex).1
}

fn runs(node: &Facade, id: &ContainerId) -> bool {
    node.find_container(id.as_str()).is_ok_and(|view| matches!(view.state, ContainerState::Running(_)))
}

fn has_ended(node: &Facade, id: &ContainerId) -> bool {
    node.find_container(id.as_str()).is_ok_and(|view| matches!(view.state, ContainerState::Exited { task: None, .. }))
}

fn is_gone(node: &Facade, id: &ContainerId) -> bool {
    node.find_container(id.as_str()).is_err_and(|failure| failure.kind == ErrorKind::NotFound)
}

fn end(world: &World, id: &ContainerId, code: u8) {
    world.end_task(&SandboxId::alone(id), id, Exit::Code { code, oom: false });
}

/// Ends a container and waits until the node knows.
async fn ends(world: &World, node: &Facade, id: &ContainerId, code: u8) {
    end(world, id, code);
    until(|| !runs(node, id)).await;
}

async fn until(so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    panic!("it never came to be so");
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_is_started_again_later_each_time_and_counted() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let id = run(&node, &policies, ALWAYS).await;
    let mut pauses = Vec::new();
    for restart in 1..=5 {
        ends(&world, &node, &id, 0).await;
        let ended = tokio::time::Instant::now();
        until(|| runs(&node, &id)).await;
        pauses.push(ended.elapsed());
        until(|| kept(&node, &id).restarts == restart).await;
    }
    assert!(pauses[4] > Duration::from_millis(1500) && pauses[4] < Duration::from_millis(2000), "{pauses:?}");
    seconds(15).await;
    ends(&world, &node, &id, 0).await;
    let ended = tokio::time::Instant::now();
    until(|| runs(&node, &id)).await;
    assert!(ended.elapsed() < Duration::from_millis(400), "a long run did not reset the pause: {:?}", ended.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_its_user_stopped_stays_stopped_until_a_daemon_starts_under_always() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let (always, unless) = (run(&node, &policies, ALWAYS).await, run(&node, &policies, UNLESS_STOPPED).await);
    for id in [&always, &unless] {
        policies.stop(id, None, Duration::from_secs(1)).await.unwrap();
    }
    seconds(300).await;
    assert!(has_ended(&node, &always) && has_ended(&node, &unless));
    let world = world.kill_daemon();
    let (node, policies) = daemon(&world).await;
    until(|| runs(&node, &always)).await;
    seconds(300).await;
    assert!(has_ended(&node, &unless));
    policies.start(&unless).await.unwrap();
    ends(&world, &node, &unless, 0).await;
    until(|| runs(&node, &unless)).await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_by_its_user_is_a_stop_and_another_signal_only_where_none_is_its_own() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let (killed, signalled) = (run(&node, &policies, ALWAYS).await, run(&node, &policies, ALWAYS).await);
    let without_its_own = run(&node, &policies, ON_FAILURE).await;
    policies.kill(&killed, 9).await.unwrap();
    policies.kill(&signalled, 1).await.unwrap();
    policies.kill(&without_its_own, 1).await.unwrap();
    until(|| has_ended(&node, &killed) && runs(&node, &signalled) && kept(&node, &signalled).restarts == 1).await;
    seconds(300).await;
    assert!(has_ended(&node, &killed) && has_ended(&node, &without_its_own));
    assert_eq!(policies.kill(&killed, 9).await.unwrap_err().kind, ErrorKind::WrongState);
}

#[tokio::test(start_paused = true)]
async fn on_failure_gives_up_after_its_tries_and_after_a_success() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let (fails, succeeds) = (run(&node, &policies, ON_FAILURE).await, run(&node, &policies, ON_FAILURE).await);
    for restart in 1..=3 {
        ends(&world, &node, &fails, 1).await;
        until(|| runs(&node, &fails) && kept(&node, &fails).restarts == restart).await;
    }
    ends(&world, &node, &fails, 1).await;
    ends(&world, &node, &succeeds, 0).await;
    seconds(300).await;
    assert!(has_ended(&node, &fails) && has_ended(&node, &succeeds));
    assert_eq!((kept(&node, &fails).restarts, kept(&node, &succeeds).restarts), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_at_its_end_goes_and_a_created_one_stays() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let created = create(&node, NO, true, false, "run").await;
    let (ended, stopped) = (removed_at_its_end(&node, &policies).await, removed_at_its_end(&node, &policies).await);
    end(&world, &ended, 3);
    policies.stop(&stopped, None, Duration::from_secs(1)).await.unwrap();
    until(|| is_gone(&node, &ended) && is_gone(&node, &stopped)).await;
    let missing = create(&node, NO, true, false, NO_SUCH_PROGRAM).await;
    policies.start(&missing).await.unwrap_err();
    until(|| is_gone(&node, &missing)).await;
    seconds(300).await;
    assert!(!is_gone(&node, &created));
    assert_eq!(world.leftovers().container_records, [created]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_by_its_user_removes_nothing() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let id = removed_at_its_end(&node, &policies).await;
    policies.restart(&id, None, Duration::from_secs(1)).await.unwrap();
    seconds(300).await;
    assert!(runs(&node, &id));
    assert_eq!(kept(&node, &id).restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn what_died_while_no_daemon_ran_is_started_again_or_removed_by_the_next() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let kept_running = run(&node, &policies, NO).await;
    let (always, no) = (run(&node, &policies, ALWAYS).await, run(&node, &policies, NO).await);
    let goes = removed_at_its_end(&node, &policies).await;
    let world = world.kill_daemon();
    for id in [&always, &no, &goes] {
        end(&world, id, 0);
    }
    seconds(3600).await;
    let (node, _policies) = daemon(&world).await;
    let begun = tokio::time::Instant::now();
    until(|| runs(&node, &always) && is_gone(&node, &goes)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(runs(&node, &kept_running) && has_ended(&node, &no));
    ends(&world, &node, &always, 0).await;
    until(|| runs(&node, &always) && kept(&node, &always).restarts == 2).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_boot_what_ran_runs_again_and_what_was_only_created_does_not() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let created = create(&node, ALWAYS, false, false, "run").await;
    let (ran, failed) = (run(&node, &policies, UNLESS_STOPPED).await, run(&node, &policies, ON_FAILURE).await);
    let goes = removed_at_its_end(&node, &policies).await;
    let world = world.reboot();
    let (node, _policies) = daemon(&world).await;
    until(|| runs(&node, &ran) && runs(&node, &failed) && is_gone(&node, &goes)).await;
    seconds(300).await;
    assert!(has_ended(&node, &created));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_a_daemon_died_over_is_done_by_the_next() {
    for step in 1..25 {
        let world = world();
        let (node, policies) = daemon(&world).await;
        let id = create(&node, UNLESS_STOPPED, false, false, "run").await;
        world.die_at(world.steps() + step);
        let started = tokio::time::timeout(Duration::from_secs(5), policies.start(&id)).await;
        let world = world.kill_daemon();
        let (node, _policies) = daemon(&world).await;
        seconds(5).await;
        match (started, kept(&node, &id).wanted) {
            (_, Wanted::Run) => until(|| runs(&node, &id)).await,
            // Not even that was recorded.
            (Err(_), Wanted::Nothing) => assert!(!runs(&node, &id)),
            (started, wanted) => panic!("{started:?}, {wanted:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_a_daemon_died_over_leaves_nothing_frozen() {
    let mut left_frozen = 0;
    for step in 1..25 {
        let world = world();
        let (node, policies) = daemon(&world).await;
        let id = run(&node, &policies, NO).await;
        world.die_at(world.steps() + step);
        let commit = async {
            let _hold = policies.freeze_for_commit(&id).await.unwrap();
            policies.thaw_after_commit(&id).await.unwrap();
        };
        let survived = tokio::time::timeout(Duration::from_secs(5), commit).await.is_ok();
        let frozen = world.is_frozen(&SandboxId::alone(&id), &id);
        assert!(!(survived && frozen));
        left_frozen += u32::from(frozen);
        let world = world.kill_daemon();
        let (node, _policies) = daemon(&world).await;
        until(|| runs(&node, &id) && !kept(&node, &id).frozen_for_commit).await;
        assert!(!world.is_frozen(&SandboxId::alone(&id), &id));
        // What its user freezes stays so, whatever was before, and whichever daemon comes.
        node.freeze_container(&id).await.unwrap();
        let world = world.kill_daemon();
        let _daemon = daemon(&world).await;
        seconds(300).await;
        assert!(world.is_frozen(&SandboxId::alone(&id), &id));
    }
    assert!(left_frozen > 0, "no daemon died at the time that counts");
}

#[tokio::test(start_paused = true)]
async fn what_was_frozen_for_a_commit_is_thawed_by_the_loop_once_nobody_holds_it() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let id = run(&node, &policies, NO).await;
    let hold = policies.freeze_for_commit(&id).await.unwrap();
    seconds(300).await;
    assert!(world.is_frozen(&SandboxId::alone(&id), &id), "it is held");
    world.set_faults(1000);
    drop(hold);
    seconds(10).await;
    assert!(world.is_frozen(&SandboxId::alone(&id), &id), "nothing works");
    world.set_faults(0);
    until(|| runs(&node, &id) && !kept(&node, &id).frozen_for_commit).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_during_its_commit_owes_nothing() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let (stays, goes) = (run(&node, &policies, NO).await, removed_at_its_end(&node, &policies).await);
    let mut holds = Vec::new();
    for id in [&stays, &goes] {
        holds.push(policies.freeze_for_commit(id).await.unwrap());
        policies.stop(id, None, Duration::ZERO).await.unwrap();
    }
    until(|| is_gone(&node, &goes)).await;
    for id in [&stays, &goes] {
        policies.thaw_after_commit(id).await.unwrap();
    }
    drop(holds);
    assert!(!kept(&node, &stays).frozen_for_commit);
    assert!(has_ended(&node, &stays));
    policies.freeze_for_commit(&stays).await.unwrap_err();
    assert!(!kept(&node, &stays).frozen_for_commit);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_the_pause_before_a_restart_wins() {
    for wait_ms in [0, 20, 60, 95, 100, 105, 130, 180] {
        let world = world();
        let (node, policies) = daemon(&world).await;
        let id = run(&node, &policies, ALWAYS).await;
        ends(&world, &node, &id, 0).await;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        policies.stop(&id, None, Duration::from_secs(1)).await.unwrap();
        seconds(300).await;
        assert!(has_ended(&node, &id), "stopped {wait_ms} ms after its end, and runs");
    }
}

#[tokio::test(start_paused = true)]
async fn health_is_looked_at_and_goes_on_where_a_killed_daemon_was() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let id = create(&node, NO, false, true, "run").await;
    policies.start(&id).await.unwrap();
    assert_eq!(kept(&node, &id).health.status, Status::Starting);
    until(|| kept(&node, &id).health.status == Status::Healthy).await;
    let first = kept(&node, &id).health.results;
    assert_eq!((first.len(), first[0].exit_code, first[0].output.as_str()), (1, 0, "look"));
    seconds(70).await;
    let before = kept(&node, &id).health.results;
    assert_eq!(before.len(), 3);
    let world = world.kill_daemon();
    seconds(10).await;
    let (node, _policies) = daemon(&world).await;
    until(|| kept(&node, &id).health.results.len() == 4).await;
    let after = kept(&node, &id).health.results;
    assert_eq!(after[..3], before);
    let pause = after[3].began.since(after[2].ended).as_secs();
    assert!((30..32).contains(&pause), "the next look came after {pause} s");
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_node_do_not_keep_policies_from_their_work() {
    let world = world();
    let (node, policies) = daemon(&world).await;
    let id = run(&node, &policies, ALWAYS).await;
    let goes = removed_at_its_end(&node, &policies).await;
    world.set_faults(200);
    ends(&world, &node, &id, 0).await;
    end(&world, &goes, 0);
    seconds(120).await;
    world.set_faults(0);
    until(|| runs(&node, &id) && is_gone(&node, &goes)).await;
}

//! Contracts of [`Runtime`].

pub mod streams;

use crate::objects::{container_id, sandbox, sandbox_id};
use crate::wait_for;
use orlop_model::container::{ContainerSpec, Resources};
use orlop_model::container_state::{Ended, Exit};
use orlop_model::image::ImageConfig;
use orlop_model::ports::{Launched, Observed, ObservedTask, Runtime, Start, Update};
use orlop_model::usage::UsageOf;
use orlop_model::{ContainerId, ErrorKind, Failure, SandboxId, Timestamp};
use std::os::fd::OwnedFd;

/// SIGTERM; signal(7).
const SIGTERM: u8 = 15;

/// What the contracts stand on: a node without sandboxes, and programs to run.
pub trait RuntimeGround {
    /// Processes of a container that runs [`Program::Forks`], once it has.
    const FORKED: usize;
    /// The runtime, as the daemon of the moment has it.
    fn runtime(&self) -> &dyn Runtime;
    /// Returns the ends that the daemon of the moment was told, in order.
    fn ends(&self) -> Vec<(ContainerId, Ended)>;
    /// Returns the shims of which the daemon of the moment was told that they died.
    fn shims_gone(&self) -> Vec<SandboxId>;
    /// Returns a container that runs a program.
    fn container(&self, sandbox: &SandboxId, name: &str, program: Program) -> ContainerSpec;
    /// Returns the words of a program to be run inside a container.
    fn command(&self, inner: streams::Inner) -> Vec<String>;
    /// Returns a root for it.
    fn rootfs(&self) -> OwnedFd;
    /// Counts the processes of a container.
    fn processes(&self, sandbox: &SandboxId, container: &ContainerId) -> usize;
    /// Says whether a process of a container is there.
    fn has_process(&self, pid: u32) -> bool;
    /// Kills the shim of a sandbox, and nothing else.
    fn kill_shim(&self, sandbox: &SandboxId);
    /// Lets the daemon die and another one take its place.
    fn restart(&mut self);
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Runs until SIGTERM or SIGKILL.
    Waits,
    /// Ends at once with [`CODE`].
    Ends,
    /// Makes more processes, and runs until SIGKILL.
    Forks,
    /// Gives back what it reads, until that ends.
    Copies,
    /// Is not in the image.
    Missing,
}

/// Exit status of [`Program::Ends`].
pub const CODE: u8 = 3;

/// Writes one test for each contract. `ground!(name)` makes a [`runtime::RuntimeGround`](crate::runtime::RuntimeGround).
#[macro_export]
macro_rules! runtime {
    ($test:tt, $ground:ident) => {
        $crate::suite! { runtime, $test, $ground,
            raising_twice_keeps_one_shim_and_its_tasks
            leftovers_are_exactly_what_was_raised
            dropping_again_or_what_never_was_is_quiet
            a_network_namespace_is_there_while_the_shim_is
            checking_starts_nothing
            a_start_that_comes_again_is_answered_with_the_same_task
            an_end_is_reported_once_and_observed_until_it_is_dropped
            a_program_that_is_not_there_is_an_end_that_never_started
            a_start_without_a_shim_fails
            signals_end_a_task_and_are_quiet_afterwards
            a_kill_ends_every_process_of_a_container
            a_task_that_was_dropped_is_forgotten_and_may_start_anew
            freezing_and_thawing_may_each_come_twice
            limits_may_be_written_twice_while_a_task_is_there_and_not_without_one
            what_is_there_has_figures_and_what_is_not_has_none
            a_dropped_sandbox_tells_every_end_and_keeps_them_for_one_more_asking
            ends_that_were_kept_go_with_their_tasks
            a_shim_that_dies_is_reported_once_and_its_ends_are_observed
            a_sandbox_without_its_shim_is_dropped_with_its_processes
            tasks_outlive_the_daemon_and_are_reported_to_the_next
        }
        mod streams {
            use super::*;
            $crate::suite! { runtime_streams, $test, $ground,
                a_program_run_inside_has_streams_of_its_own
                a_program_run_inside_reads_until_its_input_is_closed
                a_program_on_a_terminal_has_one_stream_of_the_size_asked_for
                a_program_that_is_not_inside_is_an_end_with_a_reason
                a_program_that_nobody_waits_for_is_killed
                a_client_hears_a_container_and_is_heard
                an_input_that_was_closed_is_given_to_nobody
                a_size_is_set_of_terminals_alone
                a_port_that_nobody_listens_on_can_not_be_connected_to
                what_is_inside_a_container_is_found_while_it_runs
            }
        }
    };
}

/// A sandbox that was raised.
async fn raise(ground: &impl RuntimeGround, name: &str) -> SandboxId {
    let id = sandbox_id(name);
    ground.runtime().raise(&id, &sandbox(name)).await.unwrap();
    id
}

async fn try_start(
    ground: &impl RuntimeGround,
    pod: &SandboxId,
    name: &str,
    program: Program,
) -> Result<Launched, Failure> {
    try_start_of(ground, pod, name, ground.container(pod, name, program)).await
}

async fn try_start_of(
    ground: &impl RuntimeGround,
    pod: &SandboxId,
    name: &str,
    container: ContainerSpec,
) -> Result<Launched, Failure> {
    let start = Start {
        sandbox_id: pod,
        sandbox: &sandbox("pod"),
        id: &container_id(name),
        container: &container,
        resources: &Resources::default(),
        image: &ImageConfig::default(),
        rootfs: ground.rootfs(),
    };
    ground.runtime().start(start).await
}

/// Starts a program that can run; returns its container, its process and when it was started.
async fn start(
    ground: &impl RuntimeGround,
    pod: &SandboxId,
    name: &str,
    program: Program,
) -> (ContainerId, u32, Timestamp) {
    start_with(ground, pod, name, program, |_| {}).await
}

/// The same of a container that is changed first.
async fn start_with(
    ground: &impl RuntimeGround,
    pod: &SandboxId,
    name: &str,
    program: Program,
    edit: impl FnOnce(&mut ContainerSpec),
) -> (ContainerId, u32, Timestamp) {
    let mut container = ground.container(pod, name, program);
    edit(&mut container);
    match try_start_of(ground, pod, name, container).await.unwrap() {
        Launched::Running { pid, at } => (container_id(name), pid, at),
        Launched::Failed(ended) => panic!("it did not start: {ended:?}"),
    }
}

/// Takes a sandbox away with all that is kept of it.
async fn clear(ground: &impl RuntimeGround, pod: &SandboxId) {
    for _ in 0..2 {
        ground.runtime().drop_sandbox(pod).await.unwrap();
    }
    assert_eq!(ground.runtime().leftovers().await.unwrap(), []);
}

async fn wait_ended(ground: &impl RuntimeGround, id: &ContainerId) -> Ended {
    let found = || ground.ends().into_iter().find(|(ended, _)| ended == id).map(|(_, ended)| ended);
    wait_for(&format!("the end of {id}"), found).await
}

async fn tasks(ground: &impl RuntimeGround, pod: &SandboxId) -> Vec<(ContainerId, ObservedTask)> {
    match ground.runtime().observe(pod).await.unwrap() {
        Observed::Shim { tasks } => tasks,
        Observed::NoShim { ended } => panic!("no shim, but {ended:?}"),
    }
}

async fn kept(ground: &impl RuntimeGround, pod: &SandboxId) -> Vec<(ContainerId, Ended)> {
    match ground.runtime().observe(pod).await.unwrap() {
        Observed::NoShim { ended } => ended,
        Observed::Shim { tasks } => panic!("a shim with {tasks:?}"),
    }
}

const ENDED: Exit = Exit::Code { code: CODE, oom: false };
const KILLED: Exit = Exit::Signal { signal: 9, oom: false };

/// A crash may fall between the raising and its record; by then it may even have tasks.
pub async fn raising_twice_keeps_one_shim_and_its_tasks(ground: impl RuntimeGround) {
    ground.runtime().ready().await.unwrap();
    let pod = raise(&ground, "pod").await;
    raise(&ground, "pod").await;
    assert_eq!(tasks(&ground, &pod).await, []);
    let (id, pid, started) = start(&ground, &pod, "c", Program::Waits).await;
    raise(&ground, "pod").await;
    assert_eq!(tasks(&ground, &pod).await, [(id, ObservedTask::Running { pid, started, frozen: false })]);
    assert_eq!(ground.runtime().leftovers().await.unwrap(), std::slice::from_ref(&pod));
    clear(&ground, &pod).await;
}

/// Recovery sweeps by this list.
pub async fn leftovers_are_exactly_what_was_raised(mut ground: impl RuntimeGround) {
    assert_eq!(ground.runtime().leftovers().await.unwrap(), []);
    let (one, two) = (raise(&ground, "one").await, raise(&ground, "two").await);
    ground.restart();
    let mut found = ground.runtime().leftovers().await.unwrap();
    found.sort();
    assert_eq!(found, [one.clone(), two.clone()]);
    assert_eq!(ground.runtime().drop_sandbox(&one).await.unwrap(), []);
    assert_eq!(ground.runtime().leftovers().await.unwrap(), std::slice::from_ref(&two));
    clear(&ground, &two).await;
}

/// A crash may fall between the dropping and its record.
pub async fn dropping_again_or_what_never_was_is_quiet(mut ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let never = (sandbox_id("never"), container_id("never"));
    for _ in 0..2 {
        ground.runtime().drop_task(&pod, &never.1).await.unwrap();
        ground.runtime().drop_task(&never.0, &never.1).await.unwrap();
        assert_eq!(ground.runtime().drop_sandbox(&pod).await.unwrap(), []);
        assert_eq!(ground.runtime().drop_sandbox(&never.0).await.unwrap(), []);
        assert_eq!(kept(&ground, &pod).await, []);
        ground.restart();
    }
    assert_eq!(ground.runtime().leftovers().await.unwrap(), []);
    assert_eq!(ground.shims_gone(), [], "one that was dropped did not die by itself");
}

/// And not when it was never raised, or is dropped.
pub async fn a_network_namespace_is_there_while_the_shim_is(ground: impl RuntimeGround) {
    assert!(ground.runtime().network_namespace(&sandbox_id("pod")).await.is_err());
    let pod = raise(&ground, "pod").await;
    for _ in 0..2 {
        drop(ground.runtime().network_namespace(&pod).await.unwrap());
    }
    clear(&ground, &pod).await;
    assert!(ground.runtime().network_namespace(&pod).await.is_err());
}

/// Not even a sandbox is needed.
pub async fn checking_starts_nothing(ground: impl RuntimeGround) {
    let (pod, id) = (sandbox_id("pod"), container_id("c"));
    for _ in 0..2 {
        let container = ground.container(&pod, "c", Program::Waits);
        let start = Start {
            sandbox_id: &pod,
            sandbox: &sandbox("pod"),
            id: &id,
            container: &container,
            resources: &Resources::default(),
            image: &ImageConfig::default(),
            rootfs: ground.rootfs(),
        };
        let checked = ground.runtime().check(start).await.unwrap();
        assert_eq!((checked.uid, checked.gid, checked.stop_signal), (0, 0, SIGTERM));
    }
    assert_eq!(ground.processes(&pod, &id), 0);
    assert_eq!(ground.runtime().leftovers().await.unwrap(), []);
}

/// A crash may fall between the start and its record.
pub async fn a_start_that_comes_again_is_answered_with_the_same_task(mut ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let first = start(&ground, &pod, "c", Program::Waits).await;
    assert_eq!(start(&ground, &pod, "c", Program::Waits).await, first);
    ground.restart();
    assert_eq!(start(&ground, &pod, "c", Program::Waits).await, first);
    assert_eq!(tasks(&ground, &pod).await.len(), 1);
    clear(&ground, &pod).await;
}

/// However often it is asked for.
pub async fn an_end_is_reported_once_and_observed_until_it_is_dropped(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, _, at) = start(&ground, &pod, "c", Program::Ends).await;
    let ended = wait_ended(&ground, &id).await;
    assert_eq!((&ended.exit, ended.started), (&ENDED, Some(at)));
    assert!(ended.finished >= at);
    for _ in 0..2 {
        assert_eq!(tasks(&ground, &pod).await, [(id.clone(), ObservedTask::Ended(ended.clone()))]);
    }
    assert_eq!(ground.ends().len(), 1);
    ground.runtime().drop_task(&pod, &id).await.unwrap();
    assert_eq!(tasks(&ground, &pod).await, []);
    assert_eq!(ground.ends().len(), 1);
    clear(&ground, &pod).await;
}

/// That is no failure of the runtime, and nothing is reported beside the answer.
pub async fn a_program_that_is_not_there_is_an_end_that_never_started(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let launched = try_start(&ground, &pod, "c", Program::Missing).await.unwrap();
    let Launched::Failed(Ended { started: None, exit: Exit::NeverStarted { code: 127, message }, .. }) = launched
    else {
        panic!("{launched:?}")
    };
    assert!(!message.is_empty());
    assert_eq!(ground.processes(&pod, &container_id("c")), 0);
    for _ in 0..2 {
        ground.runtime().drop_task(&pod, &container_id("c")).await.unwrap();
    }
    assert_eq!(tasks(&ground, &pod).await, []);
    assert_eq!(ground.ends(), []);
    clear(&ground, &pod).await;
}

/// Whether it was never there, has died or was dropped.
pub async fn a_start_without_a_shim_fails(ground: impl RuntimeGround) {
    let never = sandbox_id("never");
    try_start(&ground, &never, "c", Program::Waits).await.unwrap_err();
    let pod = raise(&ground, "pod").await;
    ground.kill_shim(&pod);
    wait_for("the report", || (!ground.shims_gone().is_empty()).then_some(())).await;
    try_start(&ground, &pod, "c", Program::Waits).await.unwrap_err();
    clear(&ground, &pod).await;
    try_start(&ground, &pod, "c", Program::Waits).await.unwrap_err();
    assert_eq!(ground.processes(&pod, &container_id("c")), 0);
    assert_eq!(ground.runtime().leftovers().await.unwrap(), []);
}

/// A stop may cross the end of what it stops.
pub async fn signals_end_a_task_and_are_quiet_afterwards(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    // Again and again: it may not be ready to hear the first.
    while ground.ends().is_empty() {
        ground.runtime().signal(&pod, &id, SIGTERM).await.unwrap();
        tokio::time::sleep(crate::LOOK_AGAIN).await;
    }
    let (other, ..) = start(&ground, &pod, "d", Program::Waits).await;
    ground.runtime().kill(&pod, &other).await.unwrap();
    assert_eq!(wait_ended(&ground, &other).await.exit, KILLED);
    for id in [&id, &other] {
        ground.runtime().signal(&pod, id, SIGTERM).await.unwrap();
        ground.runtime().kill(&pod, id).await.unwrap();
    }
    assert_eq!(ground.ends().len(), 2);
    clear(&ground, &pod).await;
    ground.runtime().kill(&pod, &id).await.unwrap();
}

/// Those that it forked too.
pub async fn a_kill_ends_every_process_of_a_container(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Forks).await;
    let (spared, ..) = start(&ground, &pod, "d", Program::Waits).await;
    let forked = |ground: &_| RuntimeGround::processes(ground, &pod, &id);
    wait_for("the forks", || (forked(&ground) >= processes_of_forks(&ground)).then_some(())).await;
    ground.runtime().kill(&pod, &id).await.unwrap();
    assert_eq!(wait_ended(&ground, &id).await.exit, KILLED);
    wait_for("the end of the forks", || (forked(&ground) == 0).then_some(())).await;
    assert!(ground.processes(&pod, &spared) > 0, "another container was killed as well");
    clear(&ground, &pod).await;
}

fn processes_of_forks<G: RuntimeGround>(_: &G) -> usize {
    G::FORKED
}

/// Running or not.
pub async fn a_task_that_was_dropped_is_forgotten_and_may_start_anew(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, first, _) = start(&ground, &pod, "c", Program::Waits).await;
    for _ in 0..2 {
        ground.runtime().drop_task(&pod, &id).await.unwrap();
    }
    assert_eq!(ground.processes(&pod, &id), 0);
    assert_eq!(tasks(&ground, &pod).await, []);
    let (_, second, started) = start(&ground, &pod, "c", Program::Waits).await;
    assert_ne!(first, second);
    assert_eq!(tasks(&ground, &pod).await, [(id, ObservedTask::Running { pid: second, started, frozen: false })]);
    clear(&ground, &pod).await;
}

/// A crash may fall between each and its record; what is frozen can be killed.
pub async fn freezing_and_thawing_may_each_come_twice(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, pid, started) = start(&ground, &pod, "c", Program::Waits).await;
    for frozen in [true, false] {
        for _ in 0..2 {
            match frozen {
                true => ground.runtime().freeze(&pod, &id).await.unwrap(),
                false => ground.runtime().thaw(&pod, &id).await.unwrap(),
            }
            assert_eq!(tasks(&ground, &pod).await, [(id.clone(), ObservedTask::Running { pid, started, frozen })]);
        }
    }
    ground.runtime().freeze(&pod, &id).await.unwrap();
    ground.runtime().kill(&pod, &id).await.unwrap();
    assert_eq!(wait_ended(&ground, &id).await.exit, KILLED);
    clear(&ground, &pod).await;
}

/// A crash may fall between the writing and its record.
pub async fn limits_may_be_written_twice_while_a_task_is_there_and_not_without_one(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    let old = Resources::default();
    let new = Resources { cpu_shares: 300, pids_max: 50, ..Resources::default() };
    let update = |old, new| {
        let (sandbox_id, id) = (pod.clone(), id.clone());
        let ground = &ground;
        async move {
            let update = Update { sandbox_id: &sandbox_id, sandbox: &sandbox("pod"), id: &id, old, new };
            ground.runtime().update(update).await
        }
    };
    for _ in 0..2 {
        update(&old, &new).await.unwrap();
    }
    ground.runtime().drop_task(&pod, &id).await.unwrap();
    assert_eq!(update(&old, &new).await.unwrap_err().kind, ErrorKind::WrongState);
    clear(&ground, &pod).await;
}

/// Figures are in the order that was asked for.
pub async fn what_is_there_has_figures_and_what_is_not_has_none(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    let (nobody, spec) = (container_id("nobody"), sandbox("pod"));
    let of = |container| UsageOf { sandbox_id: &pod, sandbox: &spec, container };
    let usages = ground.runtime().usage(&[of(Some(&nobody)), of(Some(&id)), of(None)]).await.unwrap();
    let [None, Some(one), Some(all)] = usages.as_slice() else { panic!("{usages:?}") };
    assert!(one.at.0 > 0 && one.cpu_ns.is_some() && all.cpu_ns >= one.cpu_ns, "{one:?} {all:?}");
    clear(&ground, &pod).await;
    let usages = ground.runtime().usage(&[of(Some(&id)), of(None)]).await.unwrap();
    assert_eq!(usages, [None, None]);
}

/// The first answer may be lost in a crash.
pub async fn a_dropped_sandbox_tells_every_end_and_keeps_them_for_one_more_asking(mut ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (ended, ..) = start(&ground, &pod, "c", Program::Ends).await;
    wait_ended(&ground, &ended).await;
    let (ran, ..) = start(&ground, &pod, "d", Program::Waits).await;
    let ends = ground.runtime().drop_sandbox(&pod).await.unwrap();
    let exits: Vec<_> = ends.iter().map(|(id, ended)| (id, &ended.exit)).collect();
    assert_eq!(exits, [(&ended, &ENDED), (&ran, &KILLED)]);
    assert_eq!(ground.processes(&pod, &ran), 0);
    ground.restart();
    assert_eq!(kept(&ground, &pod).await, ends);
    assert_eq!(ground.runtime().leftovers().await.unwrap(), std::slice::from_ref(&pod));
    assert_eq!(ground.runtime().drop_sandbox(&pod).await.unwrap(), ends);
    assert_eq!(ground.runtime().drop_sandbox(&pod).await.unwrap(), []);
    assert_eq!(ground.runtime().leftovers().await.unwrap(), []);
}

/// Each is dropped when it is recorded; with the last nothing of the sandbox is left.
pub async fn ends_that_were_kept_go_with_their_tasks(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (one, ..) = start(&ground, &pod, "c", Program::Waits).await;
    let (two, ..) = start(&ground, &pod, "d", Program::Waits).await;
    let ends = ground.runtime().drop_sandbox(&pod).await.unwrap();
    assert_eq!(ends.len(), 2);
    ground.runtime().drop_task(&pod, &one).await.unwrap();
    assert_eq!(kept(&ground, &pod).await, ends[1..]);
    ground.runtime().drop_task(&pod, &two).await.unwrap();
    assert_eq!(kept(&ground, &pod).await, []);
    assert_eq!(ground.runtime().leftovers().await.unwrap(), []);
}

/// It wrote down what it saw.
pub async fn a_shim_that_dies_is_reported_once_and_its_ends_are_observed(mut ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Ends).await;
    let ended = wait_ended(&ground, &id).await;
    ground.kill_shim(&pod);
    wait_for("the report", || (!ground.shims_gone().is_empty()).then_some(())).await;
    for _ in 0..2 {
        assert_eq!(kept(&ground, &pod).await, [(id.clone(), ended.clone())]);
        assert_eq!(ground.runtime().leftovers().await.unwrap(), std::slice::from_ref(&pod));
    }
    assert_eq!(ground.shims_gone(), std::slice::from_ref(&pod));
    // A daemon that was away finds the same.
    ground.restart();
    assert_eq!(kept(&ground, &pod).await, [(id, ended)]);
    clear(&ground, &pod).await;
}

/// By cgroup: whoever could ask them to end is dead.
pub async fn a_sandbox_without_its_shim_is_dropped_with_its_processes(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    ground.kill_shim(&pod);
    wait_for("the report", || (!ground.shims_gone().is_empty()).then_some(())).await;
    ground.runtime().drop_sandbox(&pod).await.unwrap();
    assert_eq!(ground.processes(&pod, &id), 0);
    ground.runtime().drop_task(&pod, &id).await.unwrap();
    assert_eq!(ground.runtime().leftovers().await.unwrap(), []);
    // The name is free for a new one.
    raise(&ground, "pod").await;
    assert_eq!(tasks(&ground, &pod).await, []);
    clear(&ground, &pod).await;
}

/// From the moment it observes them.
pub async fn tasks_outlive_the_daemon_and_are_reported_to_the_next(mut ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, pid, started) = start(&ground, &pod, "c", Program::Waits).await;
    ground.restart();
    assert_eq!(tasks(&ground, &pod).await, [(id.clone(), ObservedTask::Running { pid, started, frozen: false })]);
    ground.runtime().kill(&pod, &id).await.unwrap();
    assert_eq!(wait_ended(&ground, &id).await.exit, KILLED);
    ground.restart();
    let [(_, ObservedTask::Ended(ended))] = &tasks(&ground, &pod).await[..] else { panic!("its end is not observed") };
    assert_eq!(ended.exit, KILLED);
    clear(&ground, &pod).await;
}

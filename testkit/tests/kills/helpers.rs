//! The shim, and the spawner, are killed while the daemon stands at an effect: stopped there by a failpoint, and let go on after.

use crate::effects;
use crate::scenario::{Scenario, all};
use crate::stage::{LAST_MOMENT, Stage};
use orlop_testkit::guard::processes;
use orlop_testkit::{Code, Status, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// How long the daemon may take until it stands at the effect, or has answered.
const STAND_LIMIT: Duration = Duration::from_secs(30);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Shim,
    Spawner,
}

/// Kills a victim at every effect of one operation.
fn kill_everywhere(operation: &str, victim: Victim) {
    let mut stage = Stage::new();
    // Until then it queued behind other tests.
    let begun = Instant::now();
    let mut killed = 0;
    for effect in effects(operation) {
        for moment in ["before", "after"] {
            let point = format!("{effect}:{moment}");
            let ways = all().filter(|scenario| scenario.operation == operation);
            let hits: Vec<Option<u32>> = ways.map(|scenario| kill(&mut stage, scenario, &point, victim)).collect();
            assert!(hits.iter().any(Option::is_some), "no scenario of {operation} comes by {point}");
            killed += hits.into_iter().flatten().sum::<u32>();
        }
    }
    // All is as it was: another pod runs.
    stage.begin();
    stage.run_all();
    stage.clear();
    let seconds = begun.elapsed().as_secs_f64();
    let text = format!("{operation}: {victim:?} killed {killed} times in {seconds:.1} s\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Plays a scenario in which the victim dies; returns how many were there to kill, or `None` when it never came by.
fn kill(stage: &mut Stage, scenario: &Scenario, point: &str, victim: Victim) -> Option<u32> {
    let context = format!("{} {}, {victim:?} killed {point}", scenario.operation, scenario.name);
    stage.begin();
    (scenario.prepare)(stage);
    stage.start_daemon(Some(&format!("{point}=stop")));
    let daemon = stage.lab.node.pid();
    let marks = stage.lab.guard.marks();
    let act = scenario.act;
    let (killed, answer) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| act(stage));
        let stands = wait_until(STAND_LIMIT, &format!("the daemon stands there or has answered ({context})"), || {
            if is_stopped(daemon) { Some(true) } else { asked.is_finished().then_some(false) }
        });
        // The last effects come beside the answer, or just after it.
        let stands = stands || wait_for(LAST_MOMENT, || is_stopped(daemon).then_some(())).is_some();
        let killed = stands.then(|| {
            let all = processes();
            // By their marks alone: another test of this process has such, too.
            let victims = all
                .values()
                .filter(|process| marks.marks(process) && is(victim, &process.describe()) && !process.zombie);
            let killed = victims.map(|process| signal(process.pid, Signal::KILL)).count();
            signal(daemon, Signal::CONT);
            u32::try_from(killed).unwrap()
        });
        (killed, asked.join().unwrap())
    });
    if killed.is_some() {
        let again = act(stage);
        judge(scenario, victim, &answer, again, &context);
        if victim == Victim::Spawner {
            (scenario.holds)(stage);
        }
    }
    assert!(stage.ended().is_none(), "{context}: the daemon died");
    if killed.is_none() {
        // One that still came by would stand there for ever.
        stage.start_daemon(None);
    }
    stage.clear();
    let leaks = stage.leaks();
    assert!(leaks.is_empty(), "{context}: {leaks:#?}");
    killed
}

/// Without its spawner a node goes on; without its shim a pod is over, which nothing may refuse to take away.
fn judge(scenario: &Scenario, victim: Victim, first: &Result<(), Status>, again: Result<(), Status>, context: &str) {
    let Err(status) = again else { return };
    let builds_in_dead_pod = matches!(scenario.operation, "create-container" | "start-container");
    let told_so = status.code() == Code::FailedPrecondition;
    let right = victim == Victim::Shim && builds_in_dead_pod && told_so;
    assert!(right, "{context}: first {first:?}, asked again {status:?}");
}

fn is(victim: Victim, description: &str) -> bool {
    match victim {
        Victim::Spawner => description.contains("--spawner"),
        Victim::Shim => description.contains("/sandboxes/") && !description.contains("--spawner"),
    }
}

/// Says whether a process stands still, as SIGSTOP makes it; proc_pid_stat(5).
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // One that has gone meanwhile is as dead as it should be.
    let _ = kill_process(pid, signal);
}

macro_rules! operations {
    ($($shim:ident, $spawner:ident: $operation:literal;)*) => {
        $(
            #[test]
            fn $shim() {
                kill_everywhere($operation, Victim::Shim);
            }

            #[test]
            fn $spawner() {
                kill_everywhere($operation, Victim::Spawner);
            }
        )*
    };
}

// Images and limits need neither.
operations! {
    run_sandbox_survives_its_shim, run_sandbox_survives_the_spawner: "run-sandbox";
    create_container_survives_its_shim, create_container_survives_the_spawner: "create-container";
    start_container_survives_its_shim, start_container_survives_the_spawner: "start-container";
    stop_container_survives_its_shim, stop_container_survives_the_spawner: "stop-container";
    stop_sandbox_survives_its_shim, stop_sandbox_survives_the_spawner: "stop-sandbox";
    remove_container_survives_its_shim, remove_container_survives_the_spawner: "remove-container";
    remove_sandbox_survives_its_shim, remove_sandbox_survives_the_spawner: "remove-sandbox";
    start_alone_survives_its_shim, start_alone_survives_the_spawner: "start-alone";
    end_alone_survives_its_shim, end_alone_survives_the_spawner: "end-alone";
    remove_alone_survives_its_shim, remove_alone_survives_the_spawner: "remove-alone";
}

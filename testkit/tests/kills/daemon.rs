//! The daemon is killed at every effect of every operation.

use crate::effects;
use crate::scenario::{Scenario, all};
use crate::stage::{LAST_MOMENT, Stage};
use orlop_testkit::wait_until;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

/// Times at which one effect may come in one operation; states are recorded most often.
const TIMES_MAX: u32 = 20;
/// How long a daemon may take to be dead after its caller lost it.
const DEATH_LIMIT: Duration = Duration::from_secs(10);
/// SIGKILL; signal(7).
const SIGKILL: i32 = 9;

/// Kills the daemon everywhere in one operation.
fn kill_everywhere(operation: &str) {
    let mut stage = Stage::new();
    // Until then it queued behind other tests.
    let begun = Instant::now();
    let points = points(operation);
    let mut kills: BTreeMap<&String, u32> = points.iter().map(|point| (point, 0)).collect();
    for scenario in all().filter(|scenario| scenario.operation == operation) {
        let times = times(&mut stage, scenario, &points);
        for (point, killed) in &mut kills {
            *killed += kill_every_time(&mut stage, scenario, point, times[*point]);
        }
    }
    for (point, killed) in &kills {
        assert!(*killed > 0, "no scenario of {operation} comes by {point}");
    }
    let (kills, seconds) = (kills.values().sum::<u32>(), begun.elapsed().as_secs_f64());
    tell(&format!("{operation}: daemon killed {kills} times in {seconds:.1} s\n"));
}

/// Returns every place of an operation where a daemon can die.
fn points(operation: &str) -> Vec<String> {
    let both = |effect: String| ["before", "after"].map(|moment| format!("{effect}:{moment}"));
    effects(operation).into_iter().flat_map(both).collect()
}

/// Plays a scenario in which nobody dies, and returns how often it comes by each point: there is no need to try more often.
fn times(stage: &mut Stage, scenario: &Scenario, points: &[String]) -> BTreeMap<String, u32> {
    let context = format!("{} {}, undisturbed", scenario.operation, scenario.name);
    stage.begin();
    (scenario.prepare)(stage);
    let said_before = stage.lab.node.log().len();
    // Every time is told in the log.
    let rules: Vec<String> = points.iter().map(|point| format!("{point}@*=hold:0")).collect();
    stage.start_daemon(Some(&rules.join(";")));
    (scenario.act)(stage).unwrap_or_else(|status| panic!("{context}: {status}"));
    // Some effects come after the answer; nobody dies of them.
    let ended = orlop_testkit::wait_for(LAST_MOMENT, || stage.ended());
    assert_eq!(ended, None, "{context}: the daemon died");
    let said = stage.lab.node.log().split_off(said_before);
    end(stage, scenario, &context);
    let count = |point: &String| {
        let (effect, moment) = point.split_once(':').unwrap();
        let told = said.matches(&format!("failpoint effect={effect} moment={moment} ")).count();
        u32::try_from(told).unwrap()
    };
    points.iter().map(|point| (point.clone(), count(point))).collect()
}

/// Kills the daemon at each time that the scenario comes by; returns how often that was.
fn kill_every_time(stage: &mut Stage, scenario: &Scenario, point: &str, times: u32) -> u32 {
    assert!(times <= TIMES_MAX, "{} comes by {point} {times} times", scenario.operation);
    let killed = (1..=times).filter(|time| killed(stage, scenario, point, *time)).count();
    u32::try_from(killed).unwrap()
}

/// Plays a scenario in which the daemon is to die; says whether it did.
fn killed(stage: &mut Stage, scenario: &Scenario, point: &str, time: u32) -> bool {
    let context = format!("{} {}, killed {point} at time {time}", scenario.operation, scenario.name);
    stage.begin();
    (scenario.prepare)(stage);
    stage.start_daemon(Some(&format!("{point}@{time}=kill")));
    let answer = (scenario.act)(stage);
    if answer.is_err() {
        let what = format!("the daemon is dead ({context}: {answer:?})");
        wait_until(DEATH_LIMIT, &what, || stage.ended());
    }
    let died = orlop_testkit::wait_for(LAST_MOMENT, || stage.ended());
    stage.start_daemon(None);
    if let Some(status) = died {
        assert_eq!(status.signal(), Some(SIGKILL), "{context}: {status}");
        (scenario.act)(stage).unwrap_or_else(|status| panic!("{context}: asked again, refused: {status}"));
    }
    end(stage, scenario, &context);
    died.is_some()
}

/// Asserts what must hold, takes everything away, and asserts that nothing is left.
fn end(stage: &mut Stage, scenario: &Scenario, context: &str) {
    (scenario.holds)(stage);
    stage.clear();
    let leaks = stage.leaks();
    assert!(leaks.is_empty(), "{context}: {leaks:#?}");
}

/// Tells figures past the harness, which would keep them for itself.
fn tell(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

macro_rules! operations {
    ($($test:ident: $operation:literal;)*) => {
        $(
            #[test]
            fn $test() {
                kill_everywhere($operation);
            }
        )*
    };
}

operations! {
    run_sandbox_survives_a_kill_at_every_effect: "run-sandbox";
    create_container_survives_a_kill_at_every_effect: "create-container";
    start_container_survives_a_kill_at_every_effect: "start-container";
    update_container_survives_a_kill_at_every_effect: "update-container";
    stop_container_survives_a_kill_at_every_effect: "stop-container";
    stop_sandbox_survives_a_kill_at_every_effect: "stop-sandbox";
    remove_container_survives_a_kill_at_every_effect: "remove-container";
    remove_sandbox_survives_a_kill_at_every_effect: "remove-sandbox";
    freeze_container_survives_a_kill_at_every_effect: "freeze-container";
    thaw_container_survives_a_kill_at_every_effect: "thaw-container";
    update_annex_survives_a_kill_at_every_effect: "update-annex";
    create_alone_survives_a_kill_at_every_effect: "create-alone";
    start_alone_survives_a_kill_at_every_effect: "start-alone";
    end_alone_survives_a_kill_at_every_effect: "end-alone";
    remove_alone_survives_a_kill_at_every_effect: "remove-alone";
    pull_image_survives_a_kill_at_every_effect: "pull-image";
    remove_image_survives_a_kill_at_every_effect: "remove-image";
}

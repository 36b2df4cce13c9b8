//! The daemon is killed at every effect of every operation.

use crate::effects;
use crate::scenario::{Scenario, all};
use crate::stage::Stage;
use orlop_testkit::wait_until;
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
    let mut kills = 0;
    for effect in effects(operation) {
        for moment in ["before", "after"] {
            let point = format!("{effect}:{moment}");
            let ways = all().filter(|scenario| scenario.operation == operation);
            let hit: u32 = ways.map(|scenario| kill_every_time(&mut stage, scenario, &point)).sum();
            assert!(hit > 0, "no scenario of {operation} comes by {point}");
            kills += hit;
        }
    }
    tell(&format!("{operation}: daemon killed {kills} times in {:.1} s\n", begun.elapsed().as_secs_f64()));
}

/// Kills the daemon at each time that the scenario comes by; returns how often that was.
fn kill_every_time(stage: &mut Stage, scenario: &Scenario, point: &str) -> u32 {
    for time in 1..=TIMES_MAX {
        if !killed(stage, scenario, point, time) {
            return time - 1;
        }
    }
    panic!("{} comes by {point} more than {TIMES_MAX} times", scenario.operation);
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
    let died = stage.ended();
    stage.start_daemon(None);
    if let Some(status) = died {
        assert_eq!(status.signal(), Some(SIGKILL), "{context}: {status}");
        (scenario.act)(stage).unwrap_or_else(|status| panic!("{context}: asked again, refused: {status}"));
    }
    (scenario.holds)(stage);
    stage.clear();
    let leaks = stage.leaks();
    assert!(leaks.is_empty(), "{context}: {leaks:#?}");
    died.is_some()
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

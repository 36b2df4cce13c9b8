//! Tests beside each other: what one has is never taken for the other's, and what one leaves is still told.
#![allow(clippy::unwrap_used, reason = "this file is all tests")]

use orlop_testkit::Guard;
use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

/// What is left here stays.
const IMPATIENT: Duration = Duration::from_millis(400);

fn sleeper(command: &mut Command) -> Child {
    command.arg("62").spawn().unwrap()
}

#[test]
fn what_another_test_has_is_neither_told_nor_taken_away() {
    let [one, other] = [(); 2].map(|()| Guard::beside_others().patient_for(IMPATIENT));
    let ground = other.ground();
    let mut marked = sleeper(&mut ground.command("sleep"));
    let mut unmarked = sleeper(&mut Command::new("sleep"));
    let own = one.ground();
    let mut left = sleeper(&mut own.command("sleep"));
    fs::write(own.join("run/left"), "").unwrap();
    drop(own);

    let told: Vec<String> = one.finish().iter().map(ToString::to_string).collect();
    let spared = marked.try_wait().unwrap().is_none() && unmarked.try_wait().unwrap().is_none();
    for child in [&mut marked, &mut unmarked] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(!left.wait().unwrap().success(), "what it left itself is ended");
    assert!(spared, "a process of another test was ended");
    assert!(told.iter().any(|leak| leak.contains("run/left")), "{told:?}");
    assert!(told.iter().any(|leak| leak.contains(&left.id().to_string())), "{told:?}");
    assert!(
        !told.iter().any(|leak| leak.contains(ground.name()) || leak.contains(&marked.id().to_string())),
        "{told:?}"
    );
    drop(ground);
    assert_eq!(other.finish(), []);
}

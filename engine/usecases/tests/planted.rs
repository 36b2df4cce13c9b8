//! Seven faults of the kind that a runtime is ruined by, planted one at a time: the simulator catches each.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use orlop_sim::Bug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::alone_life::live_alone;
use support::life::{Life, Lived, Plan, live};

/// Lives within which a planted fault must show.
const LIVES: u64 = 200;

/// Returns what was said when a law was broken, and by which life.
fn caught(bug: Bug, live: fn(Life) -> Lived) -> Option<(u64, String)> {
    for seed in 0..LIVES {
        let faults_per_mille = if seed % 2 == 0 { 0 } else { 40 };
        let life = Life { seed, faults_per_mille, bug: Some(bug), ..Life::default() };
        // A life without a death first tells how many steps there are.
        for dies_at in [None, Some(Plan(seed).below(60))] {
            let lived = catch_unwind(AssertUnwindSafe(|| live(Life { dies_at, ..life })));
            if let Err(panic) = lived {
                let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                return Some((seed, said));
            }
        }
    }
    None
}

#[track_caller]
fn is_caught(bug: Bug, words: &str) {
    is_caught_in(bug, live, words);
}

#[track_caller]
fn is_caught_in(bug: Bug, live: fn(Life) -> Lived, words: &str) {
    let (seed, said) = caught(bug, live).unwrap_or_else(|| panic!("{bug:?} went unseen in {LIVES} lives"));
    assert!(said.contains(words), "{bug:?} was caught by seed {seed}, but for another reason: {said}");
}

#[test]
fn acting_before_the_record_is_caught() {
    is_caught(Bug::ActBeforeRecord, "without a record");
}

#[test]
fn a_dropped_undo_is_caught() {
    is_caught(Bug::UndoDropped, "SweepRootfs");
}

#[test]
fn an_effect_that_can_not_be_repeated_is_caught() {
    is_caught(Bug::NotRepeatable, "left to put right");
}

#[test]
fn a_forgotten_exit_is_caught() {
    is_caught(Bug::ExitForgotten, "the end of");
}

#[test]
fn a_kept_address_is_caught() {
    is_caught(Bug::AddressKept, "something is left");
}

#[test]
fn a_shim_that_outlives_a_container_alone_is_caught() {
    is_caught_in(Bug::ShimKept, live_alone, "held by what does not run");
}

#[test]
fn a_container_alone_that_does_not_outlast_the_boot_is_caught() {
    is_caught_in(Bug::PromiseBroken, live_alone, "was forgotten");
}

#[test]
fn without_a_planted_fault_the_same_lives_break_no_law() {
    for seed in 0..LIVES {
        let faults_per_mille = if seed % 2 == 0 { 0 } else { 40 };
        let life = Life { seed, faults_per_mille, ..Life::default() };
        live(life);
        live_alone(life);
    }
}

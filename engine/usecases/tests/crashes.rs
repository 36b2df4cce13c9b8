//! The daemon dies at every step of a few pods' lives; the next one takes up what it finds, and the laws hold.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::alone_life::live_alone;
use support::life::{Life, live};

#[test]
fn a_daemon_may_die_at_every_step_of_a_life() {
    for seed in [1, 2, 3] {
        let life = Life { seed, ..Life::default() };
        let steps = live(life).steps;
        assert!(steps > 30, "{steps} steps are no life");
        for step in 0..steps {
            live(Life { dies_at: Some(step), ..life });
        }
    }
}

#[test]
fn a_daemon_may_die_at_every_step_of_lives_alone() {
    // The first one boots.
    for seed in [0, 1, 2, 3] {
        let life = Life { seed, ..Life::default() };
        let steps = live_alone(life).steps;
        assert!(steps > 30, "{steps} steps are no life");
        for step in 0..steps {
            live_alone(Life { dies_at: Some(step), ..life });
        }
    }
}

//! Runs scenarios: pods are independent of each other, so most run beside others; what disturbs all runs alone, afterwards.

use super::stage::Stage;
use crate::bench::interrupt;
use crate::report::{Spec, State};
use crate::script::Verdict;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How many run beside each other. Most of their time is spent waiting for back-offs and probes.
const BESIDE_EACH_OTHER: usize = 14;

/// How much of a cause is told.
const CAUSE_CHARS_MAX: usize = 800;

/// One scenario.
pub struct Scenario {
    /// Its name: what is claimed.
    pub name: &'static str,
    /// Plays it.
    pub play: fn(&Stage) -> Verdict,
}

/// Plays those that may run beside each other, the first ones first, then the others one by one.
pub fn all(stage: &Stage, beside: &[&Scenario], alone: &[&Scenario]) -> Vec<Spec> {
    let (next, told) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE_EACH_OTHER.min(beside.len()) {
            scope.spawn(|| {
                while let Some(scenario) = beside.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let spec = one(stage, scenario);
                    told.lock().unwrap_or_else(PoisonError::into_inner).push(spec);
                }
            });
        }
    });
    let mut told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    told.extend(alone.iter().map(|scenario| one(stage, scenario)));
    told
}

fn one(stage: &Stage, scenario: &Scenario) -> Spec {
    let begun = Instant::now();
    let verdict = interrupt::check().map_err(|asked| asked.to_string()).and_then(|()| {
        catch_unwind(AssertUnwindSafe(|| (scenario.play)(stage))).unwrap_or_else(|_| Err("panicked".to_owned()))
    });
    tell(scenario.name, &verdict, begun)
}

/// Tells how something went in one line, and returns it for the report.
pub fn tell(name: &str, verdict: &Verdict, begun: Instant) -> Spec {
    let took = begun.elapsed().as_secs_f64();
    let (state, cause) = match verdict {
        Ok(()) => (State::Passed, String::new()),
        Err(why) => (State::Failed, why.replace('\n', " | ").chars().take(CAUSE_CHARS_MAX).collect()),
    };
    match state {
        State::Passed => println!("ok      {name} ({took:.1} s)"),
        State::Failed | State::Skipped => println!("FAILED  {name} ({took:.1} s): {cause}"),
    }
    Spec { name: name.to_owned(), state, cause }
}

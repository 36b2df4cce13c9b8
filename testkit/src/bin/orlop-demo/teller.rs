//! How steps are told: one line each.

use std::time::{Duration, Instant};

/// A step's result, or in words what was not as it should be.
pub type Outcome<T = ()> = Result<T, String>;

/// Prints one line: how long it took, what it was, what came of it.
pub fn tell(what: &str, took: Option<Duration>, answer: &str) {
    let took = took.map_or_else(String::new, |took| format!("{:.1} ms", took.as_secs_f64() * 1e3));
    println!("{took:>10}  {what:<18} {answer}");
}

/// Makes a call, and tells its answer in words.
pub fn call<T>(
    name: &str,
    call: impl FnOnce() -> Result<T, orlop_testkit::Status>,
    answer: impl FnOnce(&T) -> String,
) -> Outcome<T> {
    let begun = Instant::now();
    let result = call().map_err(|status| format!("{name}: {:?}: {}", status.code(), status.message()))?;
    tell(name, Some(begun.elapsed()), &answer(&result));
    Ok(result)
}

/// Fails with the sentence unless it holds.
pub fn demand(holds: bool, sentence: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(sentence()) }
}

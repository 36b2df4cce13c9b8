//! The house ring: format, all tests, lints beside them, and one closing line: `tests: N passed, M failed, K skipped`.

use crate::lints::Lints;
use crate::{BINARIES, cargo, programs};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Where tests that can't run here write why, one line each; see the testkit's `skip`. The test harness knows no skipping.
pub(crate) const SKIPS: &str = "ORLOP_SKIPS";

/// How many tests of one program go on at once, for the test harness.
const THREADS: &str = "RUST_TEST_THREADS";

/// Every test program of the workspace.
const TEST_PROGRAMS: [&str; 5] = ["test", "--workspace", "--lib", "--bins", "--tests"];

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: usize::from(passed), failed: usize::from(!passed), skipped: 0 }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs the ring. Goes on after a failure, so that one run tells all.
pub fn run() -> ExitCode {
    let mut tally = Tally::default();
    tally.add(Tally::one(step("format", cargo().args(["fmt", "--all", "--check"]))));
    // Tests of the whole daemon run its binaries, which cargo doesn't build for another package's tests.
    tally.add(Tally::one(step("binaries", cargo().args(["build", "--workspace", "--bins", "--quiet"]))));
    tally.add(Tally::one(step("test programs", cargo().args(TEST_PROGRAMS).args(["--no-run", "--quiet"]))));
    let mut lints = None;
    // Not before: cargo lets nobody else build until its tests run.
    tally.add(tests(|| {
        lints.get_or_insert_with(Lints::begin);
    }));
    tally.add(Tally::one(lints.unwrap_or_else(Lints::begin).end()));
    println!("tests: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn step(name: &str, command: &mut Command) -> bool {
    let begun = Instant::now();
    let passed = command.status().is_ok_and(|status| status.success());
    println!("{name}: {} in {:.1} s", if passed { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
    passed
}

/// Runs every test; `running` is called once the first test program runs, and each time after.
fn tests(mut running: impl FnMut()) -> Tally {
    let skips = std::env::temp_dir().join(format!("orlop-skips-{}", std::process::id()));
    let mut command = cargo();
    command.args(TEST_PROGRAMS).arg("--no-fail-fast").env(SKIPS, &skips).env(BINARIES, programs("debug"));
    if std::env::var_os(THREADS).is_none() {
        command.env(THREADS, threads().to_string());
    }
    let mut tally = match command.stdout(Stdio::piped()).spawn() {
        Err(e) => {
            println!("cargo test could not be started: {e}");
            Tally::one(false)
        }
        Ok(mut cargo) => {
            let mut tally = Tally::default();
            for line in BufReader::new(cargo.stdout.take().expect("it is piped")).lines().map_while(Result::ok) {
                println!("{line}");
                if line.starts_with("running ") {
                    running();
                }
                tally.add(parse_result(&line).unwrap_or_default());
            }
            // A test program that doesn't compile, or dies, has no line of results.
            let ended_well = cargo.wait().is_ok_and(|status| status.success());
            tally.failed += usize::from(!ended_well && tally.failed == 0);
            tally
        }
    };
    count_skips(&mut tally, skips);
    tally
}

/// Returns how many tests of a program go on at once: two for each processor, since those of whole daemons wait half of the time.
fn threads() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// Moves the tests that skipped themselves from passed to skipped, and says why they did.
fn count_skips(tally: &mut Tally, file: PathBuf) {
    for line in std::fs::read_to_string(&file).unwrap_or_default().lines() {
        println!("skipped: {line}");
        tally.passed = tally.passed.saturating_sub(1);
        tally.skipped += 1;
    }
    // Absent when nothing was skipped.
    let _ = std::fs::remove_file(file);
}

/// Reads `test result: ok. 12 passed; 1 failed; 2 ignored; …`.
pub(crate) fn parse_result(line: &str) -> Option<Tally> {
    let figures = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let figure =
        |word: &str| figures.split("; ").find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<usize>().ok());
    Some(Tally { passed: figure("passed")?, failed: figure("failed")?, skipped: figure("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_programs_are_read() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(parse_result(line), Some(Tally { passed: 12, failed: 1, skipped: 2 }));
        assert_eq!(parse_result("test a ... ok"), None);
    }
}

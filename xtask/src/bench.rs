//! Builds what a bench measures, and hands over to it.

use crate::{BINARIES, cargo, house, programs};
use std::process::{Command, ExitCode};

/// The profile of the measuring program: as fast as a release, but it cleans up after a panic.
const HARNESS: &str = "harness";

/// Measures the calls of one door: `cri` or `docker`.
pub fn run(door: &str, rest: &[String]) -> ExitCode {
    // It installs what measuring needs; quiet and quick when all is there.
    let mut setup = Command::new(house::workspace().join("scripts/setup"));
    let mut daemons = cargo();
    daemons.args(["build", "--quiet", "--release", "--bins", "-p", "orlopd", "-p", "orlop-shim"]);
    let mut harness = cargo();
    harness.args(["build", "--quiet", "--profile", HARNESS, "-p", "orlop-conformance"]);
    for step in [&mut setup, &mut daemons, &mut harness] {
        if !step.status().is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    let mut bench = Command::new(programs(HARNESS).join("orlop-conformance"));
    bench.args(["bench", door]).args(rest).env(BINARIES, programs("release"));
    match bench.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

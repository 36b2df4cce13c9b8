//! Tests that can't run here say why, and are counted as skipped: the harness itself knows no skipping at run time.

use std::fs::OpenOptions;
use std::io::Write;

/// File to which skipped tests add a line; the house ring reads it.
const SKIPS: &str = "ORLOP_SKIPS";

/// Notes that a test is skipped, and why; the test then returns.
pub fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    if let Some(path) = std::env::var_os(SKIPS) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        // One write per line, so that tests in parallel don't mix theirs.
        let _ = file.and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()));
    }
}

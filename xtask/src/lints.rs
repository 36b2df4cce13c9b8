//! Lints, beside other work: whole-daemon tests leave the processors idle half of the time.

use crate::cargo;
use crate::house::workspace;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Instant;

/// A folder of their own below `target`: cargo locks the one that it builds in, and tests need theirs.
const FOLDER: &str = "target/lints";
/// The lowest priority: tests that measure time must not feel them. nice(1).
const NICENESS: &str = "19";

/// Lints that are being looked for.
pub struct Lints {
    /// What they found, told in the end.
    report: PathBuf,
    cargo: io::Result<Child>,
}

impl Lints {
    /// Begins to look for them.
    pub fn begin() -> Self {
        let folder = workspace().join(FOLDER);
        let report = folder.join("report");
        // Compilers keep temporary files, and what appears in the host's folder is taken for what a test left there.
        let temporary = folder.join("tmp");
        let cargo = fs::create_dir_all(&temporary).and_then(|()| {
            let output = File::create(&report)?;
            let errors = output.try_clone()?;
            Command::new("nice")
                .args(["-n", NICENESS])
                .arg(cargo().get_program())
                .args(["clippy", "--workspace", "--all-targets", "--quiet", "--target-dir"])
                .arg(&folder)
                .args(["--", "-D", "warnings"])
                .env("TMPDIR", temporary)
                .stdout(output)
                .stderr(errors)
                .spawn()
        });
        Self { report, cargo }
    }

    /// Waits until all is looked at, tells what was found, and says whether that was nothing.
    pub fn end(self) -> bool {
        let waited = Instant::now();
        let passed = match self.cargo.and_then(|mut cargo| cargo.wait()) {
            Ok(status) => status.success(),
            Err(why) => {
                println!("lints could not be looked for: {why}");
                false
            }
        };
        print!("{}", fs::read_to_string(&self.report).unwrap_or_default());
        let word = if passed { "ok" } else { "FAILED" };
        println!("lints: {word} beside the tests, and {:.1} s after them", waited.elapsed().as_secs_f64());
        passed
    }
}

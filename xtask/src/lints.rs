//! Lints, beside other work: whole-daemon tests leave the processors idle half of the time.

use crate::cargo;
use crate::house::workspace;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Where the report is, and what compilers keep for a moment.
const FOLDER: &str = "target/lints";
/// Sets the lowest priority, that tests which measure time must not feel: among sessions, where the kernel groups processes by
/// them (sched(7), "autogroup"), and within its own.
const LOWEST: &str = r#"echo 19 2>/dev/null >/proc/self/autogroup; exec nice -n 19 "$@""#;

/// Lints that are being looked for. When dropped before their end they are looked for no more.
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
            let mut clippy = cargo();
            clippy.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
            clippy.env("TMPDIR", temporary);
            lowered(&clippy).stdin(Stdio::null()).stdout(output).stderr(errors).spawn()
        });
        Self { report, cargo }
    }

    /// Waits until all is looked at, tells what was found, and says whether that was nothing.
    pub fn end(mut self) -> bool {
        let waited = Instant::now();
        let passed = match &mut self.cargo {
            Ok(cargo) => cargo.wait().is_ok_and(|status| status.success()),
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

impl Drop for Lints {
    fn drop(&mut self) {
        let Ok(cargo) = &mut self.cargo else { return };
        if matches!(cargo.try_wait(), Ok(None)) {
            let group = i32::try_from(cargo.id()).ok().and_then(rustix::process::Pid::from_raw);
            // Its compilers, too: it is the first of a session.
            let _ = group.map(|group| rustix::process::kill_process_group(group, rustix::process::Signal::KILL));
            let _ = cargo.wait();
        }
    }
}

/// Returns the same command in a session of its own, at the lowest priority. It dies with this program.
fn lowered(command: &Command) -> Command {
    let mut lowered = Command::new("setpriv");
    lowered.args(["--pdeathsig", "KILL", "setsid", "sh", "-c", LOWEST, "sh"]);
    lowered.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => lowered.env(name, value),
            None => lowered.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        lowered.current_dir(folder);
    }
    lowered
}

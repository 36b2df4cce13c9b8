//! Runs one job to its end, or to the end of its time.

use crate::ring::{SKIPS, Tally, parse_result};
use crate::vm::Outcome;
use crate::vm::jobs::Order;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What jobs print, and what they skip.
const OUTPUT: &str = "/run/job-output";
const SKIPPED: &str = "/run/job-skipped";
/// How many last lines of a failed job are shown.
const LINES_SHOWN: usize = 120;
/// Pause between two looks at the children.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the killed processes of a late job may take to go.
const KILLED_MAX: Duration = Duration::from_secs(5);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Brings up the loopback of the machine.
pub fn loopback_up() -> Outcome<()> {
    let status = Command::new("/sbin/ip").args(["link", "set", "lo", "up"]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("bring up the loopback: {other:?}")),
    }
}

/// Runs a job and returns its results.
pub fn run(order: &Order, environment: &[(String, String)]) -> Outcome<Tally> {
    let begun = Instant::now();
    let exit = run_to_end(order, environment)?;
    let seconds = begun.elapsed().as_secs_f64();
    let output = String::from_utf8_lossy(&fs::read(OUTPUT).unwrap_or_default()).into_owned();
    let tally = tally(&output, exit == Some(0), &fs::read_to_string(SKIPPED).unwrap_or_default());
    let _ = fs::remove_file(SKIPPED);
    let ended = match exit {
        Some(0) => "ok".to_owned(),
        Some(status) => format!("FAILED (wait status {status})"),
        None => format!("FAILED: still running after {} s", order.seconds_max),
    };
    println!("vm: {} {ended} in {seconds:.1} s", order.name);
    if exit != Some(0) {
        let lines: Vec<&str> = output.lines().collect();
        for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
            println!("    {line}");
        }
    }
    Ok(tally)
}

/// Returns its wait status; `None` when it had to be killed for its time was over.
fn run_to_end(order: &Order, environment: &[(String, String)]) -> Outcome<Option<i32>> {
    let output = File::create(OUTPUT).map_err(|error| format!("write {OUTPUT}: {error}"))?;
    let same = output.try_clone().map_err(|error| format!("write {OUTPUT}: {error}"))?;
    let mut command = Command::new(&order.program);
    command.args(&order.arguments).env_clear().envs(environment.iter().cloned());
    command.env("PATH", PATH).env("TMPDIR", "/tmp").env(SKIPS, SKIPPED);
    command.env("ORLOPD_CONFIG", super::SETTINGS_FILE);
    // Tests that build what they run find it built, and no compiler.
    command.env("CARGO", "/bin/true");
    command.current_dir("/tmp").stdin(Stdio::null()).stdout(output).stderr(same);
    let child = command.spawn().map_err(|error| format!("start {}: {error}", order.program.display()))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("a process has a number")?;
    let deadline = Instant::now() + Duration::from_secs(order.seconds_max);
    let ended = reap_until(pid, deadline);
    // Its own processes should be gone; those of a late one, or of a test that failed, are not.
    kill_all();
    reap_all();
    Ok(ended)
}

/// Reaps whatever ends, until it is this process; returns its wait status, or `None` when time is over.
fn reap_until(pid: Pid, deadline: Instant) -> Option<i32> {
    while Instant::now() < deadline {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((ended, status))) if ended == pid => return Some(status.as_raw()),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
    None
}

/// Reaps until there is no child.
fn reap_all() {
    let deadline = Instant::now() + KILLED_MAX;
    while Instant::now() < deadline {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(PAUSE),
            Err(_) => return,
        }
    }
}

/// Kills every process but this one; the kernel's own take no notice.
fn kill_all() {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter(|pid| *pid > 1).filter_map(Pid::from_raw) {
        // Gone already.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Counts: tests by what their harness says, any other program as one.
fn tally(output: &str, ended_well: bool, skipped: &str) -> Tally {
    let results: Vec<Tally> = output.lines().filter_map(parse_result).collect();
    let mut tally = Tally::default();
    results.iter().for_each(|result| tally.add(*result));
    if results.is_empty() {
        tally.add(Tally::one(ended_well));
    } else if !ended_well && tally.failed == 0 {
        tally.failed = 1;
    }
    for line in skipped.lines() {
        println!("skipped: {line}");
        tally.passed = tally.passed.saturating_sub(1);
        tally.skipped += 1;
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_those_of_the_harness_and_of_the_exit() {
        let tests = "running\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n";
        let check = |output, well, skipped, expected: (usize, usize, usize)| {
            let Tally { passed, failed, skipped } = tally(output, well, skipped);
            assert_eq!((passed, failed, skipped), expected);
        };
        check(tests, true, "", (3, 0, 1));
        check(tests, false, "", (3, 1, 1));
        check(tests, true, "a: no device\n", (2, 0, 2));
        check("anything", true, "", (1, 0, 0));
        check("anything", false, "", (0, 1, 0));
    }
}

//! The tests that need another kernel: Debian 12's own (6.1) with pure cgroup v2, as strangers have it.
//!
//! User-mode Linux boots in a second on this machine's own file tree, which it can read and not write. Its first process is
//! this very program ([`guest`]): it runs the jobs of [`jobs`] and powers off, while [`machine`] watches from outside. There
//! are two such machines beside each other.
//! Closes with one line, `vm: N passed, M failed, K skipped`. A job without a result is a failure, and so is a machine that
//! hangs. Nothing is left behind: the machine lives in namespaces of its own, and its files in a folder that goes.

pub mod guest;
mod jobs;
mod machine;
mod processor;
mod verdict;

use crate::cargo;
use crate::house;
use cargo_metadata::Message;
use jobs::{Job, MACHINES, Orders, Program, jobs};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// What a step of the host failed with, in words.
type Outcome<T> = Result<T, String>;

/// Runs it all on the host.
pub fn run() -> ExitCode {
    if let Some(why) = processor::obstacle() {
        println!("vm: 0 passed, 0 failed, 1 skipped: {why}");
        return ExitCode::SUCCESS;
    }
    match try_run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("vm: 0 passed, 1 failed, 0 skipped: {why}");
            ExitCode::FAILURE
        }
    }
}

fn try_run() -> Outcome<bool> {
    succeed(Command::new(house::workspace().join("scripts/setup")).arg("vm"), "install user-mode-linux")?;
    let programs = build()?;
    let found = |job: &Job| {
        let path = programs.iter().find(|(program, _)| *program == job.program).map(|(_, path)| path.clone());
        path.ok_or_else(|| format!("cargo built nothing for {:?}", job.program))
    };
    let with_path = |job: &'static Job| Ok((job, found(job)?));
    let orders = |jobs: &'static [Job]| Orders::new(&jobs.iter().map(with_path).collect::<Outcome<Vec<_>>>()?);
    let orders = MACHINES.into_iter().map(orders).collect::<Outcome<Vec<_>>>()?;
    let demo = programs.iter().find(|(program, _)| *program == Program::Binary("orlop-demo"));
    let (_, demo) = demo.ok_or("cargo built no orlop-demo")?;
    succeed(Command::new(demo).arg("--prepare"), "make the test images")?;

    let begun = Instant::now();
    let lines = run_machines(&orders)?;
    let verdicts = lines.iter().zip(MACHINES).map(|(lines, jobs)| verdict::of(lines, jobs));
    let verdict = verdicts.reduce(verdict::Verdict::and).ok_or("there are no machines")?;
    println!("vm: booted, ran and powered off in {:.1} s", begun.elapsed().as_secs_f64());
    println!("{verdict}");
    Ok(verdict.is_good())
}

/// Runs a machine for each, beside each other; returns the lines of their consoles.
fn run_machines(orders: &[Orders]) -> Outcome<Vec<Vec<String>>> {
    std::thread::scope(|scope| {
        let run = |(number, orders)| scope.spawn(move || machine::run(number, orders));
        let machines: Vec<_> = orders.iter().enumerate().map(run).collect();
        let end = |machine: std::thread::ScopedJoinHandle<'_, Outcome<Vec<String>>>| {
            machine.join().unwrap_or_else(|_| Err("a thread that watched a machine has panicked".to_owned()))
        };
        machines.into_iter().map(end).collect()
    })
}

/// Builds what `make test` builds, with the same words, so that nothing is built twice; returns the programs of the jobs.
fn build() -> Outcome<Vec<(Program, PathBuf)>> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-run", "--quiet"]);
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("start cargo: {error}"))?;
    let output = BufReader::new(child.stdout.take().ok_or("cargo has no output")?);
    let mut programs = Vec::new();
    for message in Message::parse_stream(output) {
        if let Message::CompilerArtifact(artifact) = message.map_err(|error| format!("read cargo's output: {error}"))?
            && let Some(executable) = artifact.executable
        {
            let known = jobs().map(|job| job.program).find(|program| {
                program.is(&artifact.target.name, artifact.target.src_path.as_ref(), artifact.profile.test)
            });
            programs.extend(known.map(|program| (program, executable.into_std_path_buf())));
        }
    }
    let status = child.wait().map_err(|error| format!("wait for cargo: {error}"))?;
    if status.success() { Ok(programs) } else { Err("the tests do not build".to_owned()) }
}

fn succeed(command: &mut Command, what: &str) -> Outcome<()> {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

/// Returns a path as text: paths go through the machine's command line, which knows no quotes.
fn plain(path: &Path) -> Outcome<&str> {
    let text = path.to_str().filter(|text| !text.contains(|c: char| c.is_whitespace() || c == '"'));
    text.ok_or_else(|| format!("{} has blanks or quotes in it, which the machine can't be told", path.display()))
}

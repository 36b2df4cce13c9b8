//! docker-py's own tests, unmodified and none deselected: one pytest a file, in an environment of their own in the cache.
//!
//! The release is pinned, and with it what its requirements pin. What each test did, a plugin of pytest writes down.

use super::subject::Daemon;
use crate::report::{CAUSE_CHARS_MAX, Report, Spec, State};
use orlop_testkit::debian::cache;
use orlop_testkit::wait_for;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The release whose tests are run.
const RELEASE: &str = "docker==6.1.3";
/// What it needs, as its requirements pin it, and what runs its tests.
const NEEDED: [&str; 10] = [
    "requests==2.28.1",
    "urllib3==1.26.11",
    "packaging==21.3",
    "paramiko==2.11.0",
    "websocket-client==1.3.3",
    "pytest==7.2.2",
    "pytest-timeout==2.1.0",
    // What pip wants to see before it hands over the source package.
    "setuptools<81",
    "setuptools_scm==7.1.0",
    "wheel",
];
/// The test files.
const FILES: [&str; 3] = ["api_container_test", "api_exec_test", "models_containers_test"];
/// Folder of the tests on the ground.
const FOLDER: &str = "docker-py";
/// How many tests they hold.
const TESTS: usize = 141;
/// How many of them dockerd fails: two expect words of older releases, one asks for an image that docker.io must deny, one uses
/// a URL of docker-py's own that its library for web sockets refuses, and the first of a file fails by a socket of docker-py's
/// that is not closed.
pub const PEER_FAILS_MAX: usize = 5;
/// The longest that one test may take, seconds, and one file.
const TEST_LIMIT_SECONDS: &str = "60";
const FILE_LIMIT: Duration = Duration::from_secs(9 * 60);
/// What writes down how tests end.
const PLUGIN: &str = include_str!("../../docker/orlop_report.py");
/// How many of the slowest tests a file's output tells.
const SLOWEST: &str = "20";
/// How many lines of a file's output are shown when it leaves no report.
const TAIL_LINES: usize = 40;

/// One line of the plugin.
#[derive(Deserialize)]
struct Line {
    test: String,
    when: String,
    outcome: String,
    cause: String,
}

/// Runs all tests whose name contains the word.
pub fn run(daemon: &Daemon, only: Option<&str>) -> io::Result<Report> {
    let home = environment()?;
    let mut specs = Vec::new();
    for file in FILES {
        println!("{file}");
        specs.extend(run_file(daemon, &home, file, only)?);
    }
    if only.is_none() && specs.len() != TESTS {
        return Err(io::Error::other(format!("{} tests were run, not {TESTS}", specs.len())));
    }
    Ok(Report::of(specs))
}

fn run_file(daemon: &Daemon, home: &Path, file: &str, only: Option<&str>) -> io::Result<Vec<Spec>> {
    let ground = daemon.ground();
    let folder = ground.join(FOLDER);
    // Some tests leave files of theirs behind: they go with the folder.
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary)?;
    fs::write(folder.join("orlop_report.py"), PLUGIN)?;
    let (report, log) = (folder.join(format!("{file}.json")), folder.join(format!("{file}.log")));
    let output = File::create(&log)?;
    let mut command = ground.command(home.join("venv/bin/python"));
    command.args(["-m", "pytest", "-p", "orlop_report", "-p", "no:cacheprovider", "--timeout", TEST_LIMIT_SECONDS]);
    command.args(["--durations", SLOWEST]);
    command.arg(format!("tests/integration/{file}.py"));
    if let Some(word) = only {
        command.args(["-k", word]);
    }
    command.current_dir(home.join("source")).env("PYTHONPATH", &folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("ORLOP_REPORT", &report).env("HOME", &folder).env("TMPDIR", &temporary);
    command.env("DOCKER_HOST", format!("unix://{}", daemon.socket().display()));
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut tests = command.spawn()?;
    if wait_for(FILE_LIMIT, || tests.try_wait().ok().flatten()).is_none() {
        tests.kill()?;
        tests.wait()?;
    }
    let specs = parse(&fs::read_to_string(&report).unwrap_or_default())?;
    if specs.is_empty() && only.is_none() {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        return Err(io::Error::other(format!("{file} left no report; its last lines:\n{tail}")));
    }
    Ok(specs)
}

/// Returns the names of the logs that there are, and where they are.
pub fn logs(daemon: &Daemon) -> Vec<(OsString, PathBuf)> {
    let there = fs::read_dir(daemon.ground().join(FOLDER)).into_iter().flatten().flatten();
    let logs = there.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    logs.map(|entry| (entry.file_name(), entry.path())).collect()
}

/// Reads the plugin's lines: a test that passed but could not be torn down has failed.
fn parse(lines: &str) -> io::Result<Vec<Spec>> {
    let mut specs: BTreeMap<String, Spec> = BTreeMap::new();
    for line in lines.lines() {
        let Line { test, when, outcome, cause } = serde_json::from_str(line).map_err(io::Error::other)?;
        let name = test.trim_start_matches("tests/integration/").to_owned();
        let state = match outcome.as_str() {
            "passed" => State::Passed,
            "skipped" => State::Skipped,
            _ => State::Failed,
        };
        let words: Vec<&str> = cause.split_whitespace().collect();
        let said: String = words.join(" ").chars().take(CAUSE_CHARS_MAX).collect();
        let cause = if when == "call" || state == State::Skipped { said } else { format!("{when}: {said}") };
        let worse = specs.get(&name).is_none_or(|known| known.state == State::Passed);
        if worse {
            specs.insert(name.clone(), Spec { name, state, cause });
        }
    }
    Ok(specs.into_values().collect())
}

/// Returns the folder with the release's source and a Python that has what it needs, made unless the cache has it.
fn environment() -> io::Result<PathBuf> {
    let home = cache().join(format!("docker-py-{}", key()?));
    if home.join("done").exists() {
        return Ok(home);
    }
    eprintln!("fetching {RELEASE} and what its tests need");
    // Made in its place: a Python environment can't be moved. Its last file says that it is whole.
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home)?;
    let python = home.join("venv/bin/python");
    finish(Command::new("python3").args(["-m", "venv"]).arg(home.join("venv")))?;
    pip(&python, &["install"], &NEEDED)?;
    let folder = home.join("download").display().to_string();
    pip(
        &python,
        &["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", &folder],
        &[RELEASE],
    )?;
    let archive = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).next();
    let archive = archive.ok_or_else(|| io::Error::other(format!("pip download {RELEASE} left no file")))?;
    let source = home.join("source");
    fs::create_dir(&source)?;
    finish(
        Command::new("tar")
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&source),
    )?;
    fs::write(home.join("done"), "")?;
    Ok(home)
}

fn pip(python: &Path, verb: &[&str], what: &[&str]) -> io::Result<()> {
    let options = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "3", "--timeout", "30"];
    finish(Command::new(python).args(["-m", "pip"]).args(verb).args(options).args(what))
}

/// Runs a command to its end; what it wrote on standard error becomes the error.
fn finish(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// What the environment depends on: this list, and the Python it is made with.
fn key() -> io::Result<String> {
    let python = Command::new("python3").arg("--version").output();
    let python =
        python.map_err(|e| io::Error::other(format!("run python3: {e}; docker-py's tests are written in it")))?;
    let mut hasher = DefaultHasher::new();
    (RELEASE, NEEDED, python.stdout).hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_that_passes_and_can_not_be_torn_down_has_failed() {
        let line = |test: &str, when: &str, outcome: &str| {
            format!(
                "{{\"test\": \"tests/integration/{test}\", \"when\": \"{when}\", \"outcome\": \"{outcome}\", \"cause\": \"a\\n b\"}}\n"
            )
        };
        let lines =
            [line("x::a", "call", "passed"), line("x::a", "teardown", "failed"), line("x::b", "setup", "skipped")];
        let specs = parse(&lines.concat()).unwrap();
        let told: Vec<_> = specs.iter().map(|spec| (spec.name.as_str(), spec.state, spec.cause.as_str())).collect();
        assert_eq!(told, [("x::a", State::Failed, "teardown: a b"), ("x::b", State::Skipped, "a b")]);
    }
}

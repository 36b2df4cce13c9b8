//! Kubernetes' own validation of the CRI, run inside the daemon's network namespace, judged against a baseline.

mod report;

use crate::images;
use crate::subject::{Subject, Which};
use crate::tools;
use orlop_testkit::wait_for;
use report::{Report, Spec, State};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that the whole suite may take; it ends itself a little before, and then still writes its report.
const SUITE_LIMIT: Duration = Duration::from_secs(28 * 60);
const SUITE_LIMIT_INSIDE: &str = "-ginkgo.timeout=25m";
/// Specs that must pass. Bless a better result with `--bless`; a spec never leaves the list silently.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline/critest.txt");
/// Its digest can't be rebuilt here: the image lies in a registry outside. Our own tests pull by digest.
const NOT_OFFLINE: &str = "public image with digest";
/// How many lines of the suite's output are shown when it leaves no report.
const TAIL_LINES: usize = 40;

/// How the suite is run.
#[derive(clap::Args, Default)]
pub struct Options {
    /// Only specs whose name matches this regular expression
    #[arg(long)]
    focus: Option<String>,
    /// Run it against the peer instead
    #[arg(long, default_value = "orlop")]
    against: Which,
    /// Write the specs that passed as the new baseline
    #[arg(long)]
    bless: bool,
    /// Keep the daemon's log and the suite's output in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Runs the suite; returns whether every spec of the baseline that was run has passed.
pub fn run(options: &Options) -> io::Result<bool> {
    let program = tools::critest()?;
    let subject = Subject::start(options.against, &images::all()?)?;
    let begun = Instant::now();
    let report = run_suite(&subject, &program, options)?;
    let took = begun.elapsed().as_secs();
    tell(&report, took);
    if let Some(folder) = &options.keep {
        fs::create_dir_all(folder)?;
        for name in [subject.log(), "critest.log", "critest.json"] {
            fs::copy(subject.ground().join(name), folder.join(name))?;
        }
    }
    judge(&report, options)
}

fn run_suite(subject: &Subject, program: &Path, options: &Options) -> io::Result<Report> {
    let ground = subject.ground();
    let (json, log) = (ground.join("critest.json"), ground.join("critest.log"));
    let output = File::create(&log)?;
    let mut command = ground.command(program);
    // Its temporary files are the test's, and it looks for images relative to nothing.
    command.current_dir(ground.path()).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.args(arguments(&subject.socket(), &json, options));
    let mut suite = command.spawn()?;
    if wait_for(SUITE_LIMIT, || suite.try_wait().ok().flatten()).is_none() {
        suite.kill()?;
        suite.wait()?;
    }
    let written = fs::read(&json).unwrap_or_default();
    Report::parse(&written).map_err(|why| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        io::Error::other(format!("critest left no report: {why}; its last lines:\n{tail}"))
    })
}

fn arguments(socket: &Path, json: &Path, options: &Options) -> Vec<String> {
    let endpoint = format!("unix://{}", socket.display());
    let mut arguments = vec![
        format!("-runtime-endpoint={endpoint}"),
        format!("-image-endpoint={endpoint}"),
        format!("-ginkgo.json-report={}", json.display()),
        "-ginkgo.no-color".to_owned(),
        "-ginkgo.v".to_owned(),
        SUITE_LIMIT_INSIDE.to_owned(),
        format!("-ginkgo.skip={NOT_OFFLINE}"),
    ];
    arguments.extend(options.focus.iter().map(|focus| format!("-ginkgo.focus={focus}")));
    arguments
}

/// Prints what failed and what was skipped, by cause, then the closing line.
fn tell(report: &Report, seconds: u64) {
    for (state, word) in [(State::Failed, "FAILED"), (State::Skipped, "skipped")] {
        for (cause, specs) in report.by_cause(state) {
            println!("{word}  {} because: {cause}", specs.len());
            specs.iter().for_each(|spec| println!("        {}", spec.name));
        }
    }
    println!("critest took {seconds} s");
    let count = |state| report.with(state).count();
    let (passed, failed, skipped) = (count(State::Passed), count(State::Failed), count(State::Skipped));
    println!("critest: {passed} passed, {failed} failed, {skipped} skipped");
}

fn judge(report: &Report, options: &Options) -> io::Result<bool> {
    let passed: BTreeSet<&str> = report.with(State::Passed).map(|spec| spec.name.as_str()).collect();
    if options.against != Which::Orlop {
        return Ok(true);
    }
    if options.bless {
        let lines: Vec<&str> = passed.iter().copied().collect();
        fs::write(BASELINE, lines.join("\n") + "\n")?;
        return Ok(true);
    }
    let baseline = fs::read_to_string(BASELINE).unwrap_or_default();
    let worse: Vec<&Spec> =
        report.with(State::Failed).filter(|spec| baseline.lines().any(|line| line == spec.name)).collect();
    for spec in &worse {
        println!("worse than the baseline: {}", spec.name);
    }
    let better = passed.iter().filter(|name| !baseline.lines().any(|line| line == **name)).count();
    if better > 0 {
        println!("{better} specs pass that are not in the baseline; write them there with --bless");
    }
    Ok(worse.is_empty() && !passed.is_empty())
}

/// Lists the specs without running them; for people.
pub fn list() -> io::Result<bool> {
    let status = Command::new(tools::critest()?).args(["-ginkgo.dry-run", "-ginkgo.v", "-ginkgo.no-color"]).status()?;
    Ok(status.success())
}

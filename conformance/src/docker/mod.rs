//! The Docker door seen from outside: the stock CLI with expected output recorded from dockerd, and docker-py's own tests.
//!
//! Start at [`run`]. What always holds: both parts stand on the same daemon, or the same peer; images are made on the spot
//! and come from a registry on the loopback; the peer runs the same script and the same tests, which proves them.

mod cli;
pub mod client;
pub mod dockerd;
pub mod images;
mod py;
pub mod subject;

use crate::baseline::{Bless, Counts, Scope, Stored};
use crate::report::{Report, State};
use cli::Mode;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;
use subject::{Daemon, Subject, Which};

/// What each command of the script is known to do.
const CLI_BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline/docker-cli.json");
/// What each test of docker-py is known to do.
const PY_BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline/docker-py.json");

/// How the suites are run.
#[derive(clap::Args)]
pub struct Options {
    /// Run them against the peer instead
    #[arg(long, default_value = "orlop")]
    against: Which,
    /// Only one of the two
    #[arg(long)]
    part: Option<Part>,
    /// Only scenes or tests whose name contains this: for people, the others are not judged
    #[arg(long, conflicts_with_all = ["bless"])]
    only: Option<String>,
    /// Play the script against the peer, and write down what is seen as what is expected
    #[arg(long, conflicts_with_all = ["bless", "against"])]
    record: bool,
    /// Write what orlop did as the new baseline
    #[arg(long, conflicts_with = "against")]
    bless: bool,
    /// Show one container in a terminal instead, step by step
    #[arg(long, conflicts_with_all = ["against", "part", "only", "record", "bless"])]
    demo: bool,
    /// Keep the daemon's log and those of the tests in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// One of the two suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The stock docker CLI.
    Cli,
    /// docker-py's tests.
    Py,
}

/// Runs both, each on a daemon of its own; returns whether nothing is worse than the baselines.
pub fn run(options: &Options) -> io::Result<bool> {
    if options.demo {
        return cli::demo::run();
    }
    // First: a baseline that can't be read should not cost a run.
    let (cli, py) = (Stored::read(CLI_BASELINE)?, Stored::read(PY_BASELINE)?);
    if options.record {
        return record(options);
    }
    let mut as_good = true;
    if options.part != Some(Part::Py) {
        as_good &= suite("docker-cli", options, &cli, 0, |daemon, only| cli::play(daemon, only, Mode::Compare))?;
    }
    if options.part != Some(Part::Cli) {
        as_good &= suite("docker-py", options, &py, py::PEER_FAILS_MAX, py::run)?;
    }
    Ok(as_good)
}

fn record(options: &Options) -> io::Result<bool> {
    let subject = Subject::start(Which::Dockerd, &images::all()?)?;
    println!("recording from {}", subject.daemon().versions());
    let report = cli::play(subject.daemon(), options.only.as_deref(), Mode::Record);
    keep(subject.daemon(), options)?;
    println!("recorded {} commands", report?.specs().len());
    Ok(tell_leaks(subject))
}

/// Runs one suite and judges it. The closing line comes last.
fn suite(
    name: &str,
    options: &Options,
    baseline: &Stored,
    peer_fails_max: usize,
    work: impl FnOnce(&Daemon, Option<&str>) -> io::Result<Report>,
) -> io::Result<bool> {
    let begun = Instant::now();
    let subject = Subject::start(options.against, &images::all()?)?;
    println!("{name} against {}", subject.daemon().versions());
    let report = work(subject.daemon(), options.only.as_deref());
    keep(subject.daemon(), options)?;
    let report = report?;
    let clean = tell_leaks(subject);
    report.tell();
    let as_good = match options.against {
        Which::Orlop => judge(options, baseline, &report)?,
        // A suite that fails more often there is wrong itself.
        Which::Dockerd => report.with(State::Failed).count() <= peer_fails_max,
    };
    println!("{name} took {} s", begun.elapsed().as_secs());
    println!("{name}: {}", Counts::of(&report));
    Ok(clean && as_good)
}

fn judge(options: &Options, baseline: &Stored, report: &Report) -> io::Result<bool> {
    let scope = if options.only.is_some() { Scope::Ran } else { Scope::All };
    let bless = if options.bless { Bless::Yes } else { Bless::No };
    baseline.compare(report, scope, bless, &[])
}

/// Keeps the daemon's log and those of tests, if asked to.
fn keep(daemon: &Daemon, options: &Options) -> io::Result<()> {
    let Some(folder) = &options.keep else { return Ok(()) };
    fs::create_dir_all(folder)?;
    for (name, path) in py::logs(daemon).into_iter().chain([(daemon.log().into(), daemon.ground().join(daemon.log()))])
    {
        fs::copy(path, folder.join(name))?;
    }
    Ok(())
}

fn tell_leaks(subject: Subject) -> bool {
    let leaks = subject.end();
    leaks.iter().for_each(|leak| println!("left behind: {leak}"));
    leaks.is_empty()
}

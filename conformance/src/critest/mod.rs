//! Kubernetes' own validation of the CRI, run inside the daemon's network namespace, judged against a baseline.

mod baseline;
mod report;

use crate::images;
use crate::subject::{Subject, Which};
use crate::tools;
use baseline::{Baseline, Counts, Scope, judge};
use orlop_testkit::wait_for;
use report::{Report, State};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that the whole suite may take; it ends itself a little before, and then still writes its report.
const SUITE_LIMIT: Duration = Duration::from_secs(28 * 60);
const SUITE_LIMIT_INSIDE: &str = "-ginkgo.timeout=25m";
/// What each spec is known to do. Bless another result with `--bless`; the diff is reviewed as code.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline/critest.json");
/// The one spec that is skipped by name. Its digest can't be rebuilt here: the image lies in a registry outside. Our own tests
/// pull by digest.
const NOT_OFFLINE: &str = "public image with digest";
/// How many lines of the suite's output are shown when it leaves no report.
const TAIL_LINES: usize = 40;

/// How the suite is run.
#[derive(clap::Args, Default)]
pub struct Options {
    /// Only specs whose name matches this regular expression: for people, the others are not judged
    #[arg(long, conflicts_with = "bless")]
    focus: Option<String>,
    /// Run it against the peer instead
    #[arg(long, default_value = "orlop")]
    against: Which,
    /// Write what the specs did as the new baseline
    #[arg(long)]
    bless: bool,
    /// Keep the daemon's log and the suite's output in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Runs the suite; returns whether nothing is worse than the baseline.
pub fn run(options: &Options) -> io::Result<bool> {
    // First: a baseline that can't be read should not cost a run.
    let baseline = read_baseline()?;
    let program = tools::critest()?;
    let subject = Subject::start(options.against, &images::all()?)?;
    let begun = Instant::now();
    let report = run_suite(&subject, &program, options)?;
    let took = begun.elapsed().as_secs();
    tell(&report);
    if let Some(folder) = &options.keep {
        fs::create_dir_all(folder)?;
        for name in [subject.log(), "critest.log", "critest.json"] {
            fs::copy(subject.ground().join(name), folder.join(name))?;
        }
    }
    let as_good = compare(&baseline, &report, options)?;
    println!("critest took {took} s");
    println!("critest: {}", Counts::of(&report));
    Ok(as_good)
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

/// Prints what failed and what was skipped, by cause.
fn tell(report: &Report) {
    for (state, word) in [(State::Failed, "FAILED"), (State::Skipped, "skipped")] {
        for (cause, specs) in report.by_cause(state) {
            println!("{word}  {} because: {cause}", specs.len());
            specs.iter().for_each(|spec| println!("        {}", spec.name));
        }
    }
}

/// Compares with the baseline, or writes it anew; returns whether nothing is worse. The peer has no baseline.
fn compare(baseline: &Baseline, report: &Report, options: &Options) -> io::Result<bool> {
    if options.against != Which::Orlop {
        return Ok(true);
    }
    let scope = if options.focus.is_some() { Scope::Ran } else { Scope::All };
    let judgement = judge(baseline, report, scope);
    for worse in &judgement.worse {
        println!("worse than the baseline: {worse}");
    }
    for spec in &judgement.better {
        println!("better than the baseline: {spec}");
    }
    if options.bless {
        fs::write(BASELINE, Baseline::of(report).to_json())?;
        return Ok(true);
    }
    if !judgement.better.is_empty() {
        println!("write what is better into the baseline with --bless");
    }
    Ok(judgement.worse.is_empty() && report.with(State::Passed).next().is_some())
}

fn read_baseline() -> io::Result<Baseline> {
    let text = fs::read_to_string(BASELINE).map_err(|e| io::Error::other(format!("read {BASELINE}: {e}")))?;
    Baseline::parse(&text).map_err(|why| io::Error::other(format!("{BASELINE} is no baseline: {why}")))
}

/// Lists the specs without running them; for people.
pub fn list() -> io::Result<bool> {
    let status = Command::new(tools::critest()?).args(["-ginkgo.dry-run", "-ginkgo.v", "-ginkgo.no-color"]).status()?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Where the product is, from the workspace's root.
    const PRODUCT: [&str; 7] = ["sys", "engine", "runtime", "image-service", "cni", "cri-server", "daemon"];
    /// What only the suites' own images are called.
    const SUITE_IMAGES: [&str; 4] = ["e2e-test-images", "k8s-staging-cri-tools", "nonewprivs", "busybox:1.29-2"];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
            if entry.is_dir() && !entry.ends_with("tests") {
                sources(&entry, found);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push(entry);
            }
        }
    }

    #[test]
    fn no_product_code_knows_an_image_of_the_suite() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = Vec::new();
        PRODUCT.iter().for_each(|folder| sources(&root.join(folder), &mut files));
        assert!(files.len() > 100, "the product was not found");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            // Tests of the product may name what they like.
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for name in SUITE_IMAGES {
                assert!(!code.contains(name), "{} knows {name}", file.display());
            }
        }
    }
}

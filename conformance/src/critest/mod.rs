//! Kubernetes' own validation of the CRI, run inside the daemon's network namespace, judged against a baseline.

mod ginkgo;

use crate::baseline::{Bless, Counts, Scope, Stored};
use crate::images;
use crate::report::Report;
use crate::subject::{Subject, Which};
use crate::tools;
use orlop_testkit::wait_for;
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
/// Why specs are not chosen that have no reason of their own in the report.
const NOT_CHOSEN: [(&str, &str); 2] = [
    (
        NOT_OFFLINE,
        "the image lies in a registry outside and its digest can't be rebuilt here; our own tests pull by digest",
    ),
    ("benchmark", "times are measured apart: cargo xtask bench cri --cross-check"),
];
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
    let baseline = Stored::read(BASELINE)?;
    let program = tools::critest()?;
    let subject = Subject::start(options.against, &images::all()?)?;
    let begun = Instant::now();
    let report = run_suite(&subject, &program, options)?;
    let took = begun.elapsed().as_secs();
    report.tell();
    if let Some(folder) = &options.keep {
        fs::create_dir_all(folder)?;
        for name in [subject.log(), "critest.log", "critest.json"] {
            fs::copy(subject.ground().join(name), folder.join(name))?;
        }
    }
    // The peer has no baseline.
    let as_good = options.against != Which::Orlop || compare(&baseline, &report, options)?;
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
    ginkgo::parse(&written).map_err(|why| {
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

fn compare(baseline: &Stored, report: &Report, options: &Options) -> io::Result<bool> {
    let scope = if options.focus.is_some() { Scope::Ran } else { Scope::All };
    let bless = if options.bless { Bless::Yes } else { Bless::No };
    baseline.compare(report, scope, bless, &NOT_CHOSEN)
}

/// Lists the specs without running them; for people.
pub fn list() -> io::Result<bool> {
    let status = Command::new(tools::critest()?).args(["-ginkgo.dry-run", "-ginkgo.v", "-ginkgo.no-color"]).status()?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::NOT_OFFLINE;
    use crate::baseline::Baseline;
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

    #[test]
    fn stored_baseline_is_whole_and_skips_only_one_spec_by_name() {
        let baseline = Baseline::parse(include_str!("../../baseline/critest.json")).unwrap();
        let by_name = |spec: &&String| spec.contains(NOT_OFFLINE);
        assert_eq!(baseline.skipped.keys().filter(by_name).count(), 1);
        assert!(baseline.counts.passed >= 85, "{}", baseline.counts);
    }
}

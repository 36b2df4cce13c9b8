//! A real kubelet over orlop: built from the module in `conformance/kubelet`, started standalone on a ground of its own,
//! driven through its folder of static pods and its server.
//!
//! Start at [`run`]. [`stage`] is what everything stands on, [`undo`] brings the host back as it was, also after a kill;
//! [`scenarios`] holds one idea a file. The daemon and the kubelet have a network namespace of their own and the host's mount
//! namespace; the kubelet's control groups lie below the ground's, so that `/kubepods` of a host with a kubelet is not touched.

mod config;
mod demo;
mod driver;
mod image;
mod play;
mod pod;
mod process;
mod programs;
mod runtime;
mod scenarios;
mod stage;
mod state;
pub mod undo;
mod view;

use crate::baseline::{Bless, Counts, Scope, Stored};
use crate::bench::interrupt;
use crate::report::Report;
use crate::subject::Which;
use play::{Scenario, tell};
use programs::Programs;
use stage::Stage;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// What each scenario is known to do. Bless another result with `--bless`; the diff is reviewed as code.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline/kubelet.json");
/// The claim that is looked at last.
const RESTORED: &str = "the host is as it was before: settings, cgroups, mounts, processes, folders, network";

/// How the suite is run.
#[derive(clap::Args)]
pub struct Options {
    /// Only scenarios whose name contains one of these words, given with commas: for people, the others are not judged
    #[arg(long, conflicts_with = "bless", value_delimiter = ',')]
    focus: Vec<String>,
    /// Run it against the peer instead
    #[arg(long, default_value = "orlop")]
    against: Which,
    /// Write what the scenarios did as the new baseline
    #[arg(long)]
    bless: bool,
    /// Keep the daemon's and the kubelet's log in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Show one pod instead, step by step
    #[arg(long)]
    demo: bool,
}

/// Runs the suite; returns whether nothing is worse than the baseline.
pub fn run(options: &Options) -> io::Result<bool> {
    let programs = Programs::built()?;
    interrupt::listen()?;
    if options.demo {
        return demo::run(&programs);
    }
    // First: a baseline that can't be read should not cost a run.
    let baseline = Stored::read(BASELINE)?;
    let stage = Stage::start(options.against, &programs)?;
    let begun = stage.begun;
    let under = stage.runtime().describe();
    println!("kubelet {} over {under}, ready after {:.1} s", programs.version, begun.elapsed().as_secs_f64());
    let alone = if options.against == Which::Orlop { scenarios::ALONE } else { scenarios::ALONE_ON_PEER };
    let mut specs = play::all(&stage, &chosen(scenarios::BESIDE, options), &chosen(alone, options));
    if let Some(folder) = &options.keep {
        stage::keep_logs(stage.ground(), folder)?;
    }
    let ending = Instant::now();
    let found = stage.end();
    specs.push(tell(RESTORED, &if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }, ending));
    // What an interrupted run did says nothing.
    interrupt::check()?;
    let report = Report::of(specs);
    let as_good = compare(&baseline, &report, options)?;
    println!("the kubelet's suite took {} s", begun.elapsed().as_secs());
    println!("kubelet: {}", Counts::of(&report));
    Ok(as_good)
}

fn chosen<'a>(scenarios: &'a [Scenario], options: &Options) -> Vec<&'a Scenario> {
    let possible = |name| options.against == Which::Orlop || !scenarios::NOT_ON_PEER.contains(&name);
    let wanted = |scenario: &&Scenario| {
        let chosen = options.focus.is_empty() || options.focus.iter().any(|word| scenario.name.contains(word.as_str()));
        chosen && possible(scenario.name)
    };
    scenarios.iter().filter(wanted).collect()
}

fn compare(baseline: &Stored, report: &Report, options: &Options) -> io::Result<bool> {
    if options.against != Which::Orlop {
        return Ok(true);
    }
    let scope = if options.focus.is_empty() { Scope::All } else { Scope::Ran };
    let bless = if options.bless { Bless::Yes } else { Bless::No };
    baseline.compare(report, scope, bless, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::Baseline;
    use std::collections::BTreeSet;

    #[test]
    fn stored_baseline_knows_every_scenario_and_skips_none() {
        let baseline = Baseline::parse(include_str!("../../baseline/kubelet.json")).unwrap();
        let all = scenarios::BESIDE.iter().chain(scenarios::ALONE).map(|scenario| scenario.name);
        let all: BTreeSet<&str> = all.chain([RESTORED]).collect();
        assert_eq!(baseline.names().collect::<BTreeSet<_>>(), all);
        assert_eq!(baseline.counts.skipped, 0);
        assert!(all.len() > 18, "{}", all.len());
    }

    #[test]
    fn scenarios_are_told_apart_by_their_names() {
        let scenarios = || scenarios::BESIDE.iter().chain(scenarios::ALONE);
        let names: BTreeSet<&str> = scenarios().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), scenarios().count());
        assert!(scenarios::NOT_ON_PEER.iter().all(|name| names.contains(name)));
    }
}

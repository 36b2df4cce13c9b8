//! Suites by others, run against a private orlopd; and orlopd measured beside a peer.
//!
//! Not a part of the house ring: it needs Go. Every suite stands on [`orlop_testkit::Lab`]; [`images`] makes what they pull. What always holds: a suite runs in the daemon's network namespace, against a registry in that namespace, and the
//! machine is compared before and after.

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

mod baseline;
mod bench;
mod crictl;
mod crictl_events;
mod critest;
mod docker;
mod images;
mod kubelet;
mod report;
mod root;
mod script;
mod subject;
mod teller;
mod tools;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs suites by others against orlop.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// The real crictl, each command once on a thing that is there and once on one that isn't
    Crictl {
        /// Run it against the peer instead
        #[arg(long, default_value = "orlop")]
        against: subject::Which,
    },
    /// Kubernetes' own validation suite of the CRI
    Critest(critest::Options),
    /// The stock docker CLI, and docker-py's own tests
    Docker(docker::Options),
    /// A real kubelet, driven through static pods and its server
    Kubelet(kubelet::Options),
    /// Waits for the end of a run with a kubelet, and cleans up what the run could not
    #[command(name = kubelet::undo::KEEPER, hide = true)]
    KubeletKeeper {
        /// What was there before
        journal: std::path::PathBuf,
    },
    /// Times and memory beside the peer's
    Bench {
        /// Of what
        #[command(subcommand)]
        what: Measured,
    },
    /// Runs a program in a tree of its own; the bench starts itself so
    #[command(name = root::ENTER, hide = true)]
    Enter(root::Entry),
    /// Lists the specs of critest
    List,
}

#[derive(Subcommand)]
enum Measured {
    /// The calls of the CRI
    Cri(bench::Options),
    /// The calls of `docker run --rm` and `docker ps`
    Docker(bench::docker::Options),
}

fn main() -> ExitCode {
    let passed = match Arguments::parse().suite {
        Suite::Crictl { against } => crictl::run(against),
        Suite::Critest(options) => critest::run(&options),
        Suite::Docker(options) => docker::run(&options),
        Suite::Kubelet(options) => kubelet::run(&options),
        Suite::KubeletKeeper { journal } => kubelet::undo::keep(&journal),
        Suite::Bench { what: Measured::Cri(options) } => bench::run(&options),
        Suite::Bench { what: Measured::Docker(options) } => bench::docker::run(&options),
        Suite::Enter(entry) => Err(root::run(&entry)),
        Suite::List => critest::list(),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

//! Suites by others, run against a private orlopd.
//!
//! Not a part of the house ring: it needs Go. Every suite stands on [`orlop_testkit::Lab`]; [`images`] makes what they pull. What always holds: a suite runs in the daemon's network namespace, against a registry in that namespace, and the
//! machine is compared before and after.

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

mod crictl;
mod critest;
mod figures;
mod images;
mod script;
mod subject;
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
    /// Times of a pod's life over 50 pods, and the memory of a shim
    Figures,
    /// Lists the specs of critest
    List,
}

fn main() -> ExitCode {
    let passed = match Arguments::parse().suite {
        Suite::Crictl { against } => crictl::run(against),
        Suite::Critest(options) => critest::run(&options),
        Suite::Figures => figures::run(),
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

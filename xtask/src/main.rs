//! Checks of the workspace itself, and the commands behind the Makefile.
//!
//! Not for anything that ships. Start at [`main`]; the laws are in [`house`], the test ring in [`ring`] with [`lints`] beside it, tests in a machine
//! of another kernel in [`vm`], what is measured in [`bench`].

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

mod bench;
mod house;
mod lints;
mod ring;
mod vm;

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Where tests and programs that start daemons look for them; see the testkit's `node`.
const BINARIES: &str = "ORLOP_BIN_DIR";

/// Checks of the workspace itself.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs the house ring: format, lints, every test; closes with one line of figures
    Test,
    /// Checks the dependency law, licenses, bans and sources
    House,
    /// Boots a machine with Debian 12's kernel and pure cgroup v2, and runs the demo and the tests of both there
    VmTest,
    /// Is the first process of that machine
    #[command(hide = true)]
    VmGuest {
        /// What it is to do
        orders: PathBuf,
        /// What the machine's kernel adds of its own
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _rest: Vec<String>,
    },
    /// Runs a suite by others against orlop
    Conformance {
        /// Which
        suite: Suite,
        /// Handed on to the suite's runner
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Measures a release orlopd beside a peer
    Bench {
        /// What
        what: Measured,
        /// Handed on to the bench
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Measured {
    /// The calls of the CRI, turn by turn with containerd's
    Cri,
    /// The calls of `docker run --rm` and `docker ps`, turn by turn with dockerd's
    Docker,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// The real crictl, each command once on a thing that is there and once on one that isn't
    Crictl,
    /// Kubernetes' own validation suite of the CRI
    Critest,
    /// The stock docker CLI, and docker-py's own tests
    Docker,
    /// A real kubelet, driven through static pods and its server
    Kubelet,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Crictl => "crictl",
            Self::Critest => "critest",
            Self::Docker => "docker",
            Self::Kubelet => "kubelet",
        }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Test => ring::run(),
        Task::House => house::run(),
        Task::VmTest => vm::run(),
        Task::VmGuest { orders, _rest } => vm::guest::run(&orders),
        Task::Conformance { suite, rest } => conformance(suite, &rest),
        Task::Bench { what: Measured::Cri, rest } => bench::run("cri", &rest),
        Task::Bench { what: Measured::Docker, rest } => bench::run("docker", &rest),
    }
}

/// Builds what the suites need, as `make test` does, and hands over to their runner. Fewer packages would be built with fewer
/// features, and nearly all of them anew.
fn conformance(suite: Suite, rest: &[String]) -> ExitCode {
    let built = cargo().args(["build", "--workspace", "--bins", "--quiet"]).status();
    if !built.is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    let runner = match std::env::current_exe() {
        // Built into the same folder.
        Ok(this) => this.with_file_name("orlop-conformance"),
        Err(why) => {
            println!("find this program: {why}");
            return ExitCode::FAILURE;
        }
    };
    match Command::new(runner).current_dir(house::workspace()).arg(suite.name()).args(rest).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

/// Returns the folder of the programs of a profile: beside the one of this program.
fn programs(profile: &str) -> PathBuf {
    let own = std::env::current_exe().expect("/proc is mounted");
    let target = own.ancestors().nth(2).expect("cargo puts programs below target/<triple>/<profile>");
    target.join(profile)
}

/// The cargo that runs us, in the workspace's folder.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(house::workspace());
    // What cargo told us about ourselves: build scripts that look at it would run anew each time we and a person take turns.
    let about_us = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(about_us)) {
        command.env_remove(name);
    }
    command
}

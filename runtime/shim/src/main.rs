//! The shim: one per sandbox, holds its namespaces, runs its containers, keeps their logs and ends.
//!
//! `orlop-shim --dir DIR` is a shim, `orlop-shim --spawner --run DIR [--grace-ms N]` the one process that starts shims.
//! One thread, one epoll ([`poll`]), nothing asynchronous. It never decides: what is run comes from the daemon as a plan.
//! Start at [`shim::Shim::run`]; a task's life is in [`task`], output in [`log`].
//!
//! Invariants: the daemon may die and come back at any moment without a container noticing; an end is on disk before it is
//! reported; nothing a container does (a full pipe, a fork bomb, a stopped process) stops the shim from answering.

mod attach;
mod clock;
mod endings;
mod ends;
mod error;
mod exec;
mod journal;
mod log;
mod nodes;
mod peers;
mod pod_init;
mod poll;
mod reaping;
mod requests;
mod sandbox;
mod seal;
mod shim;
mod shm;
mod spawner;
mod supervise;
mod task;

use error::Failed;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a spawner that nobody needs stays: a daemon that restarts should find it.
const GRACE: Duration = Duration::from_secs(1);

/// What the process is.
enum Role {
    Shim { dir: PathBuf },
    Spawner { run: PathBuf, grace: Duration },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != seal::SEALED).collect();
    let outcome = match parse(&arguments) {
        Ok(role) => serve(role),
        Err(usage) => {
            journal::write(&usage);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            journal::write(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn serve(role: Role) -> Result<(), Failed> {
    seal::run_from_sealed_copy()?;
    match role {
        Role::Shim { dir } => {
            // Without it, what it clones is shown in containers by the shim's own words, and works all the same.
            if let Err(error) = orlop_sys::title::find() {
                journal::write(&format!("find the words of this process: {error}"));
            }
            shim::Shim::start(dir)?.run()
        }
        Role::Spawner { run, grace } => spawner::Spawner::start(&run, grace)?.run(),
    }
}

fn parse(arguments: &[String]) -> Result<Role, String> {
    const USAGE: &str = "usage: orlop-shim --dir DIR | orlop-shim --spawner --run DIR [--grace-ms N]";
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--dir", dir] => Ok(Role::Shim { dir: PathBuf::from(dir) }),
        ["--spawner", "--run", run] => Ok(Role::Spawner { run: PathBuf::from(run), grace: GRACE }),
        ["--spawner", "--run", run, "--grace-ms", grace] => match grace.parse() {
            Ok(grace) => Ok(Role::Spawner { run: PathBuf::from(run), grace: Duration::from_millis(grace) }),
            Err(_) => Err(format!("--grace-ms wants a number, not {grace:?}; {USAGE}")),
        },
        _ => Err(USAGE.to_owned()),
    }
}

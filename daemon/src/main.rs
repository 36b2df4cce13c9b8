//! `orlopd`, the daemon: reads the settings, wires the parts together, and decides nothing else.

mod claim;
mod clock;
mod config;
mod docker;
mod endpoint;
mod failpoints;
mod memory;
mod serve;

use clap::Parser;
use orlop_model::effect::Operation;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::ExitCode;
use std::time::Duration;

/// Exit status of settings that can't be used; sysexits.h EX_CONFIG. `--help` names it.
const EXIT_CONFIG: u8 = 78;
/// Exit status of everything else.
const EXIT_FAILED: u8 = 1;
/// How long a thread for blocking work waits for more: each keeps a stack and a part of the heap.
const IDLE_THREAD: Duration = Duration::from_secs(2);
/// How long blocking work may hold up the end of the process: a read from a dead file server never ends by itself.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let flags = config::Flags::parse();
    if flags.effects {
        return list_effects();
    }
    let heap = memory::settle_heap();
    let failpoints = match config::failpoints() {
        Ok(failpoints) => failpoints,
        Err(wrong) => return complain(&wrong, EXIT_CONFIG),
    };
    let config = match config::load(&flags) {
        Ok(config) => config,
        Err(wrong) => return complain(&wrong, EXIT_CONFIG),
    };
    serve::log(config.log_format);
    if let Err(wrong) = heap {
        tracing::warn!(error = %wrong, "glibc's heap keeps its own settings: memory of pods that have gone is not all given back");
    }
    raise_descriptor_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_keep_alive(IDLE_THREAD).build()
    {
        Ok(runtime) => runtime,
        Err(wrong) => return complain(&wrong, EXIT_FAILED),
    };
    let served = runtime.block_on(serve::serve(&config, failpoints));
    runtime.shutdown_timeout(SHUTDOWN_WITHIN);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure, EXIT_FAILED),
    }
}

/// Takes as many descriptors as the daemon may have: one socket for each shim, one pidfd for each process watched. Programs in
/// containers inherit it, as they do from other runtimes; 1024 is too few for most servers.
fn raise_descriptor_limit() {
    let now = getrlimit(Resource::Nofile);
    let most = Rlimit { current: now.maximum, maximum: now.maximum };
    if let Err(wrong) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(error = %wrong, limit = ?now.current, "the limit on descriptors stays as it is");
    }
}

#[allow(clippy::print_stdout, reason = "it was asked for")]
fn list_effects() -> ExitCode {
    let effects = |operation: Operation| operation.effects().iter().map(|effect| effect.name()).collect::<Vec<_>>();
    let all: Vec<_> = Operation::ALL
        .into_iter()
        .map(|operation| serde_json::json!({"operation": operation.name(), "effects": effects(operation)}))
        .collect();
    println!("{}", serde_json::Value::from(all));
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr, reason = "the log goes to stderr too; why a start fails must be read without a parser")]
fn complain(wrong: &dyn std::fmt::Display, status: u8) -> ExitCode {
    eprintln!("orlopd: {wrong}");
    ExitCode::from(status)
}

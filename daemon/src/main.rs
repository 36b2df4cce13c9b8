//! `orlopd`, the daemon: reads the settings, wires the parts together, and decides nothing else.

mod claim;
mod clock;
mod config;
mod serve;

use clap::Parser;
use std::process::ExitCode;

/// Exit status of settings that can't be used; sysexits.h EX_CONFIG.
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let flags = config::Flags::parse();
    let config = match config::load(&flags) {
        Ok(config) => config,
        Err(wrong) => return complain(&wrong, EXIT_CONFIG),
    };
    serve::log(config.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(wrong) => return complain(&wrong, 1),
    };
    match runtime.block_on(serve::serve(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(error = %failure, "orlopd ends");
            complain(&failure, 1)
        }
    }
}

#[allow(clippy::print_stderr, reason = "whoever started the daemon by hand reads this, not the log")]
fn complain(wrong: &dyn std::fmt::Display, status: u8) -> ExitCode {
    eprintln!("orlopd: {wrong}");
    ExitCode::from(status)
}

//! Ctrl-C ends a run between two calls, so that everything is cleaned up; a second one ends it at once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody asked for the end.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens from now on, on a thread of its own.
pub fn listen() -> io::Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listening = move || {
        // Without signals nothing is awaited, and Ctrl-C does what it does otherwise.
        while executor.block_on(tokio::signal::ctrl_c()).is_ok() {
            if ASKED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("interrupted; cleaning up");
        }
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(listening).map(|_| ())
}

/// Fails when somebody asked for the end.
pub fn check() -> io::Result<()> {
    if ASKED.load(Ordering::Relaxed) { Err(io::Error::other("interrupted")) } else { Ok(()) }
}

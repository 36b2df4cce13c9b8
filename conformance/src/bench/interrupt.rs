//! Ctrl-C, or SIGTERM, ends a run between two calls, so that everything is cleaned up; a second one ends it at once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// What a shell says of a program that was interrupted.
const INTERRUPTED: i32 = 130;
/// Whether somebody asked for the end.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens from now on, on a thread of its own.
pub fn listen() -> io::Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = executor.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let listening = move || {
        let mut asked_again = || {
            executor.block_on(async {
                tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
            });
            ASKED.swap(true, Ordering::Relaxed)
        };
        while !asked_again() {
            eprintln!("interrupted; cleaning up");
        }
        std::process::exit(INTERRUPTED);
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(listening).map(|_| ())
}

/// Fails when somebody asked for the end.
pub fn check() -> io::Result<()> {
    if ASKED.load(Ordering::Relaxed) { Err(io::Error::other("interrupted")) } else { Ok(()) }
}

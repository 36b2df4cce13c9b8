//! One whole-daemon test at a time on a machine: the guard compares the whole host, so tests must not overlap.

use crate::wait::wait_until;
use std::fs::File;
use std::time::Duration;

/// A lock on this folder serialises the tests: it exists everywhere, and locking it leaves no file behind.
const LOCKED_FOLDER: &str = "/run";

/// The longest that a test waits for the others of the machine: the whole ring takes less.
const QUEUE_MAX: Duration = Duration::from_secs(15 * 60);

/// Held while a test owns the host. Released when dropped, by the kernel when the process dies.
#[derive(Debug)]
pub struct HostLock {
    _folder: File,
}

impl HostLock {
    /// Waits until no other test of this machine, in this process or another, holds the lock.
    ///
    /// # Panics
    /// When the folder can't be opened, or the others take longer than the whole ring may.
    #[must_use]
    pub fn take() -> Self {
        let folder = File::open(LOCKED_FOLDER).expect("every host has a run folder");
        wait_until(QUEUE_MAX, "the other tests of this machine have ended", || folder.try_lock().ok());
        Self { _folder: folder }
    }
}

//! Who may test whole daemons at the same time on a machine.
//!
//! Tests beside each other know their own by the mark. A test that measures time or memory, or that changes what belongs to
//! the whole host, is alone on it.

use crate::wait::wait_until;
use std::fs::{File, TryLockError};
use std::time::Duration;

/// A lock on this folder serialises the tests: it exists everywhere, and locking it leaves no file behind.
const LOCKED_FOLDER: &str = "/run";

/// The longest that a test waits for the others of the machine: the whole ring takes less.
const QUEUE_MAX: Duration = Duration::from_secs(15 * 60);

/// Held while a test is on the host. Released when dropped, by the kernel when the process dies.
#[derive(Debug)]
pub struct HostLock {
    _folder: File,
}

impl HostLock {
    /// Waits until no other test is on this machine, in this process or another, and keeps others away.
    ///
    /// # Panics
    /// When the folder can't be opened, or the others take longer than the whole ring may.
    #[must_use]
    pub fn alone() -> Self {
        Self::wait(File::try_lock)
    }

    /// Waits until no other test has this machine for itself, and keeps those away that want it so.
    ///
    /// # Panics
    /// As with [`HostLock::alone`].
    #[must_use]
    pub fn beside_others() -> Self {
        Self::wait(File::try_lock_shared)
    }

    fn wait(try_lock: impl Fn(&File) -> Result<(), TryLockError>) -> Self {
        let folder = File::open(LOCKED_FOLDER).expect("every host has a run folder");
        wait_until(QUEUE_MAX, "the other tests of this machine have ended", || try_lock(&folder).ok());
        Self { _folder: folder }
    }
}

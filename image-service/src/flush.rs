//! Flushes the store's file system for many callers at once.

use crate::disk::Disk;
use crate::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

/// Turns flushes that are asked for together into one.
#[derive(Default)]
pub(crate) struct Flusher {
    asked: AtomicU64,
    /// Requests up to this number are done. The lock is held while one is under way.
    done: Mutex<u64>,
}

// === impl Flusher ===

impl Flusher {
    /// Returns when everything written before the call is on disk: by a flush that began after it.
    pub(crate) async fn flush(&self, disk: &Arc<Disk>) -> Result<(), Error> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.done.lock().await;
        if *done >= mine {
            return Ok(());
        }
        let covers = self.asked.load(Ordering::SeqCst);
        let disk = Arc::clone(disk);
        let flushed = tokio::task::spawn_blocking(move || disk.flush_all()).await;
        flushed.map_err(|error| Error::io("flush the file system")(std::io::Error::other(error)))??;
        *done = covers;
        Ok(())
    }
}

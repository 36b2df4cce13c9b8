//! A log read as it grows, to the end of the container's run.

use super::file::LogFile;
use super::line::Line;
use super::watch::Watch;
use crate::life::Life;
use std::fs::File;
use std::io;
use std::path::Path;

/// A log read as it grows.
#[derive(Debug)]
pub(crate) struct Follow {
    log: LogFile,
    /// `None` where nothing is to be waited for.
    watch: Option<Watch>,
    /// Whether the container was seen not to run: what it wrote is in the file then.
    over: bool,
}

impl Follow {
    /// Reads an open log from `at`, and what comes when it is watched.
    pub(crate) fn new(file: File, at: u64, watch: Option<Watch>) -> Self {
        Self { log: LogFile::new(file, at), watch, over: false }
    }

    /// Reads no further than this byte, which is where a line begins.
    pub(crate) fn up_to(mut self, bytes: u64) -> Self {
        self.log.end_at(bytes);
        self
    }

    /// Opens a log to be followed. The watch is there before the first byte is read.
    pub(crate) fn open(path: &Path, at: u64) -> io::Result<Self> {
        let watch = Watch::new(path)?;
        Ok(Self::new(File::open(path)?, at, Some(watch)))
    }

    /// Hands the next lines to `each`; waits for them while the container lives. Returns false at the end.
    // Read here and not on a thread for blocking work: the file is the node's own, and was written just now.
    pub(crate) async fn next(&mut self, life: &mut Life, mut each: impl FnMut(Line<'_>)) -> io::Result<bool> {
        loop {
            if self.log.read(&mut each)? {
                return Ok(true);
            }
            let Some(watch) = self.watch.as_ref().filter(|_| !self.over) else { return Ok(false) };
            if !life.runs() {
                // What was written between the last read and the end is read once more.
                self.over = true;
                continue;
            }
            tokio::select! {
                changed = watch.changed() => changed?,
                () = life.changed() => {}
            }
        }
    }
}

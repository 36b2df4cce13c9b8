//! The log file of a container: whole batches, and a word about what was lost.
//!
//! A log that can't be written must never stop the container: bytes are dropped and counted, and the first batch that can be
//! written again is preceded by a line that says how many.

use crate::clock::Stamp;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Sink {
    /// `None` drops everything, and nobody misses it.
    file: Option<OwnedFd>,
    lost_bytes: u64,
    reason: String,
    /// The file ends in the middle of a line.
    torn: bool,
}

// === impl Sink ===

impl Sink {
    pub(crate) fn new(file: Option<OwnedFd>) -> Self {
        Self { file, lost_bytes: 0, reason: String::new(), torn: false }
    }

    /// Takes another file, of a container whose log was rotated.
    pub(crate) fn replace(&mut self, file: OwnedFd) {
        self.file = Some(file);
        self.torn = false;
    }

    /// Appends a batch of whole lines.
    pub(crate) fn append(&mut self, batch: &[u8]) {
        let Some(file) = &self.file else { return };
        if batch.is_empty() {
            return;
        }
        let Some(written) = self.speak_of_loss(file).map(|()| write_all(file, batch)) else {
            self.lost_bytes += batch.len() as u64;
            return;
        };
        if self.lost_bytes > 0 {
            (self.lost_bytes, self.torn) = (0, false);
        }
        if let Err((done, error)) = written {
            self.lost_bytes = (batch.len() - done) as u64;
            self.torn = done > 0 && batch[done - 1] != b'\n';
            self.reason = error.to_string();
        }
    }

    /// Writes how much was lost, if something was; `None` when even that can't be written.
    fn speak_of_loss(&self, file: &OwnedFd) -> Option<()> {
        if self.lost_bytes == 0 {
            return Some(());
        }
        let end = if self.torn { "\n" } else { "" };
        let (stamp, lost, reason) = (Stamp::now(), self.lost_bytes, &self.reason);
        let line = format!("{end}{stamp} stderr F orlop: {lost} bytes of the log could not be written: {reason}\n");
        match write_all(file, line.as_bytes()) {
            Ok(()) => Some(()),
            Err((0, _)) => None,
            Err((done, _)) => {
                // Half a line of ours: taken back, so that it is written once.
                take_back(file, done);
                None
            }
        }
    }
}

/// Writes all, or says how much was written before the error.
fn write_all(file: &OwnedFd, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::retry_on_intr(|| rustix::io::write(file, &bytes[done..])) {
            Ok(0) => return Err((done, io::ErrorKind::WriteZero.into())),
            Ok(written) => done += written,
            Err(errno) => return Err((done, errno.into())),
        }
    }
    Ok(())
}

/// Cuts the last `bytes` off a file. Quiet where that is not possible: it is no plain file.
fn take_back(file: &OwnedFd, bytes: usize) {
    if let Ok(stat) = rustix::fs::fstat(file.as_fd()) {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let _ = rustix::fs::ftruncate(file, size.saturating_sub(bytes as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn loss_is_counted_and_told_once_the_log_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = Sink::new(Some(File::options().write(true).open("/dev/full").unwrap().into()));
        sink.append(b"T stdout F one\n");
        sink.append(b"T stdout F two\n");
        sink.replace(File::create(&path).unwrap().into());
        sink.append(b"T stdout F three\n");
        sink.append(b"T stdout F four\n");
        let log = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 3, "{log}");
        assert!(lines[0].contains("stderr F orlop: 30 bytes"), "{log}");
        assert_eq!(lines[1..], ["T stdout F three", "T stdout F four"]);
    }

    #[test]
    fn sink_without_a_file_takes_everything() {
        let mut sink = Sink::new(None);
        sink.append(b"T stdout F one\n");
        assert_eq!(sink.lost_bytes, 0);
    }
}

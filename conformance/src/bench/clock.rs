//! Times calls, with the gap before each.

use super::interrupt;
use super::samples::{Operation, Samples, Who};
use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

/// The clock of one side's calls.
pub struct Clock<'a> {
    samples: &'a mut Samples,
    who: Who,
    gap: Duration,
    last_two: [Duration; 2],
}

// === impl Clock ===

impl<'a> Clock<'a> {
    /// Makes a clock that waits `gap` before each call.
    pub fn new(samples: &'a mut Samples, who: Who, gap: Duration) -> Self {
        Self { samples, who, gap, last_two: [Duration::ZERO; 2] }
    }

    /// Times a call and keeps the sample when it succeeds.
    pub fn time<T, E: Display>(&mut self, operation: Operation, call: impl FnOnce() -> Result<T, E>) -> io::Result<T> {
        interrupt::check()?;
        if !self.gap.is_zero() {
            std::thread::sleep(self.gap);
        }
        let begun = Instant::now();
        let result = call();
        let took = begun.elapsed();
        let done = result.map_err(|e| io::Error::other(format!("{}: {}: {e}", self.who.name(), operation.name())))?;
        self.samples.add(operation, self.who, took);
        self.last_two = [self.last_two[1], took];
        Ok(done)
    }

    /// Adds the last two calls together as a sample of its own.
    pub fn add_last_two(&mut self, operation: Operation) {
        self.samples.add(operation, self.who, self.last_two.iter().sum());
    }
}

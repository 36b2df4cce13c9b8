//! Time, randomness and tasks.

use super::Answer;
use crate::time::Timestamp;

/// Time, randomness and tasks: all that would make a run unrepeatable.
pub trait Clock: Send + Sync {
    /// Returns the wall clock.
    fn now(&self) -> Timestamp;
    /// Waits until the wall clock reaches `at`.
    fn sleep_until(&self, at: Timestamp) -> Answer<'static, ()>;
    /// Returns 32 random bytes.
    fn random(&self) -> [u8; 32];
    /// Runs a named task beside this one. Its owner learns of its end through what it sends.
    fn spawn(&self, name: &'static str, task: Answer<'static, ()>);
}

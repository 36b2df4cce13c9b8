//! Where tests interfere.

use crate::effect::{Effect, Moment};
use crate::error::Failure;
use std::time::Duration;

/// Where tests interfere: told of every effect before and after it. Called from any task or thread.
pub trait Failpoints: Send + Sync {
    /// Decides what happens at this moment. The daemon's may end the process: that is what it is for.
    fn reach(&self, effect: Effect, moment: Moment) -> Verdict;
}

/// What happens at a moment around an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All goes on.
    Pass,
    /// All goes on, later.
    Hold(Duration),
    /// The effect counts as failed; after it, though it is done.
    Fail(Failure),
    /// The daemon has died, as far as a simulation goes: who asked never goes on.
    Dead,
}

/// The failpoints of service: there are none.
#[derive(Clone, Copy, Debug)]
pub struct Unhindered;

impl Failpoints for Unhindered {
    fn reach(&self, _effect: Effect, _moment: Moment) -> Verdict {
        Verdict::Pass
    }
}

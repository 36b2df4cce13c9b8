//! What happened in a simulation, counted: a run that hits nothing proves nothing.

use orlop_model::effect::{Effect, Moment};
use std::collections::BTreeMap;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// An effect fails, before it did anything or in the middle.
    Fails,
    /// An effect is done, and reported as failed.
    Unanswered,
    /// An effect takes far longer than any should.
    Slow,
    /// A record can't be written.
    RecordFails,
    /// A program ends before anybody hears that it was started.
    EndsAtOnce,
    /// A program does not heed its stop signal.
    SignalIgnored,
    /// A shim dies, with all it ran.
    ShimDies,
    /// A shim does not answer.
    ShimSilent,
    /// The daemon dies in the middle of an effect.
    DaemonDies,
    /// A caller leaves before it is answered, and asks again.
    CallerLeaves,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Fails,
        Self::Unanswered,
        Self::Slow,
        Self::RecordFails,
        Self::EndsAtOnce,
        Self::SignalIgnored,
        Self::ShimDies,
        Self::ShimSilent,
        Self::DaemonDies,
        Self::CallerLeaves,
    ];
}

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often the daemon died before and after each effect.
    pub crashes: BTreeMap<(Effect, Moment), u64>,
    /// How often each kind of fault was hit.
    pub faults: BTreeMap<Fault, u64>,
}

impl Tally {
    /// Adds what happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (point, times) in &other.crashes {
            *self.crashes.entry(*point).or_default() += times;
        }
        for (fault, times) in &other.faults {
            *self.faults.entry(*fault).or_default() += times;
        }
    }

    pub(crate) fn hit(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }
}

//! One object in its driver: state, the effect owed, the effect under way, and who waits. Pure.

use orlop_model::error::{Failure, Result};
use orlop_model::time::Timestamp;
use tokio::sync::oneshot;

/// Callers that may wait on one object at a time. A storm of retries joins here; more than this is a fault of the caller.
pub(crate) const WAITERS_MAX: usize = 1024;

/// State `S`, effects `E`, wants `W` of one object.
pub(crate) struct Cell<S, E, W> {
    /// What is, as recorded.
    pub(crate) state: S,
    /// The effect to perform next; a later one takes its place.
    owed: Option<E>,
    /// The effect under way.
    under_way: Option<E>,
    /// Why the last effect failed, until the next one begins.
    pub(crate) last_failure: Option<Failure>,
    /// Why the state is not recorded, and how often that was tried again; `None` when it is.
    pub(crate) unrecorded: Option<(Failure, u32)>,
    /// The time a timer was set for.
    timer: Option<Timestamp>,
    waiters: Vec<(W, oneshot::Sender<Result<()>>)>,
}

/// What stands between a caller and a plain yes.
#[derive(Clone, Copy)]
pub(crate) struct Wrong<'a> {
    /// Why the last effect failed, while nothing is done about it.
    pub(crate) last: Option<&'a Failure>,
    /// Why the state is not recorded.
    pub(crate) unrecorded: Option<&'a Failure>,
}

impl<S, E: Copy + PartialEq, W: Copy> Cell<S, E, W> {
    pub(crate) fn new(state: S) -> Self {
        Self {
            state,
            owed: None,
            under_way: None,
            last_failure: None,
            unrecorded: None,
            timer: None,
            waiters: Vec::new(),
        }
    }

    /// Takes the place of what was owed; what is under way is left to end.
    pub(crate) fn owe(&mut self, effect: Option<E>) {
        if effect.is_some() {
            self.owed = effect;
        }
    }

    /// Returns the effect to begin, if one is owed and none is under way.
    pub(crate) fn begin(&mut self) -> Option<E> {
        if self.under_way.is_some() {
            return None;
        }
        self.under_way = self.owed.take();
        if self.under_way.is_some() {
            // Who waits is told of a failure only while nothing is done about it.
            self.last_failure = None;
        }
        self.under_way
    }

    /// Returns whether nothing is owed and nothing under way.
    pub(crate) fn idle(&self) -> bool {
        self.owed.is_none() && self.under_way.is_none()
    }

    /// Returns the effect owed.
    pub(crate) fn owed(&self) -> Option<E> {
        self.owed
    }

    /// Returns the effect under way.
    pub(crate) fn under_way(&self) -> Option<E> {
        self.under_way
    }

    /// Notes that an effect has ended. One that is not under way was never begun.
    pub(crate) fn ended(&mut self, effect: E) {
        if self.under_way == Some(effect) {
            self.under_way = None;
        }
    }

    /// Notes that the timer has come, so that the same time is set again if it is still wanted.
    pub(crate) fn timer_came(&mut self) {
        self.timer = None;
    }

    /// Returns the time to set a timer for, if it is not set yet.
    pub(crate) fn arm(&mut self, due: Option<Timestamp>) -> Option<Timestamp> {
        if self.timer == due {
            return None;
        }
        self.timer = due;
        due
    }

    /// Adds a caller.
    pub(crate) fn wait(&mut self, wanted: W, reply: oneshot::Sender<Result<()>>) {
        self.waiters.retain(|(_, waiter)| !waiter.is_closed());
        if self.waiters.len() < WAITERS_MAX {
            self.waiters.push((wanted, reply));
            return;
        }
        let kind = orlop_model::ErrorKind::Exhausted;
        let message = format!("{WAITERS_MAX} callers wait for this object already; retry later");
        drop(reply.send(Err(Failure::new(kind, message))));
    }

    /// Answers every caller whose wait is over.
    pub(crate) fn answer(&mut self, settled: impl Fn(W, &S, Wrong<'_>) -> Option<Result<()>>) {
        let waiting = std::mem::take(&mut self.waiters);
        for (wanted, reply) in waiting {
            let unrecorded = self.unrecorded.as_ref().map(|(failure, _)| failure);
            match settled(wanted, &self.state, Wrong { last: self.last_failure.as_ref(), unrecorded }) {
                // A caller that has left does not mind.
                Some(result) => drop(reply.send(result)),
                None => self.waiters.push((wanted, reply)),
            }
        }
    }
}

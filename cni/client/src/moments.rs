//! The moments around the parts of an attach and of a detach, as the failpoints see them. In service nothing happens there.

use crate::error::Error;
use orlop_model::effect::{Effect, Moment, NetworkEffect};
use orlop_model::ports::{Failpoints, Verdict};
use orlop_model::{ErrorKind, Failure};
use std::sync::Arc;

/// Passes moments. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Moments(pub(crate) Arc<dyn Failpoints>);

impl Moments {
    /// Does a part between its two moments.
    pub(crate) fn around<T>(&self, part: NetworkEffect, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.reach(part, Moment::Before)?;
        let done = work()?;
        self.reach(part, Moment::After)?;
        Ok(done)
    }

    fn reach(&self, part: NetworkEffect, moment: Moment) -> Result<(), Error> {
        match self.0.reach(Effect::Network(part), moment) {
            Verdict::Pass => Ok(()),
            // The thread itself is held up, as by a kernel that is slow.
            Verdict::Hold(pause) => {
                std::thread::sleep(pause);
                Ok(())
            }
            Verdict::Fail(failure) => Err(Error::Failpoint(failure)),
            Verdict::Dead => Err(Error::Failpoint(Failure::new(ErrorKind::Internal, "the daemon is dead"))),
        }
    }
}

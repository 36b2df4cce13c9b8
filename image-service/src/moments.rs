//! The moments around the parts of a pull and of a removal, as the failpoints see them. In service nothing happens there.

use crate::error::Error;
use crate::store::Shared;
use orlop_model::effect::{Effect, ImageEffect, Moment};
use orlop_model::ports::Verdict;
use orlop_model::{ErrorKind, Failure};
use std::time::Duration;

impl Shared {
    /// Does a part of a pull between its two moments.
    pub(crate) async fn around<T>(
        &self,
        part: ImageEffect,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.pass(part, Moment::Before).await?;
        let done = work.await?;
        self.pass(part, Moment::After).await?;
        Ok(done)
    }

    /// Does a part of a removal between its two moments.
    pub(crate) fn around_blocking<T>(
        &self,
        part: ImageEffect,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.pass_blocking(part, Moment::Before)?;
        let done = work()?;
        self.pass_blocking(part, Moment::After)?;
        Ok(done)
    }

    async fn pass(&self, part: ImageEffect, moment: Moment) -> Result<(), Failure> {
        if let Some(pause) = self.reach(part, moment)? {
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    fn pass_blocking(&self, part: ImageEffect, moment: Moment) -> Result<(), Error> {
        if let Some(pause) = self.reach(part, moment).map_err(Error::Failpoint)? {
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Returns how long to wait, if at all.
    fn reach(&self, part: ImageEffect, moment: Moment) -> Result<Option<Duration>, Failure> {
        match self.failpoints.reach(Effect::Image(part), moment) {
            Verdict::Pass => Ok(None),
            Verdict::Hold(pause) => Ok(Some(pause)),
            Verdict::Fail(failure) => Err(failure),
            Verdict::Dead => Err(Failure::new(ErrorKind::Internal, "the daemon is dead")),
        }
    }
}

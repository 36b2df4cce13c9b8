//! The moments around an effect, as the failpoints see them. In service nothing happens there.

use crate::engine::Node;
use orlop_model::effect::{Effect, Moment};
use orlop_model::error::Result;
use orlop_model::ports::Verdict;

/// Performs an effect between its two moments.
pub(crate) async fn around<T>(node: &Node, effect: Effect, work: impl Future<Output = Result<T>>) -> Result<T> {
    reach(node, effect, Moment::Before).await?;
    let done = work.await?;
    reach(node, effect, Moment::After).await?;
    Ok(done)
}

/// Passes a moment, as the failpoints say.
pub(crate) async fn reach(node: &Node, effect: Effect, moment: Moment) -> Result<()> {
    match node.ports.failpoints.reach(effect, moment) {
        Verdict::Pass => Ok(()),
        Verdict::Hold(pause) => {
            let clock = &node.ports.clock;
            clock.sleep_until(clock.now().plus(pause)).await;
            Ok(())
        }
        Verdict::Fail(failure) => Err(failure),
        Verdict::Dead => std::future::pending().await,
    }
}

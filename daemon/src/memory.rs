//! Gives memory back to the kernel after pods have gone: a node that once had many must not pay for them for ever.

use orlop_usecases::Engine;
use std::convert::Infallible;
use std::time::Duration;
use tracing::debug;

/// How often it is looked whether pods have gone. Giving back takes some milliseconds, on a thread of its own.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often memory is given back after pods have gone: what threads keep for themselves is free only when they have ended.
const TIMES: u32 = 3;

/// Looks now and then, until it is dropped.
pub async fn give_back_when_pods_go(engine: &Engine) -> Infallible {
    let (mut before, mut owed) = (0, 0);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let gone = engine.sandboxes_gone();
        if gone != before {
            (before, owed) = (gone, TIMES);
        }
        if owed > 0 {
            owed -= 1;
            let given = tokio::task::spawn_blocking(orlop_sys::memory::give_back).await.unwrap_or_default();
            debug!(gone, given, "memory of pods that have gone is given back");
        }
    }
}

//! The real clock: wall time, the kernel's randomness, tokio's tasks.

use orlop_model::Timestamp;
use orlop_model::ports::{Answer, Clock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::Instrument;

/// Longest sleep between two looks at the wall clock: it may be set while somebody sleeps.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Longest sleep: what a grace period without end comes to, and what an instant can still hold.
const FAR_AWAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct MachineClock;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn sleep_until(&self, at: Timestamp) -> Answer<'static, ()> {
        // Never longer than it was away when asked: a wall clock that is set back must not lengthen a grace period.
        let latest = tokio::time::Instant::now() + at.since(now()).min(FAR_AWAY);
        Box::pin(async move {
            loop {
                let left = at.since(now()).min(latest.saturating_duration_since(tokio::time::Instant::now()));
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            }
        })
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        // getrandom(2) gives up to 256 bytes whole once the pool is ready, and waits until it is.
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .expect("the kernel has random bytes");
        bytes
    }

    fn spawn(&self, name: &'static str, task: Answer<'static, ()>) {
        // Detached on purpose: its owner hears of its end through what it sends.
        drop(tokio::spawn(task.instrument(tracing::debug_span!("task", name))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! machine {
        ($name:expr) => {{
            let _ = $name;
            std::sync::Arc::new(MachineClock)
        }};
    }

    orlop_contract::clock!([tokio::test], machine);

    /// The paused clock goes on while the wall clock stands still, as one does that is set back.
    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_back_lengthens_no_sleep() {
        let before = tokio::time::Instant::now();
        MachineClock.sleep_until(now().plus(Duration::from_secs(3600))).await;
        let slept = before.elapsed();
        assert!(slept >= Duration::from_secs(3599) && slept < Duration::from_secs(3700), "{slept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_not_waited_for_and_what_never_comes_can_be_asked_for() {
        MachineClock.sleep_until(Timestamp(0)).await;
        drop(MachineClock.sleep_until(Timestamp(i64::MAX)));
    }
}

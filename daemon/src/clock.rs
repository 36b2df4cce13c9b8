//! The real clock: wall time, the kernel's randomness, tokio's tasks.

use orlop_model::Timestamp;
use orlop_model::ports::{Answer, Clock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::Instrument;

/// Longest sleep between two looks at the wall clock: it may be set while somebody sleeps.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

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
        Box::pin(async move {
            loop {
                let left = at.since(now());
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

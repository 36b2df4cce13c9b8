//! Contracts of [`Clock`]. On a real clock each takes milliseconds.

use orlop_model::Timestamp;
use orlop_model::ports::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Writes one test for each contract. `ground!(name)` makes an [`Arc`] of a [`Clock`].
#[macro_export]
macro_rules! clock {
    ($test:tt, $ground:ident) => {
        $crate::suite! { clock, $test, $ground,
            what_is_over_is_not_waited_for
            after_a_sleep_it_is_as_late_as_was_asked
            a_time_that_never_comes_can_be_asked_for
            a_task_runs_beside_the_one_that_began_it
            no_two_draws_are_alike
        }
    };
}

/// However long ago.
pub async fn what_is_over_is_not_waited_for(clock: Arc<impl Clock>) {
    let before = clock.now();
    for over in [Timestamp(i64::MIN), Timestamp(0), before] {
        clock.sleep_until(over).await;
    }
    assert!(clock.now().since(before) < Duration::from_secs(5), "it took from {before:?} to {:?}", clock.now());
}

/// Who is woken for a time may rely on it: timers carry the time they were set for.
pub async fn after_a_sleep_it_is_as_late_as_was_asked(clock: Arc<impl Clock>) {
    for pause_us in [1, 100, 999, 1000, 1001, 5500] {
        let at = clock.now().plus(Duration::from_micros(pause_us));
        clock.sleep_until(at).await;
        let now = clock.now();
        assert!(now >= at, "woken {:?} too early", at.since(now));
        assert!(now.since(at) < Duration::from_secs(5), "woken {:?} too late", now.since(at));
    }
}

/// A grace period without end is one.
pub async fn a_time_that_never_comes_can_be_asked_for(clock: Arc<impl Clock>) {
    let never = clock.sleep_until(Timestamp(i64::MAX));
    let soon = clock.sleep_until(clock.now().plus(Duration::from_millis(10)));
    tokio::select! {
        () = never => panic!("it came"),
        () = soon => {}
    }
}

/// And tells of its end by what it sends.
pub async fn a_task_runs_beside_the_one_that_began_it(clock: Arc<impl Clock>) {
    let (tell, told) = oneshot::channel();
    clock.spawn(
        "contract",
        Box::pin(async move {
            let _ = tell.send(7);
        }),
    );
    assert_eq!(told.await, Ok(7));
    let (tell, told) = oneshot::channel::<()>();
    clock.spawn("contract", Box::pin(async move { drop(tell) }));
    assert!(told.await.is_err());
}

/// Ids are made of them.
pub async fn no_two_draws_are_alike(clock: Arc<impl Clock>) {
    let draws: std::collections::BTreeSet<_> = (0..100).map(|_| clock.random()).collect();
    assert_eq!(draws.len(), 100);
}

//! Waiting for a condition instead of sleeping: level-triggered, with a deadline.

use std::time::{Duration, Instant};

/// Pause between two looks. Short enough not to be felt in a test, long enough to leave the processors to what is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` returns something; `None` after `limit`. Looks at least once, and once more at the deadline.
pub fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let last = Instant::now() >= deadline;
        if let Some(seen) = look() {
            return Some(seen);
        }
        if last {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks until `look` returns something, and panics after `limit` with the name of what was awaited.
///
/// # Panics
/// When the deadline passes.
#[track_caller]
pub fn wait_until<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    match wait_for(limit, look) {
        Some(seen) => seen,
        None => panic!("waited {limit:?} in vain until {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_met_at_once_costs_no_pause() {
        let begun = Instant::now();
        assert_eq!(wait_until(Duration::from_secs(5), "one is one", || Some(1)), 1);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn condition_never_met_ends_at_the_deadline() {
        let mut looks = 0;
        let seen: Option<()> = wait_for(Duration::from_millis(30), || {
            looks += 1;
            None
        });
        assert_eq!(seen, None);
        assert!(looks >= 2, "looked {looks} times");
    }
}

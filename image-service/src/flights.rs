//! Work that several callers ask for at once is done once: all of them wait for the same task.
//!
//! A caller that goes away leaves; when the last one leaves, the task is cancelled. A task has a board, on which it writes
//! how far it is and which all its callers can read.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A task's future.
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Tasks under way, by what they do.
pub(crate) struct Flights<K, T, B> {
    under_way: Arc<Mutex<UnderWay<K, T, B>>>,
}

struct UnderWay<K, T, B> {
    flights: HashMap<K, Flight<T, B>>,
    next_number: u64,
}

struct Flight<T, B> {
    number: u64,
    callers: usize,
    result: watch::Receiver<Option<T>>,
    board: Arc<B>,
    task: AbortHandle,
}

/// A caller's share in a task; dropping it is leaving.
pub(crate) struct Boarded<K: Eq + Hash, T, B> {
    result: watch::Receiver<Option<T>>,
    board: Arc<B>,
    _seat: Seat<K, T, B>,
}

// === impl Flights ===

impl<K, T, B> Default for Flights<K, T, B> {
    fn default() -> Self {
        Self { under_way: Arc::new(Mutex::new(UnderWay { flights: HashMap::new(), next_number: 0 })) }
    }
}

impl<K, T, B> Flights<K, T, B>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
    B: Default + Send + Sync + 'static,
{
    /// Joins the task named `key`, started by `start` unless it is under way.
    pub(crate) fn board(&self, key: K, start: impl FnOnce(Arc<B>) -> Work<T>) -> Boarded<K, T, B> {
        let mut under_way = lock(&self.under_way);
        let UnderWay { flights, next_number } = &mut *under_way;
        let flight = flights.entry(key.clone()).or_insert_with(|| {
            *next_number += 1;
            let number = *next_number;
            let (sender, result) = watch::channel(None);
            let board = Arc::new(B::default());
            let (work, here, key) = (start(Arc::clone(&board)), Arc::clone(&self.under_way), key.clone());
            let task = tokio::spawn(async move {
                // Also when it panics: nobody may join what will never end.
                let ended = Ended { under_way: here, key, number };
                let value = work.await;
                drop(ended);
                sender.send_replace(Some(value));
            });
            Flight { number, callers: 0, result, board, task: task.abort_handle() }
        });
        flight.callers += 1;
        let seat = Seat { under_way: Arc::clone(&self.under_way), key, number: flight.number };
        Boarded { result: flight.result.clone(), board: Arc::clone(&flight.board), _seat: seat }
    }
}

// === impl Boarded ===

impl<K: Eq + Hash, T: Clone, B> Boarded<K, T, B> {
    /// Returns what the task writes on.
    pub(crate) fn board(&self) -> &Arc<B> {
        &self.board
    }

    /// Waits for the end of the task. `None` when it died.
    pub(crate) async fn end(&mut self) -> Option<T> {
        // The sender is dropped without a value only when the task panicked.
        let value = self.result.wait_for(Option::is_some).await.ok()?;
        value.clone()
    }
}

fn lock<K, T, B>(under_way: &Mutex<UnderWay<K, T, B>>) -> MutexGuard<'_, UnderWay<K, T, B>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a flight off the board when its task ends.
struct Ended<K: Eq + Hash, T, B> {
    under_way: Arc<Mutex<UnderWay<K, T, B>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, T, B> Drop for Ended<K, T, B> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.under_way);
        if under_way.flights.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            under_way.flights.remove(&self.key);
        }
    }
}

/// A caller's place; leaving it empty cancels the task.
struct Seat<K: Eq + Hash, T, B> {
    under_way: Arc<Mutex<UnderWay<K, T, B>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, T, B> Drop for Seat<K, T, B> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.under_way);
        let Some(flight) = under_way.flights.get_mut(&self.key).filter(|flight| flight.number == self.number) else {
            return;
        };
        flight.callers -= 1;
        if flight.callers == 0 {
            flight.task.abort();
            under_way.flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::oneshot;

    async fn join<T: Clone + Send + Sync + 'static>(flights: &Flights<u8, T, ()>, work: Work<T>) -> Option<T> {
        flights.board(1, |_board| work).end().await
    }

    #[tokio::test]
    async fn callers_of_the_same_share_one_task() {
        let flights: Flights<u8, usize, ()> = Flights::default();
        let started = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let started = Arc::clone(&started);
            let work = async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                started.fetch_add(1, Ordering::Relaxed) + 1
            };
            join(&flights, Box::pin(work))
        };
        assert_eq!(tokio::join!(ask(), ask(), ask()), (Some(1), Some(1), Some(1)));
        assert_eq!(ask().await, Some(2), "a finished task is not joined");
    }

    #[tokio::test]
    async fn task_is_cancelled_when_the_last_caller_leaves() {
        let flights: Arc<Flights<u8, (), ()>> = Arc::default();
        let (alive, gone) = oneshot::channel::<()>();
        let ask = |work: Work<()>| {
            let flights = Arc::clone(&flights);
            tokio::spawn(async move { join(&flights, work).await })
        };
        let first = ask(Box::pin(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        }));
        tokio::task::yield_now().await;
        let second = ask(Box::pin(async {}));
        tokio::task::yield_now().await;
        first.abort();
        let _ = first.await;
        assert!(!second.is_finished());
        second.abort();
        let _ = second.await;
        assert!(gone.await.is_err(), "the task was dropped");
    }

    #[tokio::test]
    async fn task_that_panics_fails_its_callers_and_is_forgotten() {
        let flights: Flights<u8, u8, ()> = Flights::default();
        assert_eq!(join(&flights, Box::pin(async { panic!("on purpose") })).await, None);
        assert_eq!(join(&flights, Box::pin(async { 7 })).await, Some(7));
    }
}

//! Work that blocks: on threads, bounded in number and time.

use crate::config::{FILES_WITHIN, FOREIGN_MAX, FOREIGN_WITHIN, OWN_MAX};
use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Two pools, so that somebody else's dead file server never holds up our own files.
#[derive(Debug)]
pub(crate) struct Threads {
    own: Arc<Semaphore>,
    foreign: Arc<Semaphore>,
}

impl Threads {
    pub(crate) fn new() -> Self {
        Self { own: Arc::new(Semaphore::new(OWN_MAX)), foreign: Arc::new(Semaphore::new(FOREIGN_MAX)) }
    }

    /// Works on the run folder or on cgroups.
    pub(crate) async fn own<T: Send + 'static>(
        &self,
        tried: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        run(&self.own, tried, FILES_WITHIN, work).await
    }

    /// Looks at files that anybody may serve. A thread that hangs is left behind with its place in the pool.
    pub(crate) async fn foreign<T: Send + 'static>(
        &self,
        tried: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        run(&self.foreign, tried, FOREIGN_WITHIN, work).await
    }
}

async fn run<T: Send + 'static>(
    pool: &Arc<Semaphore>,
    tried: &str,
    bound: Duration,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let late = || Error::Late { tried: tried.to_owned(), bound };
    let bounded = async {
        let place = Arc::clone(pool).acquire_owned().await.expect("the pools are never closed");
        let thread = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(place);
            outcome
        });
        thread.await.map_err(|panicked| Error::io(tried, std::io::Error::other(panicked)))?
    };
    tokio::time::timeout(bound, bounded).await.map_err(|_| late())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hung_look_ends_at_its_bound_and_leaves_the_rest_working() {
        let pool = Arc::new(Semaphore::new(1));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hang = move || {
            let _ = held.recv();
            Ok(())
        };
        let bound = Duration::from_millis(20);
        let first = run(&pool, "look", bound, hang).await;
        assert!(matches!(first, Err(Error::Late { .. })));
        // Its place is taken until the thread comes back.
        assert!(matches!(run(&pool, "look", bound, || Ok(())).await, Err(Error::Late { .. })));
        release.send(()).unwrap();
        assert!(run(&pool, "look", Duration::from_secs(5), || Ok(())).await.is_ok());
    }
}

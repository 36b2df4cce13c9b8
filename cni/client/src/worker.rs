//! The network's thread: takes one job after the other until nobody can send any more.

use crate::config::Parts;
use crate::error::Error;
use crate::moments::Moments;
use crate::node::Node;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Most jobs that wait. A node runs some hundred pods; more waiting than that is a fault, and the caller should hear of it.
const QUEUE_MAX: usize = 1024;

/// One piece of work. It runs to its end even when nobody waits for it any more, and jobs run in the order they came, so a
/// detach that follows an attach that was given up undoes it.
type Job = Box<dyn FnOnce(&mut Node) + Send>;

/// What the thread is doing, for the error of a caller that waited too long.
#[derive(Clone, Debug)]
pub(crate) struct Stage(Arc<Mutex<&'static str>>);

/// The thread and the way to it.
pub(crate) struct Worker {
    /// `None` only while it is being dropped.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    stage: Stage,
}

// === impl Stage ===

impl Stage {
    fn new() -> Self {
        Self(Arc::new(Mutex::new("nothing")))
    }

    pub(crate) fn set(&self, stage: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn get(&self) -> &'static str {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Worker ===

impl Worker {
    /// Starts the thread in the network namespace of the calling one, and waits until it has its sockets.
    pub(crate) fn start(parts: Parts, moments: Moments) -> Result<Self, Error> {
        let stage = Stage::new();
        let (jobs, inbox) = sync_channel(QUEUE_MAX);
        let (started, result) = sync_channel(1);
        let theirs = stage.clone();
        let run = move || match Node::new(parts, moments, theirs) {
            Ok(node) => {
                // The receiver waits just below.
                let _ = started.send(Ok(()));
                work(node, &inbox);
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("orlop-network".to_owned()).spawn(run).map_err(Error::Thread)?;
        result.recv().map_err(|_| Error::Ended)??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), stage })
    }

    /// Has `work` done by the thread and waits for it, but no longer than `wait`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        wait: Duration,
        work: impl FnOnce(&mut Node) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |node| {
            // Nobody listens when the caller gave up; then the state on disk and in the kernel speaks.
            let _ = reply.send(work(node));
        });
        let jobs = self.jobs.as_ref().expect("it is there until it is dropped");
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Error::Busy(QUEUE_MAX),
            TrySendError::Disconnected(_) => Error::Ended,
        })?;
        match tokio::time::timeout(wait, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::Ended),
            Err(_) => Err(Error::TimedOut { stage: self.stage.get(), after: wait }),
        }
    }
}

impl Drop for Worker {
    /// Waits for the thread, which ends with the last job that was sent; each is bounded by its calls to the kernel.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed there.
            let _ = thread.join();
        }
    }
}

fn work(mut node: Node, inbox: &Receiver<Job>) {
    for job in inbox {
        job(&mut node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use orlop_model::ports::Unhindered;
    use std::net::Ipv4Addr;
    use std::path::PathBuf;
    use std::sync::mpsc;

    /// A thread that changes nothing of the node, as long as no job says so.
    fn idle() -> Worker {
        let config = Config {
            name: "test".to_owned(),
            bridge: "never-made".to_owned(),
            subnet: (Ipv4Addr::new(10, 0, 0, 0), 24),
            nat: crate::config::Nat::On,
            nft_table: "never-made".to_owned(),
            ipam_dir: PathBuf::from("never-made"),
            mtu: None,
        };
        Worker::start(config.parse().unwrap(), Moments(Arc::new(Unhindered))).unwrap()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn caller_that_waited_too_long_hears_what_the_network_does_and_the_job_runs_on() {
        let worker = idle();
        let (go, wait) = mpsc::channel::<()>();
        let (done, seen) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let stage = worker.stage.clone();
        let slow = Box::new(move |_: &mut _| {
            stage.set("wait for the test");
            begun.send(()).unwrap();
            let _ = wait.recv();
            done.send(()).unwrap();
        });
        worker.jobs.as_ref().unwrap().try_send(slow).unwrap();
        begins.recv_timeout(Duration::from_secs(5)).unwrap();
        let error = run(worker.run(Duration::from_millis(20), |_| Ok(()))).unwrap_err();
        assert_eq!(error.kind(), orlop_model::ErrorKind::TimedOut);
        assert!(error.to_string().contains("still busy: wait for the test"), "{error}");
        drop(go);
        seen.recv_timeout(Duration::from_secs(5)).unwrap();
        run(worker.run(Duration::from_secs(5), |_| Ok(()))).unwrap();
    }

    #[test]
    fn more_jobs_than_may_wait_are_refused() {
        let worker = idle();
        let (go, wait) = mpsc::channel::<()>();
        let jobs = worker.jobs.clone().unwrap();
        let (begun, begins) = mpsc::channel();
        jobs.try_send(Box::new(move |_| {
            begun.send(()).unwrap();
            let _ = wait.recv();
        }))
        .unwrap();
        // From here on nothing leaves the queue.
        begins.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!((0..QUEUE_MAX).all(|_| jobs.try_send(Box::new(|_| {})).is_ok()));
        let error = run(worker.run(Duration::from_secs(5), |_| Ok(()))).unwrap_err();
        assert_eq!(error.kind(), orlop_model::ErrorKind::Unavailable);
        drop((go, jobs));
    }
}

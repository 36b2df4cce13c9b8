//! One span and at most one log line per request.

use crate::status;
use orlop_model::{ErrorKind, Failure};
use std::future::Future;
use std::time::{Duration, Instant};
use tonic::{Response, Status};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug, info, info_span, warn};

/// What a request does to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Changes it: worth a line in the log.
    Changes,
    /// Only looks: a kubelet does this every second.
    Looks,
}

/// Answers a request: runs `work` in a span of its own, at most `limit`, and says how it ended.
pub(crate) async fn answer<T>(
    id: u64,
    rpc: &'static str,
    effect: Effect,
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Response<T>, Status> {
    let namespace = crate::namespace().0;
    let span = info_span!("request", id, rpc, namespace, sandbox = Empty, container = Empty, image = Empty);
    async {
        let waiting = Waiting { effect, since: Instant::now(), answered: false };
        let result = match limit {
            None => work.await,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(out_of_time(effect))),
        };
        waiting.ended(result.as_ref().err());
        result.map(Response::new).map_err(|failure| status::of(&failure))
    }
    .instrument(span)
    .await
}

fn out_of_time(effect: Effect) -> Failure {
    let message = match effect {
        Effect::Changes => "the caller's deadline is over; what was begun goes on, and the same request joins it",
        Effect::Looks => "the caller's deadline is over",
    };
    Failure::new(ErrorKind::TimedOut, message)
}

/// Notes in the span which sandbox a request is about.
pub(crate) fn about_sandbox(id: &str) {
    Span::current().record("sandbox", crate::translate::quoted(id).trim_matches('"'));
}

/// Notes in the span which container a request is about.
pub(crate) fn about_container(id: &str) {
    Span::current().record("container", crate::translate::quoted(id).trim_matches('"'));
}

/// Notes in the span which image a request is about.
pub(crate) fn about_image(reference: &str) {
    Span::current().record("image", crate::translate::quoted(reference).trim_matches('"'));
}

/// A request that has not been answered. Dropped, when its caller has gone: what was begun goes on in the core.
struct Waiting {
    effect: Effect,
    since: Instant,
    answered: bool,
}

// === impl Waiting ===

impl Waiting {
    fn ended(mut self, failure: Option<&Failure>) {
        self.answered = true;
        let duration_us = self.duration_us();
        match (self.effect, failure) {
            (Effect::Changes, None) => info!(duration_us, "done"),
            (Effect::Changes, Some(failure)) => warn!(duration_us, kind = ?failure.kind, error = %failure, "refused"),
            (Effect::Looks, None) => debug!(duration_us, "done"),
            (Effect::Looks, Some(failure)) => debug!(duration_us, kind = ?failure.kind, error = %failure, "refused"),
        }
    }

    fn duration_us(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.answered {
            info!(duration_us = self.duration_us(), "left by its caller; what was begun goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    /// tonic alone would say CANCELLED: a kubelet takes only this code for a time-out.
    #[tokio::test]
    async fn a_deadline_that_is_over_is_deadline_exceeded() {
        let never = std::future::pending::<Result<(), Failure>>();
        let status = answer(1, "run_pod_sandbox", Effect::Changes, Some(Duration::ZERO), never).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("the same request joins it"), "{status:?}");
    }

    #[tokio::test]
    async fn what_is_ready_at_the_deadline_is_answered() {
        let ready = std::future::ready(Ok(7));
        let answer = answer(1, "version", Effect::Looks, Some(Duration::ZERO), ready).await.unwrap();
        assert_eq!(answer.into_inner(), 7);
    }
}

//! `POST /containers/{id}/stop` and `/restart`

use super::find::{self, Found};
use crate::events::Trigger;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::translate::signal;
use hyper::StatusCode;
use orlop_model::Failure;
use std::future::Future;
use std::time::Duration;

/// Time between the stop signal and the kill, when nothing is said.
const GRACE: Duration = Duration::from_secs(10);
/// As good as for ever.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);
/// How much earlier a kill is told than done: its word must not come behind that of the end.
const BEFORE_KILL: Duration = Duration::from_millis(5);
/// SIGKILL; signal(7).
const SIGKILL: u8 = 9;

pub(crate) async fn stop(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let asked = asked(call, &found)?;
    let runs = found.view.state.task().is_some();
    let is_restarting = found.annex.is_restarting(&found.view.state);
    if runs {
        call.app.then(found.id(), Trigger::Died, "stop");
    }
    told(call, &found, asked, call.app.policies.stop(found.id(), asked.signal, asked.grace)).await?;
    empty(if runs || is_restarting { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED })
}

pub(crate) async fn restart(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let asked = asked(call, &found)?;
    if found.view.state.task().is_some() {
        call.app.then(found.id(), Trigger::Died, "stop");
    }
    call.app.then(found.id(), Trigger::Started, "restart");
    told(call, &found, asked, call.app.policies.restart(found.id(), asked.signal, asked.grace)).await?;
    empty(StatusCode::NO_CONTENT)
}

/// What is asked of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    /// By which signal; `None` is the container's own.
    signal: Option<u8>,
    /// How long after it the kill follows.
    grace: Duration,
    /// Whether it is the kill alone.
    kill_alone: bool,
}

/// Returns the signal and the time asked for.
fn asked(call: &Call, found: &Found) -> Result<Asked, ApiError> {
    let grace = grace(call.query.number("t")?, found.annex.config.stop_timeout);
    Ok(match call.query.text("signal") {
        "" => Asked { signal: None, grace, kill_alone: false },
        text => match signal::parse(text)? {
            // Nothing is left to wait for.
            SIGKILL => Asked { signal: None, grace: Duration::ZERO, kill_alone: true },
            signal => Asked { signal: Some(signal), grace, kill_alone: false },
        },
    })
}

/// Stops a container, and tells the signals that it gets as they are due.
async fn told<T>(
    call: &Call,
    found: &Found,
    asked: Asked,
    stop: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(task) = found.view.state.task() else { return stop.await };
    let tell = |signal: u8| call.app.tell_of(found, "kill", &[("signal", &signal.to_string())]);
    if !asked.kill_alone {
        tell(asked.signal.unwrap_or(task.checked.stop_signal));
    }
    if asked.grace.is_zero() {
        tell(SIGKILL);
        return stop.await;
    }
    let mut stop = std::pin::pin!(stop);
    tokio::select! {
        done = &mut stop => return done,
        () = tokio::time::sleep(asked.grace.saturating_sub(BEFORE_KILL)) => tell(SIGKILL),
    }
    stop.await
}

/// Returns the time asked for, else the container's, else the usual.
fn grace(asked: Option<i64>, own: Option<i64>) -> Duration {
    match asked.or(own) {
        None => GRACE,
        Some(seconds) => u64::try_from(seconds).map_or(NEVER, |seconds| Duration::from_secs(seconds).min(NEVER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_asked_for_wins_and_below_zero_is_for_ever() {
        let second = Duration::from_secs;
        for (asked, own, expected) in [
            (None, None, GRACE),
            (None, Some(3), second(3)),
            (Some(0), Some(3), second(0)),
            (Some(-1), None, NEVER),
            (Some(i64::MAX), None, NEVER),
        ] {
            assert_eq!(grace(asked, own), expected);
        }
    }
}

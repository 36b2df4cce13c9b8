//! `POST /containers/{id}/stop` and `/restart`

use super::find::{self, Found};
use crate::events::Trigger;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::translate::signal;
use hyper::StatusCode;
use std::time::Duration;

/// Time between the stop signal and the kill, when nothing is said.
const GRACE: Duration = Duration::from_secs(10);
/// As good as for ever.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);
/// SIGKILL; signal(7).
const SIGKILL: u8 = 9;

pub(crate) async fn stop(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let (signal, grace) = asked(call, &found)?;
    let runs = found.view.state.task().is_some();
    if runs {
        call.app.then(found.id(), Trigger::Died, "stop");
    }
    let is_restarting = found.annex.is_restarting(&found.view.state);
    call.app.policies.stop(found.id(), signal, grace).await?;
    empty(if runs || is_restarting { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED })
}

pub(crate) async fn restart(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let (signal, grace) = asked(call, &found)?;
    if found.view.state.task().is_some() {
        call.app.then(found.id(), Trigger::Died, "stop");
    }
    call.app.then(found.id(), Trigger::Started, "restart");
    call.app.policies.restart(found.id(), signal, grace).await?;
    empty(StatusCode::NO_CONTENT)
}

/// Returns the signal and the time asked for.
fn asked(call: &Call, found: &Found) -> Result<(Option<u8>, Duration), ApiError> {
    let grace = grace(call.query.number("t")?, found.annex.config.stop_timeout);
    Ok(match call.query.text("signal") {
        "" => (None, grace),
        text => match signal::parse(text)? {
            // Nothing is left to wait for.
            SIGKILL => (None, Duration::ZERO),
            signal => (Some(signal), grace),
        },
    })
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

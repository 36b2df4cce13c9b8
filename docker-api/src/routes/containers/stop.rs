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
    if found.view.state.task().is_none() && !found.annex.is_restarting() {
        return empty(StatusCode::NOT_MODIFIED);
    }
    call.app.stopped_by_user(&found).await?;
    call.app.then(found.id(), Trigger::Died, "stop");
    end(call, &found).await?;
    empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn restart(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    if found.view.state.task().is_some() {
        call.app.then(found.id(), Trigger::Died, "stop");
        end(call, &found).await?;
    }
    call.app.then(found.id(), Trigger::Started, "restart");
    let fresh = find::container(&call.app, found.id().as_str())?;
    call.app.start(&fresh).await?;
    empty(StatusCode::NO_CONTENT)
}

/// Ends what runs, by the signal and within the time asked for.
async fn end(call: &Call, found: &Found) -> Result<(), ApiError> {
    let grace = grace(call.query.number("t")?, found.annex.config.stop_timeout);
    let facade = &call.app.facade;
    match call.query.text("signal") {
        "" => facade.stop_container(found.id(), grace).await?,
        text => match signal::parse(text)? {
            SIGKILL => facade.stop_container(found.id(), Duration::ZERO).await?,
            signal => facade.stop_container_by(found.id(), signal, grace).await?,
        },
    };
    Ok(())
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

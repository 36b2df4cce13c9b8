//! `POST /containers/prune`

use super::find::Found;
use super::list::sizes;
use crate::http::error::ApiError;
use crate::http::filters::Filters;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::time::parse_asked;
use crate::view::state::Status;
use orlop_model::Timestamp;
use orlop_model::container_state::Force;
use serde_json::json;
use std::time::Duration;

pub(crate) async fn answer(call: &Call) -> Answered {
    let filters = Filters::of(&call.query, &["until", "label", "label!"])?;
    let until = until(&filters)?;
    let goes = |found: &Found| {
        let labels = found.annex.config.labels.clone().unwrap_or_default();
        let stopped = match Status::of(&found.view.state, &found.annex) {
            Status::Created | Status::Exited => true,
            Status::Running | Status::Paused | Status::Restarting | Status::Removing => false,
        };
        let unwanted = filters.values("label!");
        stopped
            && until.is_none_or(|until| found.view.asked.created_at < until)
            && filters.labels_fit("label", |name| labels.get(name).cloned())
            && !unwanted.iter().any(|wanted| crate::http::filters::has_label(wanted, |name| labels.get(name).cloned()))
    };
    let found: Vec<Found> = call.app.facade.containers().into_iter().map(Found::new).filter(goes).collect();
    let sizes = sizes(&call.app, &found).await?;
    let (mut deleted, mut bytes) = (Vec::new(), 0);
    for one in &found {
        // One that was started meanwhile stays.
        if call.app.remove(one, Force::No).await.is_ok() {
            deleted.push(one.id().as_str().to_owned());
            bytes += sizes.get(one.id().as_str()).map_or(0, |sizes| sizes.written);
        }
    }
    json(
        &json!({ "ContainersDeleted": if deleted.is_empty() { None } else { Some(deleted) }, "SpaceReclaimed": bytes }),
    )
}

/// Reads the time of the filter `until`: a point in time, or how long ago (`10m`, `1h30m`).
pub(crate) fn until(filters: &Filters) -> Result<Option<Timestamp>, ApiError> {
    match filters.values("until") {
        [] => Ok(None),
        [one] => match ago(one) {
            Some(ago) => Ok(Some(Timestamp(crate::time::now().0 - i64::try_from(ago.as_nanos()).unwrap_or_default()))),
            None => parse_asked(one),
        },
        _ => Err(ApiError::bad("more than one until filter specified")),
    }
}

/// Reads a duration as Go writes it.
fn ago(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut all = Duration::ZERO;
    while !rest.is_empty() {
        let at = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..at].parse().ok()?;
        let end = rest[at..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| at + end);
        let seconds = match &rest[at..end] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        all = all.checked_add(Duration::from_secs(number.checked_mul(seconds)?))?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_ago_is_read_as_go_writes_it() {
        for (text, seconds) in [
            ("10m", Some(600)),
            ("1h30m", Some(5400)),
            ("5s", Some(5)),
            ("", None),
            ("5", None),
            ("x", None),
            ("5d", None),
        ] {
            assert_eq!(ago(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}

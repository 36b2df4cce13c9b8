//! `GET /events`: what has happened since, and what happens until.

use crate::events::FILTERS;
use crate::http::filters::Filters;
use crate::http::reply::{Answered, streamed, typed};
use crate::http::server::Call;
use crate::time::parse_asked;
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Events on their way to one client; one that reads slower is caught up from what is kept.
const ON_THEIR_WAY_MAX: usize = 16;

pub(crate) fn answer(call: &Call) -> Answered {
    let filters = Filters::of(&call.query, FILTERS)?;
    let since = parse_asked(call.query.text("since"))?;
    let until = parse_asked(call.query.text("until"))?;
    let (tell, told) = mpsc::channel(ON_THEIR_WAY_MAX);
    let app = Arc::clone(&call.app);
    // Owned by the body: it ends when the client has gone, since nothing can be sent then.
    tokio::spawn(async move {
        let now = crate::time::now();
        let mut listener = app.events.listen(since.or_else(|| until.map(|_| now)));
        let mut over = std::pin::pin!(passed(until.map(|until| until.since(now))));
        loop {
            let event = tokio::select! {
                // What is there already is sent also when no time is left, and however slow the client.
                biased;
                event = listener.next() => event,
                () = tell.closed() => return,
                () = &mut over => return,
            };
            if until.is_some_and(|until| event.at > until) {
                return;
            }
            let mut line = event.shown().to_string();
            line.push('\n');
            if event.fits(&filters) && tell.send(Bytes::from(line)).await.is_err() {
                return;
            }
        }
    });
    let lines = stream::unfold(told, |mut told| async move { told.recv().await.map(|line| (line, told)) });
    Ok(typed(StatusCode::OK, "application/json", streamed(lines)))
}

/// Comes to its end when a time has passed; without one, never.
async fn passed(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left.max(FLUSH)).await,
        None => std::future::pending().await,
    }
}

/// How long is waited at least for what is being told already.
const FLUSH: Duration = Duration::from_millis(50);

//! `POST /containers/{id}/wait`: the head is answered at once, the exit status when it is known.

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, streamed, typed};
use crate::http::server::Call;
use crate::life::Life;
use crate::view::state::{exit_code, start_error};
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use orlop_model::Timestamp;
use serde_json::json;
use std::sync::Arc;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// That it does not run.
    NotRunning,
    /// That it ends, from now on.
    NextExit,
    /// That it is gone.
    Removed,
}

pub(crate) fn answer(call: &Call) -> Answered {
    let condition = match call.query.text("condition") {
        "" | "not-running" => Condition::NotRunning,
        "next-exit" => Condition::NextExit,
        "removed" => Condition::Removed,
        other => return Err(ApiError::bad(format!("invalid condition: {other:?}"))),
    };
    let found = find::container(&call.app, call.name())?;
    // From before the head is sent: the client starts the container when it has read it.
    let mut life = Life::watch(&call.app.facade, found.id());
    let (app, id) = (Arc::clone(&call.app), found.id().clone());
    let body = stream::once(async move {
        let answer = wait(&mut life, condition).await;
        if life.view().is_none() {
            // Its name and its volumes are free when the client hears of it; the relay of news may be behind.
            drop(app.blocking(move |app| app.release(&id)).await);
        }
        Bytes::from(answer)
    });
    Ok(typed(StatusCode::OK, "application/json", streamed(body)))
}

async fn wait(life: &mut Life, condition: Condition) -> String {
    let before = finished(life);
    while !over(life, condition, before) {
        life.changed().await;
    }
    life.is_down().await;
    let end = life.end();
    let mut answer = json!({ "StatusCode": end.map_or(0, |ended| exit_code(&ended.exit)) });
    // Whoever waits for the removal hears of its faults alone; that it could not be started, the start has told.
    let told = condition != Condition::Removed;
    if let Some(wrong) = end.map(|ended| start_error(&ended.exit)).filter(|wrong| told && !wrong.is_empty()) {
        answer["Error"] = json!({ "Message": wrong });
    }
    format!("{answer}\n")
}

fn finished(life: &Life) -> Option<Timestamp> {
    life.end().map(|ended| ended.finished)
}

fn over(life: &Life, condition: Condition, before: Option<Timestamp>) -> bool {
    match condition {
        _ if life.view().is_none() => true,
        // One that a policy is about to start again runs, as far as clients go; but each of its ends is one.
        Condition::NotRunning => !life.runs() && (!life.is_restarting() || finished(life) != before),
        Condition::NextExit => !life.runs() && finished(life) != before,
        Condition::Removed => false,
    }
}

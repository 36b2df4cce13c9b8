//! `POST /containers/{id}/kill`

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::translate::signal;
use hyper::StatusCode;

pub(crate) async fn answer(call: &Call) -> Answered {
    kill(call).await.map_err(|refused| refused.while_trying(format!("cannot kill container: {}", call.name())))
}

async fn kill(call: &Call) -> Answered {
    let asked = match call.query.text("signal") {
        "" => "SIGKILL",
        text => text,
    };
    let signal = signal::parse(asked)?;
    let found = find::container(&call.app, call.name())?;
    let id = found.id();
    if found.view.state.task().is_none() {
        return Err(ApiError::conflict(format!("container {id} is not running")));
    }
    call.app.tell_of(&found, "kill", &[("signal", &signal.to_string())]);
    call.app.policies.kill(id, signal).await?;
    empty(StatusCode::NO_CONTENT)
}

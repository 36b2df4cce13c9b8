//! `POST /containers/{id}/start`

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::stream::detach::DetachKeys;
use hyper::StatusCode;
use orlop_model::container_state::{ContainerState, Exit};
use orlop_model::{ErrorKind, Failure};
use orlop_usecases::Changed;

pub(crate) async fn answer(call: &Call) -> Answered {
    DetachKeys::parse(call.query.text("detachKeys"))?;
    let found = find::container(&call.app, call.name())?;
    match &found.view.state {
        ContainerState::Frozen(_) => {
            return Err(ApiError::conflict("cannot start a paused container, try unpause instead"));
        }
        ContainerState::Running(_) | ContainerState::Stopping { .. } | ContainerState::Lost(_) => {
            return empty(StatusCode::NOT_MODIFIED);
        }
        ContainerState::Removing(_) | ContainerState::Gone { .. } => {
            return Err(ApiError::conflict("container is marked for removal and cannot be started"));
        }
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {}
        ContainerState::Exited { .. } => {}
    }
    match call.app.start(&found).await {
        Ok(Changed::Yes) => empty(StatusCode::NO_CONTENT),
        Ok(Changed::No) => empty(StatusCode::NOT_MODIFIED),
        Err(failure) => Err(refused(call, &found, failure)),
    }
}

/// Says why it could not be started, in the words from which clients tell 126 and 127.
fn refused(call: &Call, found: &find::Found, failure: Failure) -> ApiError {
    let view = find::container(&call.app, found.id().as_str()).ok();
    let end = view.as_ref().and_then(|found| found.view.state.end());
    let program = found.annex.command.first().map(String::as_str).unwrap_or_default();
    let why = match end.map(|ended| &ended.exit) {
        Some(Exit::NeverStarted { code: 127, .. }) if !program.contains('/') => "executable file not found in $PATH",
        Some(Exit::NeverStarted { code: 127, .. }) => "no such file or directory",
        Some(Exit::NeverStarted { code: 126, .. }) => "permission denied",
        Some(Exit::NeverStarted { .. } | Exit::Code { .. } | Exit::Signal { .. } | Exit::Unstarted | Exit::Unknown)
        | None => {
            return of_node(found, failure);
        }
    };
    ApiError::bad(format!(
        "failed to create task for container: OCI runtime create failed: unable to start container process: exec: {program:?}: {why}: unknown"
    ))
}

/// A failure that is not the program's: a port that is taken is told in dockerd's words.
fn of_node(found: &find::Found, failure: Failure) -> ApiError {
    let taken = matches!(failure.kind, ErrorKind::WrongState | ErrorKind::AlreadyExists);
    if !taken || !failure.message.contains("port") {
        return failure.into();
    }
    ApiError::internal(format!(
        "failed to set up container networking: driver failed programming external connectivity on endpoint {}: {}",
        found.annex.name, failure.message
    ))
}

//! `POST /containers/{id}/start`

use super::find;
use crate::app::App;
use crate::http::error::{ApiError, known_words};
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::not_started::{NotStarted, Why};
use crate::stream::detach::DetachKeys;
use hyper::StatusCode;
use orlop_model::Failure;
use orlop_model::container_state::{ContainerState, Exit};
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
    call.app.make_ready(&found).await.map_err(|failure| of_node(&found, failure))?;
    // Until it is known what was wrong: one that is removed at its end can't be looked at any more.
    let _hold = call.app.policies.hold(found.id()).await;
    match call.app.policies.start_held(found.id()).await {
        Ok(Changed::Yes) => empty(StatusCode::NO_CONTENT),
        Ok(Changed::No) => empty(StatusCode::NOT_MODIFIED),
        Err(failure) => Err(refused(&call.app, &found, failure).await),
    }
}

/// Says why it could not be started, in the words from which clients tell 126 and 127.
async fn refused(app: &App, found: &find::Found, failure: Failure) -> ApiError {
    let view = find::container(app, found.id().as_str()).ok();
    let end = view.as_ref().and_then(|found| found.view.state.end());
    let Some(Exit::NeverStarted { code, .. }) = end.map(|ended| &ended.exit) else {
        return of_node(found, failure);
    };
    let folder = &found.annex.config.working_dir;
    let why = NotStarted { code: *code, program: program(found), folder };
    match why.look(app, found.id()).await {
        Why::Program(why) => ApiError::bad(format!(
            "failed to create task for container: OCI runtime create failed: unable to start container process: {why}"
        )),
        Why::NoFolder(_) => ApiError::internal(format!("Cannot mkdir: {folder} is not a directory")),
        Why::Other => of_node(found, failure),
    }
}

fn program(found: &find::Found) -> &str {
    found.annex.command.first().map(String::as_str).unwrap_or_default()
}

/// A failure that is not the program's: a port that is taken is told in dockerd's words.
fn of_node(found: &find::Found, failure: Failure) -> ApiError {
    let told = known_words(&failure.message);
    if !told.starts_with("Bind for ") {
        return failure.into();
    }
    let (name, id) = (&found.annex.name, found.id());
    ApiError::internal(format!(
        "failed to set up container networking: driver failed programming external connectivity on endpoint {name} ({id}): {told}"
    ))
}

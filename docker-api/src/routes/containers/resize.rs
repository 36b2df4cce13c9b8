//! `POST /containers/{id}/resize`

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::translate::terminal;
use hyper::StatusCode;

pub(crate) async fn answer(call: &Call) -> Answered {
    let size = terminal::of_query(&call.query)?;
    let found = find::container(&call.app, call.name())?;
    if found.view.state.task().is_none() {
        return Err(ApiError::conflict(format!("container {} is not running", found.id())));
    }
    crate::seam::resize(&call.app.facade, found.id(), size).await?;
    call.app.tell_of(&found, "resize", &[("height", &size.rows.to_string()), ("width", &size.columns.to_string())]);
    empty(StatusCode::OK)
}

//! `GET /containers/{id}/changes`: what a container has changed of its image's files.

use super::find;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::view::changes::shown;

pub(crate) async fn answer(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let changes = call.app.facade.images().changes(found.id()).await?;
    json(&shown(&changes))
}

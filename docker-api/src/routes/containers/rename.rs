//! `POST /containers/{id}/rename`

use super::find;
use crate::annex::Annex;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::names;
use hyper::StatusCode;

pub(crate) async fn answer(call: &Call) -> Answered {
    if call.query.text("name").is_empty() {
        return Err(ApiError::bad("Neither old nor new names may be empty"));
    }
    let found = find::container(&call.app, call.name())?;
    let (id, old) = (found.id(), &found.annex.name);
    let asked = call.query.text("name");
    let whole = if asked.starts_with('/') { asked.to_owned() } else { format!("/{asked}") };
    let allocating = |refused: ApiError| refused.while_trying("Error when allocating new name");
    let name = names::parse(&whole).map_err(allocating)?;
    if name == *old {
        return Err(ApiError::conflict("Renaming a container with the same name as its current name"));
    }
    call.app.names.take(&name, id).map_err(allocating)?;
    let changed =
        call.app.facade.change_annex(id, |bytes| Some(Annex { name: name.clone(), ..Annex::parse(bytes) }.bytes()));
    match changed.await {
        Ok(_) => call.app.names.release(old, id),
        Err(failure) => {
            call.app.names.release(&name, id);
            return Err(failure.into());
        }
    }
    let fresh = find::container(&call.app, id.as_str())?;
    call.app.tell_of(&fresh, "rename", &[("oldName", &format!("/{old}"))]);
    empty(StatusCode::NO_CONTENT)
}

//! `GET /volumes/{name}`

use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::view::volume::shown;
use crate::volumes::missing;

pub(crate) fn answer(call: &Call) -> Answered {
    let volume = call.app.volumes.find(call.name()).ok_or_else(|| missing(call.name()))?;
    json(&shown(&volume, &call.app.volumes))
}

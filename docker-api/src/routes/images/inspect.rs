//! `GET /images/{name}/json`

use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::view::image;

pub(crate) async fn answer(call: &Call) -> Answered {
    let found = super::find(&call.app, call.name()).await?;
    json(&image::inspect(&found, call.version))
}

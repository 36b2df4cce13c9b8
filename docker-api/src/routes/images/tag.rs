//! `POST /images/{name}/tag`

use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use hyper::StatusCode;
use orlop_model::reference::{Reference, Version};
use std::collections::BTreeMap;

pub(crate) async fn answer(call: &Call) -> Answered {
    let (repo, tag) = (call.query.text("repo"), call.query.text("tag"));
    let name = if tag.is_empty() { repo.to_owned() } else { format!("{repo}:{tag}") };
    let invalid = || ApiError::bad("invalid reference format");
    let reference = Reference::parse(&name).map_err(|_| invalid())?;
    match reference.version() {
        Version::Tag(_) => {}
        Version::Digest(_) => return Err(ApiError::bad("refusing to create a tag with a digest reference")),
    }
    let found = super::find(&call.app, call.name()).await?;
    let id = call.app.facade.images().tag(call.name(), &name, &crate::app::namespace()).await?;
    debug_assert_eq!(id, found.id);
    let attributes = BTreeMap::from([("name".to_owned(), reference.familiar())]);
    call.app.events.tell(crate::time::now(), "image", "tag", id.to_string(), attributes);
    empty(StatusCode::CREATED)
}

//! `GET /containers/{id}/json`

use super::find;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::view::inspect::{Around, shown};

pub(crate) async fn answer(call: &Call) -> Answered {
    let app = &call.app;
    let found = find::container(app, call.name())?;
    let sandbox = app.facade.sandbox_of(&found.view);
    let sizes = match call.query.flag("size") {
        true => super::list::sizes(app, std::slice::from_ref(&found)).await?.into_values().next(),
        false => None,
    };
    let image = app.facade.images().find(found.view.asked.spec.image.0.as_str()).await?;
    let manifest = image.and_then(|image| image.digests.first()?.split_once('@').map(|(_, digest)| digest.to_owned()));
    let execs = app.execs.of(found.id());
    let around = Around { sandbox: sandbox.as_deref(), execs, sizes, manifest, version: call.version };
    json(&shown(&found.view, &found.annex, &around))
}

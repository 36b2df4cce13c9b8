//! `POST /volumes/create`

use crate::dto::volume::{VOLUME, VolumeRequest};
use crate::http::body::{self, Asked};
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json_with};
use crate::http::server::Call;
use crate::translate::volumes::{check_driver, check_name};
use crate::view::volume::shown;
use crate::volumes::Volume;
use hyper::StatusCode;

pub(crate) async fn answer(call: Call) -> Answered {
    let Call { app, request, .. } = call;
    let (head, body) = request.into_parts();
    let asked: Asked<VolumeRequest> = body::json(&head.headers, body, "CreateOptions", VOLUME).await?;
    app.metrics.unknown.inc_by(asked.unknown);
    let asked = asked.value.unwrap_or_default();
    check_driver(&asked.driver)?;
    let anonymous = asked.name.is_empty();
    let name = if anonymous { app.facade.fresh_id().as_str().to_owned() } else { check_name(&asked.name)?.to_owned() };
    let is_new = app.volumes.find(&name).is_none();
    let wanted =
        Volume { name: name.clone(), created: crate::time::now(), labels: asked.labels, anonymous, goes_with: None };
    let made = app.blocking(move |app| app.volumes.create(wanted)).await?;
    let volume = made.map_err(|wrong| ApiError::internal(format!("create {name}: {wrong}")))?;
    if is_new {
        super::tell_of(&app, &volume, "create");
    }
    json_with(StatusCode::CREATED, &shown(&volume, &app.volumes))
}

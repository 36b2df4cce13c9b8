//! `GET /system/df`

use crate::app::App;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::http::version::Version;
use crate::routes::containers::find::Found;
use crate::routes::containers::list_sizes;
use crate::routes::images::{counts, shared};
use crate::view::volume::with_usage;
use crate::view::{image, summary};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const TYPES: &[&str] = &["container", "image", "volume", "build-cache"];

pub(crate) async fn answer(call: &Call) -> Answered {
    let wanted: Vec<&str> = call.query.all("type").collect();
    if let Some(bad) = wanted.iter().find(|kind| !TYPES.contains(kind)) {
        return Err(ApiError::bad(format!("unknown object type: {bad}")));
    }
    let wants = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
    let mut usage = Map::new();
    if wants("image") {
        let images = call.app.facade.images().list().await?;
        // Layers are counted once, whoever has them.
        let layers: BTreeMap<_, _> =
            images.iter().flat_map(|image| &image.layers).map(|layer| (&layer.diff_id, layer.bytes)).collect();
        let counts = counts(&call.app);
        let lines = images.iter().map(|one| {
            let mut line =
                image::summary(one, counts.get(&one.id.to_string()).copied().unwrap_or_default(), call.version);
            line["SharedSize"] = json!(shared(one, &images));
            line
        });
        usage.insert("LayersSize".to_owned(), json!(layers.values().sum::<u64>()));
        usage.insert("Images".to_owned(), lines.collect());
    }
    if wants("container") {
        usage.insert("Containers".to_owned(), containers(call).await?);
    }
    if wants("volume") {
        let all = |app: &App| app.volumes.list().iter().map(|volume| with_usage(volume, &app.volumes)).collect();
        usage.insert("Volumes".to_owned(), call.app.blocking(all).await?);
    }
    if wants("build-cache") {
        usage.insert("BuildCache".to_owned(), json!([]));
        if call.version < Version::v1(42) {
            usage.insert("BuilderSize".to_owned(), json!(0));
        }
    }
    json(&Value::Object(usage))
}

async fn containers(call: &Call) -> Result<Value, ApiError> {
    let app = &call.app;
    let found: Vec<Found> = app.facade.containers().into_iter().map(Found::new).collect();
    let sizes = list_sizes(app, &found).await?;
    let now = crate::time::now();
    let lines = found.iter().map(|found| {
        let sandbox = app.facade.sandbox_of(&found.view);
        let sizes = sizes.get(found.id().as_str()).copied();
        summary::shown(&found.view, &found.annex, sandbox.as_deref(), sizes, call.version, now)
    });
    Ok(lines.collect())
}

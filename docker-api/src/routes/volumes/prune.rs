//! `POST /volumes/prune`

use crate::http::filters::{Filters, has_label};
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::http::version::Version;
use crate::volumes::Volume;
use serde_json::json;

pub(crate) async fn answer(call: &Call) -> Answered {
    let filters = Filters::of(&call.query, &["label", "label!", "all"])?;
    // Named ones too before 1.42.
    let all = filters.flag("all")?.unwrap_or(call.version < Version::v1(42));
    let goes = |volume: &Volume| {
        let label = |name: &str| volume.labels.get(name).cloned();
        (all || volume.anonymous)
            && call.app.volumes.holders(&volume.name) == 0
            && filters.labels_fit("label", label)
            && !filters.values("label!").iter().any(|wanted| has_label(wanted, label))
    };
    let wanted: Vec<Volume> = call.app.volumes.list().into_iter().filter(goes).collect();
    let removed = call.app.blocking(move |app| {
        let mut removed = (Vec::new(), 0);
        for volume in wanted {
            let bytes = app.volumes.bytes(&volume.name);
            // One that was taken meanwhile stays.
            if app.volumes.remove(&volume.name).is_ok() {
                super::tell_of(app, &volume, "destroy");
                removed.0.push(volume.name);
                removed.1 += bytes;
            }
        }
        removed
    });
    let (names, bytes) = removed.await?;
    json(&json!({ "VolumesDeleted": names, "SpaceReclaimed": bytes }))
}

//! `POST /images/prune`

use super::remove;
use crate::http::filters::{Filters, has_label};
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::routes::containers::prune_until;
use crate::time::parse_rfc3339;
use orlop_model::image::Image;
use orlop_model::image_removal::RemovalRule;
use serde_json::json;

pub(crate) async fn answer(call: &Call) -> Answered {
    let filters = Filters::of(&call.query, &["dangling", "until", "label", "label!"])?;
    let dangling_only = filters.flag("dangling")?.unwrap_or(true);
    let until = prune_until(&filters)?;
    let app = &call.app;
    let used: Vec<_> = app.facade.images_in_use().into_iter().map(|(image, _)| image).collect();
    let goes = |image: &Image| {
        let label =
            |name: &str| image.config.labels.iter().find(|(there, _)| there == name).map(|(_, value)| value.clone());
        let made = parse_rfc3339(&image.origin.created);
        !used.contains(&image.id)
            && (!dangling_only || image.tags.is_empty())
            && until.is_none_or(|until| made.is_some_and(|made| made < until))
            && filters.labels_fit("label", label)
            && !filters.values("label!").iter().any(|wanted| has_label(wanted, label))
    };
    let images: Vec<Image> = app.facade.images().list().await?.into_iter().filter(goes).collect();
    let (mut deleted, mut bytes) = (Vec::new(), 0);
    for image in images {
        // What others hold stays, and is no failure.
        let Ok(removed) = remove::remove(app, image.id.0.as_str(), RemovalRule::NamedByForce).await else { continue };
        bytes += if removed.image.is_some() { image.bytes } else { 0 };
        deleted.extend(remove::shown(&removed));
    }
    json(&json!({ "ImagesDeleted": if deleted.is_empty() { None } else { Some(deleted) }, "SpaceReclaimed": bytes }))
}

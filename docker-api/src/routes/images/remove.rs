//! `DELETE /images/{name}`

use crate::app::App;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::view::image::familiar;
use orlop_model::image_removal::{RemovalRule, Removed};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) async fn answer(call: &Call) -> Answered {
    let rule = if call.query.flag("force") { RemovalRule::NamedByForce } else { RemovalRule::Named };
    super::find(&call.app, call.name()).await?;
    let removed = remove(&call.app, call.name(), rule).await?;
    json(&shown(&removed))
}

/// Removes a name, and the image with its last one, and tells of it.
pub(super) async fn remove(app: &App, name: &str, rule: RemovalRule) -> Result<Removed, ApiError> {
    let removed = app.facade.remove_image(name, rule).await?;
    if removed.untagged.is_empty() && removed.image.is_none() {
        return Err(super::missing(name));
    }
    let now = crate::time::now();
    for name in familiar(&removed.untagged) {
        let attributes = BTreeMap::from([("name".to_owned(), name.clone())]);
        let id = removed.image.as_ref().map_or(name, ToString::to_string);
        app.events.tell(now, "image", "untag", id, attributes);
    }
    if let Some(id) = &removed.image {
        let attributes = BTreeMap::from([("name".to_owned(), id.to_string())]);
        app.events.tell(now, "image", "delete", id.to_string(), attributes);
    }
    Ok(removed)
}

/// Returns what went, as clients read it.
pub(super) fn shown(removed: &Removed) -> Vec<Value> {
    let names = familiar(&removed.untagged).into_iter().map(|name| json!({ "Untagged": name }));
    let image = removed.image.iter().map(|id| json!({ "Deleted": id.to_string() }));
    let layers = removed.layers.iter().map(|layer| json!({ "Deleted": layer.to_string() }));
    names.chain(image).chain(layers).collect()
}

//! `GET /volumes`

use crate::http::filters::Filters;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::view::volume::shown;
use crate::volumes::{LOCAL, Volume};
use serde_json::json;

pub(crate) fn answer(call: &Call) -> Answered {
    let filters = Filters::of(&call.query, &["dangling", "driver", "label", "name"])?;
    let volumes = &call.app.volumes;
    let dangling = filters.flag("dangling")?;
    let fits = |volume: &Volume| {
        dangling.is_none_or(|dangling| dangling == (volumes.holders(&volume.name) == 0))
            && filters.fits("driver", |driver| driver == LOCAL)
            && filters.fits("name", |name| volume.name.contains(name))
            && filters.labels_fit("label", |name| volume.labels.get(name).cloned())
    };
    let all: Vec<_> = volumes.list().into_iter().filter(fits).map(|volume| shown(&volume, volumes)).collect();
    json(&json!({ "Volumes": all, "Warnings": null }))
}

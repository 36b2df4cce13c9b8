//! `GET /containers/json`

use super::find::Found;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::filters::Filters;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::translate::ports::{self, Inside};
use crate::view::state::{Status, exit_code};
use crate::view::summary::{self, Sizes};
use orlop_model::Timestamp;
use orlop_model::image::Image;
use std::collections::BTreeMap;

/// Filters of the list.
const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

pub(crate) async fn answer(call: &Call) -> Answered {
    let app = &call.app;
    let filters = Filters::of(&call.query, FILTERS)?;
    check(&filters)?;
    let limit = usize::try_from(call.query.number("limit")?.unwrap_or_default()).unwrap_or_default();
    let before = edge(app, &filters, "before")?;
    let since = edge(app, &filters, "since")?;
    let ancestors = ancestors(app, &filters).await?;
    let everything =
        call.query.flag("all") || limit > 0 || filters.asks("status") || before.is_some() || since.is_some();
    let fits = |found: &Found| {
        let created = found.view.asked.created_at;
        (everything || Status::of(&found.view.state, &found.annex).is_running())
            && before.is_none_or(|before| created < before)
            && since.is_none_or(|since| created > since)
            && ancestors.as_ref().is_none_or(|ids| ids.contains(&found.view.asked.spec.image.to_string()))
            && matches(found, &filters)
    };
    // Newest first.
    let mut views = app.facade.containers();
    views.reverse();
    let mut found: Vec<Found> = views.into_iter().map(Found::new).filter(fits).collect();
    if limit > 0 {
        found.truncate(limit);
    }
    let sizes = if call.query.flag("size") { Some(sizes(app, &found).await?) } else { None };
    let now = crate::time::now();
    let lines: Vec<_> = found
        .iter()
        .map(|found| {
            let sandbox = app.facade.sandbox_of(&found.view);
            let sizes = sizes.as_ref().and_then(|sizes| sizes.get(found.id().as_str()).copied());
            summary::shown(&found.view, &found.annex, sandbox.as_deref(), sizes, call.version, now)
        })
        .collect();
    json(&lines)
}

/// Refuses values that can't be.
fn check(filters: &Filters) -> Result<(), ApiError> {
    let bad = |key: &str, value: &str| Err(ApiError::bad(format!("invalid filter '{key}={value}'")));
    if let Some(value) = filters.values("status").iter().find(|value| !Status::ALL.contains(&value.as_str())) {
        return bad("status", value);
    }
    if let Some(value) = filters.values("exited").iter().find(|value| value.parse::<i64>().is_err()) {
        return bad("exited", value);
    }
    let healths = ["none", "starting", "healthy", "unhealthy"];
    if let Some(value) = filters.values("health").iter().find(|value| !healths.contains(&value.as_str())) {
        return bad("health", value);
    }
    for key in ["publish", "expose"] {
        if let Some(value) = filters.values(key).iter().find(|value| Inside::parse_range(value).is_err()) {
            return bad(key, value);
        }
    }
    filters.flag("is-task").map(drop)
}

/// Returns when the container was created that a list ends or begins at.
fn edge(app: &App, filters: &Filters, key: &str) -> Result<Option<Timestamp>, ApiError> {
    let found = filters.values(key).iter().map(|name| super::find::container(app, name));
    let times: Vec<Timestamp> =
        found.map(|found| found.map(|found| found.view.asked.created_at)).collect::<Result<_, _>>()?;
    Ok(times.into_iter().max())
}

/// Returns the images that were asked for, and those built on them; `None` when none were.
async fn ancestors(app: &App, filters: &Filters) -> Result<Option<Vec<String>>, ApiError> {
    if !filters.asks("ancestor") {
        return Ok(None);
    }
    let images = app.facade.images();
    let all = images.list().await?;
    let mut ids = Vec::new();
    for name in filters.values("ancestor") {
        if let Some(image) = images.find(name).await? {
            ids.extend(all.iter().filter(|other| is_built_on(other, &image)).map(|other| other.id.to_string()));
        }
    }
    Ok(Some(ids))
}

fn is_built_on(image: &Image, base: &Image) -> bool {
    image.id == base.id
        || (image.layers.len() > base.layers.len() && image.layers.starts_with(&base.layers) && !base.layers.is_empty())
}

fn matches(found: &Found, filters: &Filters) -> bool {
    let (view, annex) = (&found.view, &found.annex);
    let labels = annex.config.labels.as_ref();
    let label = |name: &str| labels.and_then(|labels| labels.get(name)).cloned();
    let network = annex.network();
    let mounts = || view.asked.spec.mounts.iter();
    let exit = view.state.end().map(|ended| exit_code(&ended.exit).to_string());
    filters.fits("id", |id| view.asked.id.as_str().starts_with(id))
        && filters.fits("name", |pattern| name_fits(&annex.name, pattern))
        && filters.fits("status", |status| Status::of(&view.state, annex).word() == status)
        && filters.fits("exited", |code| view.state.task().is_none() && exit.as_deref() == Some(code))
        && filters.fits("health", |health| annex.health_word(&view.state) == health)
        && filters.labels_fit("label", label)
        && filters.fits("network", |name| network.is_some_and(|network| network.name() == name || network.id().starts_with(name)))
        && filters.fits("volume", |path| annex.volumes.iter().any(|volume| volume.name == path) || mounts().any(|mount| mount.target.as_os_str() == path || mount.source.as_os_str() == path))
        && filters.fits("expose", |port| exposes(found, port))
        && filters.fits("publish", |port| publishes(found, port))
        && filters.fits("isolation", |isolation| isolation == "default")
        // There are no tasks here.
        && filters.flag("is-task").ok().flatten() != Some(true)
}

fn exposes(found: &Found, port: &str) -> bool {
    let wanted = Inside::parse_range(port).unwrap_or_default();
    ports::exposed(&found.annex.config, &found.annex.host_config)
        .is_ok_and(|all| all.iter().any(|port| wanted.contains(port)))
}

fn publishes(found: &Found, port: &str) -> bool {
    let wanted = Inside::parse_range(port).unwrap_or_default();
    let bound = found.annex.host_config.port_bindings.iter().flatten();
    let mut inside = bound.filter_map(|(inside, _)| Inside::parse(inside).ok());
    inside.any(|port| wanted.contains(&port))
}

/// A name is looked for anywhere, or where `^` and `$` say.
fn name_fits(name: &str, pattern: &str) -> bool {
    let (pattern, begins) = pattern.strip_prefix('^').map_or((pattern, false), |rest| (rest, true));
    let (pattern, ends) = pattern.strip_suffix('$').map_or((pattern, false), |rest| (rest, true));
    let slashed = format!("/{name}");
    [name, &slashed].into_iter().any(|name| match (begins, ends) {
        (true, true) => name == pattern,
        (true, false) => name.starts_with(pattern),
        (false, true) => name.ends_with(pattern),
        (false, false) => name.contains(pattern),
    })
}

/// Returns what containers take of the disk, by id.
pub(crate) async fn sizes(app: &App, found: &[Found]) -> Result<BTreeMap<String, Sizes>, ApiError> {
    let images = app.facade.images();
    let ids: Vec<_> = found.iter().map(|found| found.id().clone()).collect();
    let layers = images.layer_usage(&ids).await?;
    let bytes: BTreeMap<String, u64> =
        images.list().await?.into_iter().map(|image| (image.id.to_string(), image.bytes)).collect();
    let sized = found.iter().zip(layers).map(|(found, layer)| {
        let written = layer.map_or(0, |layer| layer.bytes);
        let below = bytes.get(&found.view.asked.spec.image.to_string()).copied().unwrap_or_default();
        (found.id().as_str().to_owned(), Sizes { written, all: written + below })
    });
    Ok(sized.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_anywhere_or_at_the_ends() {
        for (pattern, fits) in
            [("we", true), ("^web", true), ("^/web$", true), ("eb$", true), ("^eb", false), ("x", false), ("", true)]
        {
            assert_eq!(name_fits("web", pattern), fits, "{pattern}");
        }
    }
}

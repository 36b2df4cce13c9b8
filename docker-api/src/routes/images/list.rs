//! `GET /images/json`

use crate::app::App;
use crate::http::error::ApiError;
use crate::http::filters::Filters;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::time::parse_rfc3339;
use crate::view::image::{familiar, summary};
use orlop_model::image::Image;
use std::collections::BTreeMap;

const FILTERS: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

pub(crate) async fn answer(call: &Call) -> Answered {
    let app = &call.app;
    let filters = Filters::of(&call.query, FILTERS)?;
    let (before, since) = (edge(app, &filters, "before").await?, edge(app, &filters, "since").await?);
    let until = crate::routes::containers::prune_until(&filters)?;
    let dangling = filters.flag("dangling")?;
    let name = call.query.text("filter");
    let fits = |image: &Image| {
        let label =
            |name: &str| image.config.labels.iter().find(|(there, _)| there == name).map(|(_, value)| value.clone());
        let made = parse_rfc3339(&image.origin.created);
        dangling.is_none_or(|dangling| dangling == image.tags.is_empty())
            && before.as_ref().is_none_or(|before| image.origin.created < before.origin.created)
            && since.as_ref().is_none_or(|since| image.origin.created > since.origin.created)
            && until.is_none_or(|until| made.is_some_and(|made| made < until))
            && filters.labels_fit("label", label)
            && filters.fits("reference", |pattern| names(image).iter().any(|name| reference_fits(name, pattern)))
            && (name.is_empty() || names(image).iter().any(|there| reference_fits(there, name)))
    };
    let mut images: Vec<Image> = app.facade.images().list().await?.into_iter().filter(fits).collect();
    // Newest first; RFC 3339 in UTC is in order as text.
    images.sort_by(|one, other| other.origin.created.cmp(&one.origin.created));
    let counts = counts(app);
    let lines: Vec<_> = images
        .iter()
        .map(|image| {
            let mut line = summary(
                &named_as(image, &filters),
                counts.get(&image.id.to_string()).copied().unwrap_or_default(),
                call.version,
            );
            if call.query.flag("shared-size") {
                line["SharedSize"] = shared(image, &images).into();
            }
            line
        })
        .collect();
    json(&lines)
}

/// Returns an image with those of its names alone that were asked for.
fn named_as(image: &Image, filters: &Filters) -> Image {
    let fits = |name: &&String| {
        let name = familiar(std::slice::from_ref(*name));
        filters.fits("reference", |pattern| name.iter().any(|name| reference_fits(name, pattern)))
    };
    let kept = |names: &[String]| names.iter().filter(fits).cloned().collect();
    Image { tags: kept(&image.tags), digests: kept(&image.digests), ..image.clone() }
}

fn names(image: &Image) -> Vec<String> {
    familiar(&image.tags).into_iter().chain(familiar(&image.digests)).collect()
}

async fn edge(app: &App, filters: &Filters, key: &str) -> Result<Option<Image>, ApiError> {
    match filters.values(key).first() {
        None => Ok(None),
        Some(name) => super::find(app, name).await.map(Some),
    }
}

/// Returns how many containers are made of each image.
pub(crate) fn counts(app: &App) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for (image, _) in app.facade.images_in_use() {
        *counts.entry(image.to_string()).or_default() += 1;
    }
    counts
}

/// Returns the bytes of an image that others have too.
pub(crate) fn shared(image: &Image, all: &[Image]) -> u64 {
    let others = || all.iter().filter(|other| other.id != image.id);
    let is_shared = |layer: &&orlop_model::image::ImageLayer| {
        others().any(|other| other.layers.iter().any(|there| there.diff_id == layer.diff_id))
    };
    image.layers.iter().filter(is_shared).map(|layer| layer.bytes).sum()
}

/// Says whether a name fits a pattern with `*` and `?`, with its tag or without.
fn reference_fits(name: &str, pattern: &str) -> bool {
    let without_tag = name.split('@').next().unwrap_or(name);
    let without_tag = match without_tag.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        Some(_) | None => without_tag,
    };
    glob(pattern.as_bytes(), name.as_bytes()) || glob(pattern.as_bytes(), without_tag.as_bytes())
}

/// Matches a pattern in which a star stands for anything but a slash; path.Match of Go without classes.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // Where the last star stands, and how much of the text it has taken: no star before it needs to take more.
    let (mut at, mut seen, mut star) = (0, 0, None::<(usize, usize)>);
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(b'?') if text[seen] != b'/' => (at, seen) = (at + 1, seen + 1),
            Some(byte) if *byte == text[seen] => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((from, taken)) if text[taken] != b'/' => {
                    star = Some((from, taken + 1));
                    (at, seen) = (from + 1, taken + 1);
                }
                Some(_) | None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns_with_or_without_their_tag() {
        for (name, pattern, fits) in [
            ("busybox:latest", "busybox", true),
            ("busybox:latest", "busybox:latest", true),
            ("busybox:latest", "busybox:1", false),
            ("busybox:latest", "busy*", true),
            ("busybox:latest", "*:latest", true),
            ("localhost:5000/a/b:1", "localhost:5000/a/b", true),
            ("localhost:5000/a/b:1", "localhost:5000/*", false),
            ("localhost:5000/a/b:1", "localhost:5000/*/b", true),
            ("busybox:latest", "busybo?", true),
            ("busybox:latest", "", false),
        ] {
            assert_eq!(reference_fits(name, pattern), fits, "{name} {pattern}");
        }
    }
}

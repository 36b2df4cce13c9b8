//! An image as lists and inspect show it.

use crate::http::version::Version;
use crate::time::{NEVER, parse_rfc3339, rfc3339, unix};
use crate::translate::complete::config_of;
use orlop_model::image::Image;
use orlop_model::reference::Reference;
use serde_json::{Value, json};

/// Returns names as people write them: without what a default fills in.
pub(crate) fn familiar(names: &[String]) -> Vec<String> {
    let familiar = |name: &String| Reference::parse(name).map_or_else(|_| name.clone(), |name| name.familiar());
    names.iter().map(familiar).collect()
}

fn created(image: &Image) -> Option<orlop_model::Timestamp> {
    parse_rfc3339(&image.origin.created)
}

/// Returns a line of the list.
pub(crate) fn summary(image: &Image, containers: i64, version: Version) -> Value {
    let (tags, digests) = (familiar(&image.tags), familiar(&image.digests));
    let old = version < Version::v1(43);
    // Before 1.43 an image without names had one that says so.
    let tags = if tags.is_empty() && old { vec!["<none>:<none>".to_owned()] } else { tags };
    let digests = if digests.is_empty() && old { vec!["<none>@<none>".to_owned()] } else { digests };
    let mut line = json!({
        "Id": image.id.to_string(),
        "ParentId": "",
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": created(image).map_or(0, unix),
        "Size": image.bytes,
        "SharedSize": -1,
        "Labels": labels(image),
        "Containers": containers,
    });
    if version < Version::v1(44) {
        line["VirtualSize"] = json!(image.bytes);
    }
    line
}

fn labels(image: &Image) -> Value {
    let labels: serde_json::Map<_, _> =
        image.config.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    if labels.is_empty() { Value::Null } else { Value::Object(labels) }
}

/// Returns everything about an image.
pub(crate) fn inspect(image: &Image, version: Version) -> Value {
    let config = config_of(image);
    let mut shown = json!({
        "Id": image.id.to_string(),
        "RepoTags": familiar(&image.tags),
        "RepoDigests": familiar(&image.digests),
        "Parent": "",
        "Comment": image.origin.comment,
        "Created": created(image).map_or_else(|| NEVER.to_owned(), rfc3339),
        "DockerVersion": image.origin.docker_version,
        "Author": image.origin.author,
        "Config": image_config(&config, version),
        "Architecture": image.origin.architecture,
        "Os": image.origin.os,
        "Size": image.bytes,
        "GraphDriver": { "Data": null, "Name": "overlay2" },
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(|layer| layer.diff_id.to_string()).collect::<Vec<_>>(),
        },
        "Metadata": { "LastTagTime": image.named_at.map_or_else(|| NEVER.to_owned(), rfc3339) },
    });
    if !image.origin.variant.is_empty() {
        shown["Variant"] = json!(image.origin.variant);
    }
    if version < Version::v1(44) {
        shown["VirtualSize"] = json!(image.bytes);
    }
    if let Some(digest) = image.digests.first().and_then(|name| name.split_once('@')).map(|(_, digest)| digest)
        && version >= Version::v1(48)
    {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        shown["Descriptor"] = json!({ "mediaType": media_type, "digest": digest, "size": 0 });
    }
    shown
}

/// The settings an image brings; those that only a container has are left out since 1.50.
fn image_config(config: &crate::dto::config::Config, version: Version) -> Value {
    let mut shown = json!(config);
    if version >= Version::v1(50)
        && let Some(fields) = shown.as_object_mut()
    {
        for field in [
            "Hostname",
            "Domainname",
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "Image",
        ] {
            fields.remove(field);
        }
        fields.retain(|name, value| match name.as_str() {
            "Env" | "Cmd" | "Labels" | "WorkingDir" | "Entrypoint" => true,
            _ => !value.is_null() && value != "",
        });
    }
    shown
}

/// Returns how an image was built, the newest step first.
pub(crate) fn history(image: &Image) -> Vec<Value> {
    let mut layers = image.layers.iter();
    let tags = familiar(&image.tags);
    let mut steps: Vec<Value> = image
        .origin
        .history
        .iter()
        .map(|step| {
            let bytes = if step.empty_layer { 0 } else { layers.next().map_or(0, |layer| layer.bytes) };
            json!({
                "Id": "<missing>",
                "Created": parse_rfc3339(&step.created).map_or(0, unix),
                "CreatedBy": step.created_by,
                "Tags": null,
                "Size": bytes,
                "Comment": step.comment,
            })
        })
        .collect();
    // Layers that the history says nothing of are there all the same.
    steps.extend(layers.map(|layer| {
        json!({ "Id": "<missing>", "Created": created(image).map_or(0, unix), "CreatedBy": "", "Tags": null, "Size": layer.bytes, "Comment": "" })
    }));
    steps.reverse();
    if let Some(newest) = steps.first_mut() {
        newest["Id"] = json!(image.id.to_string());
        newest["Tags"] = if tags.is_empty() { Value::Null } else { json!(tags) };
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::image::{HistoryEntry, ImageLayer};
    use orlop_model::{Digest, ImageId};

    fn image() -> Image {
        let digest = |digit: &str| Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap();
        let mut image = Image::new(ImageId(digest("a")));
        image.tags = vec!["docker.io/library/busybox:latest".to_owned()];
        image.layers =
            vec![ImageLayer { diff_id: digest("b"), bytes: 7 }, ImageLayer { diff_id: digest("c"), bytes: 8 }];
        let step =
            |by: &str, empty_layer| HistoryEntry { created_by: by.to_owned(), empty_layer, ..HistoryEntry::default() };
        image.origin.history = vec![step("ADD", false), step("CMD", true), step("RUN", false)];
        image
    }

    #[test]
    fn history_is_newest_first_with_the_layers_sizes() {
        let steps = history(&image());
        let seen: Vec<_> =
            steps.iter().map(|step| (step["CreatedBy"].as_str().unwrap(), step["Size"].as_u64().unwrap())).collect();
        assert_eq!(seen, [("RUN", 8), ("CMD", 0), ("ADD", 7)]);
        assert_eq!(steps[0]["Tags"], json!(["busybox:latest"]));
    }

    #[test]
    fn shapes_are_those_of_the_version() {
        let mut image = image();
        image.tags.clear();
        assert_eq!(summary(&image, -1, Version::v1(42))["RepoTags"], json!(["<none>:<none>"]));
        assert_eq!(summary(&image, -1, Version::v1(43))["RepoTags"], json!([]));
        assert!(inspect(&image, Version::v1(49))["Config"].get("Hostname").is_some());
        assert!(inspect(&image, Version::v1(50))["Config"].get("Hostname").is_none());
        assert!(inspect(&image, Version::v1(43)).get("VirtualSize").is_some());
    }
}

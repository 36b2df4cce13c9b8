//! A volume as lists and inspect show it.

use crate::time::rfc3339;
use crate::volumes::{LOCAL, Volume, Volumes};
use serde_json::{Value, json};

/// Returns a volume as clients get it.
pub(crate) fn shown(volume: &Volume, volumes: &Volumes) -> Value {
    json!({
        "Name": volume.name,
        "Driver": LOCAL,
        "Mountpoint": volumes.data(&volume.name),
        "CreatedAt": rfc3339(volume.created),
        "Labels": if volume.labels.is_empty() && !volume.anonymous { Value::Null } else { labels(volume) },
        "Scope": "local",
        "Options": null,
    })
}

/// A name that was made up is told by a label, as dockerd tells it.
fn labels(volume: &Volume) -> Value {
    let mut labels = volume.labels.clone();
    if volume.anonymous {
        labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
    }
    json!(labels)
}

/// The same with what it takes of the disk: that of its files, and of how many containers.
pub(crate) fn with_usage(volume: &Volume, volumes: &Volumes) -> Value {
    let mut shown = shown(volume, volumes);
    shown["UsageData"] = json!({ "Size": volumes.bytes(&volume.name), "RefCount": volumes.holders(&volume.name) });
    shown
}

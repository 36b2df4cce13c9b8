//! A pull told in lines, as `docker pull` shows them. Pure.

use orlop_model::Digest;
use orlop_model::pull::{Fresh, LayerProgress, LayerStage, PullProgress, Pulled};
use orlop_model::reference::{Reference, Version};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Digits of a blob's digest that lines show.
const SHORT: usize = 12;

/// Tells a pull, each fact once.
#[derive(Debug)]
pub(crate) struct Teller {
    /// Path of the repository.
    from: String,
    /// Tag or digest.
    version: String,
    familiar: String,
    began: bool,
    told: BTreeMap<Digest, LayerStage>,
    /// Layers of which nothing is told yet: all are there, and so may be the image.
    present: Vec<LayerProgress>,
}

impl Teller {
    pub(crate) fn of(reference: &Reference) -> Self {
        let version = match reference.version() {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        };
        Self {
            from: reference.path().to_owned(),
            version,
            familiar: reference.familiar(),
            began: false,
            told: BTreeMap::new(),
            present: Vec::new(),
        }
    }

    /// Returns the lines about what is new.
    pub(crate) fn tell(&mut self, progress: &PullProgress) -> Vec<Value> {
        let mut lines = self.begin();
        if self.told.is_empty() && progress.layers.iter().all(|layer| layer.stage == LayerStage::Present) {
            self.present.clone_from(&progress.layers);
            return lines;
        }
        lines.extend(self.tell_layers(&progress.layers));
        lines
    }

    fn tell_layers(&mut self, layers: &[LayerProgress]) -> Vec<Value> {
        let mut lines = Vec::new();
        for layer in layers {
            let before = self.told.insert(layer.blob.clone(), layer.stage);
            if before == Some(layer.stage) {
                continue;
            }
            let id = layer.blob.hex().get(..SHORT).unwrap_or_default();
            if before.is_none() && layer.stage != LayerStage::Present {
                lines.push(json!({ "status": "Pulling fs layer", "progressDetail": {}, "id": id }));
            }
            lines.extend(of_stage(before, layer.stage).into_iter().map(|mut line| {
                line["id"] = json!(id);
                line
            }));
        }
        lines
    }

    /// Returns the last lines.
    pub(crate) fn end(&mut self, pulled: &Pulled) -> Vec<Value> {
        let mut lines = self.begin();
        let status = match pulled.fresh {
            Fresh::Yes => {
                if self.told.is_empty() {
                    let present = std::mem::take(&mut self.present);
                    lines.extend(self.tell_layers(&present));
                }
                "Downloaded newer image for"
            }
            Fresh::No => "Image is up to date for",
        };
        lines.push(json!({ "status": format!("Digest: {}", pulled.digest) }));
        lines.push(json!({ "status": format!("Status: {status} {}", self.familiar) }));
        lines
    }

    fn begin(&mut self) -> Vec<Value> {
        if std::mem::replace(&mut self.began, true) {
            return Vec::new();
        }
        vec![json!({ "status": format!("Pulling from {}", self.from), "id": self.version })]
    }
}

fn of_stage(before: Option<LayerStage>, stage: LayerStage) -> Vec<Value> {
    let line = |status: &str| json!({ "status": status, "progressDetail": {} });
    let bar = |status: &str, current: u64, total: u64| json!({ "status": status, "progressDetail": { "current": current, "total": total }, "progress": progress(current, total) });
    let downloaded = || match before {
        Some(LayerStage::Extracting { .. } | LayerStage::Complete) => None,
        Some(LayerStage::Present | LayerStage::Waiting | LayerStage::Downloading { .. }) | None => {
            Some(line("Download complete"))
        }
    };
    match stage {
        LayerStage::Present => vec![line("Already exists")],
        LayerStage::Waiting => vec![line("Waiting")],
        LayerStage::Downloading { bytes, total } => vec![bar("Downloading", bytes, total)],
        LayerStage::Extracting { total } => downloaded().into_iter().chain([bar("Extracting", total, total)]).collect(),
        LayerStage::Complete => downloaded().into_iter().chain([line("Pull complete")]).collect(),
    }
}

/// Draws a bar, for clients that only print what they get.
fn progress(current: u64, total: u64) -> String {
    const WIDTH: u64 = 50;
    let megabytes = |bytes: u64| format!("{}.{}MB", bytes / 1_000_000, bytes / 100_000 % 10);
    let done = (current.min(total) * WIDTH).checked_div(total).unwrap_or(WIDTH);
    let bar = "=".repeat(usize::try_from(done).unwrap_or_default()) + ">";
    format!("[{bar:<51}]  {}/{}", megabytes(current), megabytes(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::ImageId;

    fn digest(digit: &str) -> Digest {
        Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap()
    }

    fn statuses(lines: &[Value]) -> Vec<&str> {
        lines.iter().map(|line| line["status"].as_str().unwrap()).collect()
    }

    #[test]
    fn every_fact_is_told_once() {
        let mut teller = Teller::of(&Reference::parse("busybox:1").unwrap());
        let mut at = |stage| {
            let layers = vec![
                LayerProgress { blob: digest("a"), stage },
                LayerProgress { blob: digest("b"), stage: LayerStage::Present },
            ];
            let lines = teller.tell(&PullProgress { layers });
            statuses(&lines).join("|")
        };
        assert_eq!(at(LayerStage::Waiting), "Pulling from library/busybox|Pulling fs layer|Waiting|Already exists");
        assert_eq!(at(LayerStage::Downloading { bytes: 1, total: 2 }), "Downloading");
        assert_eq!(at(LayerStage::Downloading { bytes: 1, total: 2 }), "");
        assert_eq!(at(LayerStage::Complete), "Download complete|Pull complete");
        let pulled = Pulled { image: ImageId(digest("c")), digest: digest("d"), fresh: Fresh::Yes };
        let lines = teller.end(&pulled);
        assert_eq!(statuses(&lines)[1], "Status: Downloaded newer image for busybox:1");
    }

    #[test]
    fn layers_that_are_there_are_told_of_an_image_that_is_not() {
        let told = |fresh| {
            let mut teller = Teller::of(&Reference::parse("busybox:1").unwrap());
            let layers = vec![LayerProgress { blob: digest("a"), stage: LayerStage::Present }];
            let mut lines = teller.tell(&PullProgress { layers });
            lines.extend(teller.end(&Pulled { image: ImageId(digest("c")), digest: digest("d"), fresh }));
            statuses(&lines).join("|")
        };
        let digest = digest("d");
        assert_eq!(
            told(Fresh::No),
            format!("Pulling from library/busybox|Digest: {digest}|Status: Image is up to date for busybox:1")
        );
        assert_eq!(
            told(Fresh::Yes),
            format!(
                "Pulling from library/busybox|Already exists|Digest: {digest}|Status: Downloaded newer image for busybox:1"
            )
        );
    }
}

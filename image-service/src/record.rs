//! What the store keeps on disk about images, layers and writable layers, and how it is written down.
//!
//! A file is a line `{"v":1,"sum":"<sha256 of the rest>"}` and a JSON document, so that a damaged one is known as such.

use orlop_model::image::ImageConfig;
use orlop_model::{ContainerId, Digest, ImageId, Namespace, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The form described here.
const VERSION: u32 = 1;

/// Largest record that is read; an image with 500 layers and many names stays far below.
pub(crate) const RECORD_BYTES_MAX: u64 = 64 << 20;

/// An image, complete: it exists if and only if this record does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) id: ImageId,
    /// Grows with every change of any image: of two images that claim a tag, the later one has it.
    pub(crate) generation: u64,
    /// `name:tag`.
    pub(crate) tags: BTreeSet<String>,
    /// `name@digest`.
    pub(crate) digests: BTreeSet<String>,
    /// Who holds which of these names.
    #[serde(default)]
    pub(crate) owners: BTreeMap<String, BTreeSet<Namespace>>,
    /// When a name changed last.
    #[serde(default)]
    pub(crate) named_at: Option<Timestamp>,
    /// Manifests and indexes that are kept for it, beside its config.
    pub(crate) documents: BTreeSet<Digest>,
    /// Diff ids, lowest first, as in its config.
    pub(crate) layers: Vec<Digest>,
    /// What is stacked for a container, lowest first: the layers without repetitions, and what was made for this image.
    pub(crate) stack: Vec<Digest>,
    /// What the root folder is like.
    pub(crate) root: Look,
}

// === impl ImageRecord ===

impl ImageRecord {
    /// Takes a name away, and returns who held it.
    pub(crate) fn take_name(&mut self, name: &str) -> BTreeSet<Namespace> {
        self.tags.remove(name);
        self.digests.remove(name);
        self.owners.remove(name).unwrap_or_default()
    }
}

/// Owner and mode of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A layer as a folder, beside that folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: Digest,
    /// Space it takes.
    pub(crate) bytes: u64,
    /// Inodes it takes.
    pub(crate) inodes: u64,
    /// Folders that no member describes, in hex: names are any bytes.
    pub(crate) implicit: Vec<String>,
    /// Whether a member describes the root.
    pub(crate) describes_root: bool,
}

/// A writable layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) id: ContainerId,
    pub(crate) image: ImageId,
    /// What is below it, lowest first. Kept here, since the image's names can be gone before the container is.
    pub(crate) stack: Vec<Digest>,
    pub(crate) config: ImageConfig,
}

#[derive(Serialize, Deserialize)]
struct Head {
    v: u32,
    sum: String,
}

/// Why a record can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRecord {
    #[error("it is cut short")]
    Short,
    #[error("its first line is not a head: {0}")]
    Head(String),
    #[error("it is of version {0}, this program knows {VERSION}")]
    Version(u32),
    #[error("its bytes are not what they were when it was written")]
    Sum,
    #[error("its content is not understood: {0}")]
    Body(String),
}

/// Writes a record as bytes.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let body = serde_json::to_vec(record).expect("records are plain data with text keys");
    let head = Head { v: VERSION, sum: hex::encode(Sha256::digest(&body)) };
    let mut bytes = serde_json::to_vec(&head).expect("a number and a text");
    bytes.push(b'\n');
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads a record.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadRecord> {
    let line = bytes.iter().position(|byte| *byte == b'\n').ok_or(BadRecord::Short)?;
    let head: Head = serde_json::from_slice(&bytes[..line]).map_err(|error| BadRecord::Head(error.to_string()))?;
    if head.v != VERSION {
        return Err(BadRecord::Version(head.v));
    }
    let body = &bytes[line + 1..];
    if hex::encode(Sha256::digest(body)) != head.sum {
        return Err(BadRecord::Sum);
    }
    serde_json::from_slice(body).map_err(|error| BadRecord::Body(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_comes_back_and_damage_is_seen() {
        let record = LayerRecord {
            diff_id: Digest::parse(&format!("sha256:{}", "0a".repeat(32))).unwrap(),
            bytes: 1,
            inodes: 2,
            implicit: vec!["61".into()],
            describes_root: true,
        };
        let bytes = encode(&record);
        assert_eq!(decode(&bytes), Ok(record));
        for cut in 0..bytes.len() {
            assert!(decode::<LayerRecord>(&bytes[..cut]).is_err(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(decode::<LayerRecord>(&bytes).is_err(), "{at}");
        }
    }
}

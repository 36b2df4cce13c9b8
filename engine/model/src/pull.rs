//! A pull as asked for, as it goes on, and what came of it.

use crate::id::{Digest, ImageId, Namespace};
use crate::image::Credentials;
use std::time::Duration;

/// Shortest pause between two reports of one pull to one listener: as often as a person can follow.
pub const TELL_PAUSE: Duration = Duration::from_millis(100);

/// A pull as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// The reference as the caller wrote it.
    pub reference: String,
    /// Credentials.
    pub credentials: Credentials,
    /// Who holds the name from then on.
    pub owner: Namespace,
}

/// What came of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// Digest of the manifest or index that the reference stood for.
    pub digest: Digest,
    /// Whether the reference names another image than before.
    pub fresh: Fresh,
}

/// Whether a pull made a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The image was there under this name.
    No,
    /// It was not.
    Yes,
}

/// How far a pull is. The whole of it each time, so that a listener may miss reports but never a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Its layers in the manifest's order, once that is known: the lowest first, none twice.
    pub layers: Vec<LayerProgress>,
}

/// How far one layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerProgress {
    /// Digest of the blob.
    pub blob: Digest,
    /// How far.
    pub stage: LayerStage,
}

/// How far one layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerStage {
    /// It was here before the pull.
    Present,
    /// It waits for its turn.
    Waiting,
    /// Its bytes come, and are unpacked as they do.
    Downloading {
        /// Bytes that have come.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// All bytes have come; the last of them are being unpacked and checked.
    Extracting {
        /// Bytes in all.
        total: u64,
    },
    /// It is here.
    Complete,
}

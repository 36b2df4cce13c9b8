//! A volume to be made.

use super::TextMap;
use crate::http::fields::{Field, Kind, honoured, not_built};
use serde::Deserialize;

/// Fields of `VolumeCreateOptions`.
pub(crate) const VOLUME: &[Field] = &[
    honoured("Name", Kind::Text),
    honoured("Driver", Kind::Text),
    // Of the local driver: another file system in the place of a folder.
    not_built("DriverOpts", Kind::TextMap),
    honoured("Labels", Kind::TextMap),
    not_built("ClusterVolumeSpec", Kind::Any),
];

/// A volume to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct VolumeRequest {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) labels: TextMap,
}

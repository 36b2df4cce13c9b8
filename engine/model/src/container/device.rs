//! Devices of a container.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A device of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path inside.
    pub target: PathBuf,
    /// Path on the node.
    pub source: PathBuf,
    /// Some of `r`, `w`, `m`.
    pub permissions: String,
}

/// Devices that a container may use, whether or not a node of one is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Which kind.
    pub kind: DeviceKind,
    /// Major number; `None` is every one.
    pub major: Option<u32>,
    /// Minor number; `None` is every one.
    pub minor: Option<u32>,
    /// Some of `r`, `w`, `m`.
    pub permissions: String,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Character and block.
    Any,
    /// Character.
    Char,
    /// Block.
    Block,
}

//! What is mounted in a container beside its root.

use crate::sandbox::IdMapping;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A folder or file of the node, mounted inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside.
    pub target: PathBuf,
    /// Absolute path on the node; symbolic links are followed.
    pub source: PathBuf,
    /// Read-only or not.
    pub access: MountAccess,
    /// How later mounts travel.
    pub propagation: Propagation,
    /// What it forbids.
    #[serde(default, skip_serializing_if = "MountFlags::is_empty")]
    pub flags: MountFlags,
    /// With what is mounted below the source, or without.
    #[serde(default, skip_serializing_if = "MountDepth::is_default")]
    pub depth: MountDepth,
    /// What a source that is not there means.
    #[serde(default, skip_serializing_if = "MissingSource::is_default")]
    pub missing: MissingSource,
    /// Shows owners of files through this mapping, which must be that of the sandbox's user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdMapping>,
}

impl Mount {
    /// Returns a private mount that can be written, with everything mounted below its source.
    #[must_use]
    pub fn new(target: impl Into<PathBuf>, source: impl Into<PathBuf>) -> Self {
        Self {
            target: target.into(),
            source: source.into(),
            access: MountAccess::ReadWrite,
            propagation: Propagation::Private,
            flags: MountFlags::default(),
            depth: MountDepth::default(),
            missing: MissingSource::default(),
            ids: None,
        }
    }
}

/// What a mount forbids. mount(8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountFlags {
    /// Programs gain no rights by their mode.
    pub nosuid: bool,
    /// Devices can't be opened.
    pub nodev: bool,
    /// Programs can't be run.
    pub noexec: bool,
}

impl MountFlags {
    /// All of them.
    pub const ALL: Self = Self { nosuid: true, nodev: true, noexec: true };

    /// Says whether it forbids nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which mounts of a source come along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountDepth {
    /// All below it.
    #[default]
    Whole,
    /// Its own alone.
    Single,
}

impl MountDepth {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a source that is not there means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissingSource {
    /// The container is refused.
    #[default]
    Refuse,
    /// A folder is made, of root's and with mode 0755, when the container is created and whenever it is started.
    MakeFolder,
}

impl MissingSource {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Absolute path inside.
    pub target: PathBuf,
    /// Bytes it may hold; `None` is half of the node's memory, the kernel's default.
    pub bytes_max: Option<u64>,
    /// Permission bits of its root, at most 0o7777; `None` takes those of the folder it covers, or 0o1777 where there is none.
    pub mode: Option<u32>,
    /// Owner of its root, user and group inside; `None` is root.
    pub owner: Option<(u32, u32)>,
    /// Read-only or not.
    pub access: TmpfsAccess,
    /// What it forbids.
    pub flags: MountFlags,
}

impl Tmpfs {
    /// Returns one that can be written and forbids programs, devices and set-user-id: what Docker and Podman make of a path.
    #[must_use]
    pub fn new(target: impl Into<PathBuf>) -> Self {
        Self {
            target: target.into(),
            bytes_max: None,
            mode: None,
            owner: None,
            access: TmpfsAccess::ReadWrite,
            flags: MountFlags::ALL,
        }
    }
}

/// Whether a file system in memory can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TmpfsAccess {
    /// It can.
    ReadWrite,
    /// It can't.
    ReadOnly,
}

/// What a mount allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountAccess {
    /// Read and write.
    ReadWrite,
    /// Read-only, mounts below it as they are.
    ReadOnly,
    /// Read-only with all mounts below it. Needs Linux 5.12.
    ReadOnlyRecursive,
}

/// How later mounts travel. mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// From the node into the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

//! Our types for the OCI runtime's `config.json`, runtime-spec 1.3, Linux.
//!
//! Our own because unknown names (of capabilities, namespaces, seccomp actions) must be warned about and not fail the
//! parse, which enums of names can't do: here they stay strings until [`crate::compile`] looks at them. Fields that nothing
//! here acts on are kept as they are in `other`, so that reading and writing a spec loses nothing and
//! [`crate::compile`] can refuse by name what it can't honour. The crate oci-spec is the oracle in the tests.

mod linux;
mod process;

pub use linux::{
    Cpu, Device, DeviceCgroup, HugepageLimit, IdMapping, Linux, LinuxSeccomp, LinuxSyscall, Memory, Namespace, Pids,
    Resources, SeccompArg,
};
pub use process::{Capabilities, EnvEntry, Process, Rlimit, User};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields kept and not acted on.
pub type Other = BTreeMap<String, Value>;

/// A whole `config.json`. config.md.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Version of the runtime-spec that this was written for.
    pub oci_version: String,
    /// The program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The root file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name inside; needs a UTS namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name inside; needs a UTS namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Mounts, in this order.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Free text for others.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is Linux's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
    /// The rest: `hooks`, and what newer versions add.
    #[serde(flatten)]
    pub other: Other,
}

/// The root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Where it is, absolute or from the bundle.
    pub path: String,
    /// Whether it can't be written.
    #[serde(default, skip_serializing_if = "is_false")]
    pub readonly: bool,
}

/// One mount. config.md "Mounts".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Path inside.
    pub destination: String,
    /// File system type; `bind` and `none` are decided by the options.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is mounted: a device's name, a path of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// fstab-style.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Users as whose files those of the node's are shown.
    #[serde(
        default,
        rename = "uidMappings",
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub uid_mappings: Vec<IdMapping>,
    /// Likewise groups.
    #[serde(
        default,
        rename = "gidMappings",
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub gid_mappings: Vec<IdMapping>,
    /// What newer versions add.
    #[serde(flatten)]
    pub other: Other,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

/// Reads `null` as nothing at all: writers in Go produce it for empty lists.
pub(crate) fn null_is_empty<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Why bytes are not a spec.
#[derive(Debug, thiserror::Error)]
#[error("config.json is not an OCI spec: {0}")]
pub struct BadSpec(#[from] serde_json::Error);

impl Spec {
    /// Reads a `config.json`.
    pub fn parse(json: &[u8]) -> Result<Self, BadSpec> {
        Ok(serde_json::from_slice(json)?)
    }
}

#[cfg(test)]
mod tests;

//! The program of a spec. config.md "Process".

use super::{Other, is_false, null_is_empty};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The program and how it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// A terminal or pipes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub terminal: bool,
    /// Who it runs as.
    #[serde(default)]
    pub user: User,
    /// Its arguments, the program first.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvEntry>,
    /// Working folder, absolute.
    pub cwd: String,
    /// Capabilities; without it the process keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// prctl(2) `PR_SET_NO_NEW_PRIVS`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_new_privileges: bool,
    /// `/proc/self/oom_score_adj`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    /// The rest: `consoleSize`, `apparmorProfile`, `selinuxLabel`, `scheduler`, `ioPriority`, `execCPUAffinity`.
    #[serde(flatten)]
    pub other: Other,
}

/// Who a process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User id.
    #[serde(default)]
    pub uid: u32,
    /// Group id.
    #[serde(default)]
    pub gid: u32,
    /// umask(2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// The five sets, by names with `CAP_`. Names are strings: an unknown one is warned about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the kernel's, capabilities(7)")]
pub struct Capabilities {
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub bounding: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// One resource limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// `u64::MAX` is unlimited.
    #[serde(default)]
    pub hard: u64,
    /// `u64::MAX` is unlimited.
    #[serde(default)]
    pub soft: u64,
}

/// `NAME=value` as bytes, since values need not be UTF-8. JSON can't hold such: it is written there with replacement
/// characters, and read as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvEntry(pub Vec<u8>);

impl EnvEntry {
    /// Returns what stands before the first `=`; `None` without one.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.0.iter().position(|b| *b == b'=').map(|at| &self.0[..at])
    }

    /// Returns what stands behind the first `=`; `None` without one.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.0.iter().position(|b| *b == b'=').map(|at| &self.0[at + 1..])
    }
}

impl From<&str> for EnvEntry {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Serialize for EnvEntry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

impl<'de> Deserialize<'de> for EnvEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(from)?.into_bytes()))
    }
}

//! Images, as the core sees them.

use crate::id::{Digest, ImageId};
use serde::{Deserialize, Serialize};

/// Default process settings that an image brings. Untrusted: everything here was written by whoever built the image.
/// OCI image-spec, config.md "Properties".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Leading words of the command.
    pub entrypoint: Vec<String>,
    /// Trailing words of the command, replaced by a container's own.
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working folder; empty is `/`.
    pub working_dir: String,
    /// `user`, `uid`, `user:group`, `uid:gid`; empty is root.
    pub user: String,
    /// Name or number of the signal that ends the process; empty is SIGTERM.
    pub stop_signal: String,
    /// Paths that want a volume.
    pub volumes: Vec<String>,
    /// Labels, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// One image of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of the config.
    pub id: ImageId,
    /// `name:tag`, the host kept as it was asked for, sorted.
    pub tags: Vec<String>,
    /// `name@digest` of the manifest or index, sorted.
    pub digests: Vec<String>,
    /// Bytes of its layers and config in the store, shared ones counted here too; never 0.
    pub bytes: u64,
    /// Process settings.
    pub config: ImageConfig,
    /// Whether garbage collection must leave it alone.
    pub pinned: bool,
    /// The config document as pulled, for verbose answers.
    pub config_json: String,
}

/// Credentials for one pull. Never logged: `Debug` hides them.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// None.
    #[default]
    Anonymous,
    /// A name and its password.
    Basic {
        /// Name.
        username: String,
        /// Password.
        password: String,
    },
    /// What a login left behind: good for tokens of the registry's token server, as OAuth's refresh tokens are.
    IdentityToken(String),
    /// A token that the registry takes as it is.
    RegistryToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { .. } => f.write_str("Basic(hidden)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(hidden)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(hidden)"),
        }
    }
}

/// A pull as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// The reference as the caller wrote it.
    pub reference: String,
    /// Credentials.
    pub credentials: Credentials,
}

/// What a store of images uses of its file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsUsage {
    /// An existing folder on that file system.
    pub mountpoint: std::path::PathBuf,
    /// Bytes used, trash included.
    pub bytes: u64,
    /// Inodes used, trash included.
    pub inodes: u64,
}

/// What removal took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The image, when the last name went with it; `None` when there was nothing.
    pub image: Option<ImageId>,
    /// Manifest or index digests that were its names.
    pub digests: Vec<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_every_secret() {
        for credentials in [
            Credentials::Basic { username: "word".into(), password: "word".into() },
            Credentials::IdentityToken("word".into()),
            Credentials::RegistryToken("word".into()),
        ] {
            let request = PullRequest { reference: "a".into(), credentials };
            assert!(!format!("{request:?} {request:#?}").contains("word"));
        }
    }
}

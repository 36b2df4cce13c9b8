//! Images, as the core sees them.

use crate::id::{ContainerId, Digest, ImageId, Namespace};
use crate::time::Timestamp;
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
    /// Which of these names are held by whom, sorted. A name without a line is held by nobody.
    pub held: Vec<HeldName>,
    /// Bytes of its layers and config in the store, shared ones counted here too; never 0.
    pub bytes: u64,
    /// Its layers, lowest first; one that is stacked twice is here twice.
    pub layers: Vec<ImageLayer>,
    /// Process settings.
    pub config: ImageConfig,
    /// Where it comes from, as its builder tells it.
    pub origin: ImageOrigin,
    /// When a name of it changed last, by this node's clock; `None` when that is not known.
    pub named_at: Option<Timestamp>,
    /// The config document as pulled, for verbose answers.
    pub config_json: String,
}

impl Image {
    /// Returns an image without names, layers and settings.
    #[must_use]
    pub fn new(id: ImageId) -> Self {
        Self {
            id,
            tags: Vec::new(),
            digests: Vec::new(),
            held: Vec::new(),
            bytes: 1,
            layers: Vec::new(),
            config: ImageConfig::default(),
            origin: ImageOrigin::default(),
            named_at: None,
            config_json: String::new(),
        }
    }
}

/// A name of an image that a facade's users asked for by pull or tag. Others' garbage collection must leave it alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldName {
    /// The complete name.
    pub name: String,
    /// Whose it is.
    pub by: Namespace,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// Digest of it as plain tar.
    pub diff_id: Digest,
    /// Bytes it takes in the store.
    pub bytes: u64,
}

/// Where an image comes from, as its builder tells it: all of it optional, and untrusted. OCI image-spec, config.md.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOrigin {
    /// When it was made, RFC 3339 as written there; empty when it does not say.
    pub created: String,
    /// Who made it.
    pub author: String,
    /// `amd64`, `arm64` and so on.
    pub architecture: String,
    /// Variant of that, `v8`.
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// A remark of its maker, as Docker's builder once wrote it.
    pub comment: String,
    /// Version of Docker that made it.
    pub docker_version: String,
    /// How it was built, the lowest layer first.
    pub history: Vec<HistoryEntry>,
}

/// A step of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, RFC 3339 as written there.
    pub created: String,
    /// By which command.
    pub created_by: String,
    /// By whom.
    pub author: String,
    /// A remark.
    pub comment: String,
    /// Whether it made no layer.
    pub empty_layer: bool,
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
            let request =
                crate::pull::PullRequest { reference: "a".into(), credentials, owner: Namespace("b".to_owned()) };
            assert!(!format!("{request:?} {request:#?}").contains("word"));
        }
    }
}

/// An image to be made of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The container, running or not.
    pub container: ContainerId,
    /// The new image's name; without a tag it is that of the tag `latest`. `None` leaves it without one.
    pub name: Option<String>,
    /// Who holds that name.
    pub owner: Namespace,
    /// The settings of processes that its config says, as JSON. image-spec, config.md.
    pub config_json: String,
    /// Who made it.
    pub author: String,
    /// What is said about it.
    pub comment: String,
    /// When it is made, RFC 3339.
    pub created: String,
    /// By what the new layer was made.
    pub created_by: String,
}

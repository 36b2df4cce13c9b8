//! What can go wrong with images, each with its kind.

use orlop_model::reference::BadReference;
use orlop_model::{ErrorKind, Failure};
use std::io;
use std::path::PathBuf;

/// A failure of the image store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A failpoint wanted it so.
    #[error("{0}")]
    Failpoint(Failure),
    /// A reference that names nothing.
    #[error("{text:?} is not an image reference")]
    Reference {
        /// As given, cut when long.
        text: String,
        /// What is wrong with it.
        #[source]
        why: BadReference,
    },
    /// A prefix of an id that fits several images.
    #[error("{text:?} is the start of more than one image id; give more digits")]
    Ambiguous {
        /// As given.
        text: String,
    },
    /// A digest where only a tag can be.
    #[error("refusing to create a tag with a digest reference")]
    TagIsDigest,
    /// Someone holds the image.
    #[error("{0}")]
    Held(Failure),
    /// A path inside a container that can't be used.
    #[error("use {path} in the container: {why}")]
    BadPath {
        /// The path, cut when long.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A path inside a container that may not be used.
    #[error("use {path} in the container: {why}")]
    Forbidden {
        /// The path, cut when long.
        path: String,
        /// Why not.
        why: String,
    },
    /// An archive that is none.
    #[error("unpack the archive: {why}")]
    BadArchive {
        /// What is wrong with it.
        why: String,
    },
    /// A file of the registry configuration that can't be used.
    #[error("read registry configuration {path:?}: {why}")]
    Hosts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The registry does not have it.
    #[error("{host} does not have {what}{said}")]
    NotFound {
        /// Who was asked.
        host: String,
        /// What for.
        what: String,
        /// The registry's own words, or nothing.
        said: String,
    },
    /// The registry refuses this caller.
    #[error("{host} refuses {what}: {why}")]
    Denied {
        /// Who was asked.
        host: String,
        /// What for.
        what: String,
        /// Why, and what to do.
        why: String,
    },
    /// No answer, or one that says that it can't serve now.
    #[error("get {what} from {host}: {why}")]
    Registry {
        /// Who was asked.
        host: String,
        /// What for.
        what: String,
        /// What came instead.
        why: String,
    },
    /// Bytes that are not what their digest or format says.
    #[error("{what} is corrupt: {why}")]
    Corrupt {
        /// The digest, or what has none.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// Well formed, but nothing this store can use.
    #[error("{what} can't be used: {why}")]
    Unsupported {
        /// The digest or name.
        what: String,
        /// Why not.
        why: String,
    },
    /// A bound was reached.
    #[error("{what} is too large: {why}")]
    TooLarge {
        /// The digest or name.
        what: String,
        /// Which bound.
        why: String,
    },
    /// A call to the kernel failed.
    #[error("{doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A thing of this store that is not there.
    #[error("{what}")]
    Missing {
        /// What, and what to do.
        what: String,
    },
    /// Something that is there but was made from something else.
    #[error("{what}")]
    Exists {
        /// What.
        what: String,
    },
    /// Nobody waits for the result any more.
    #[error("{what} was cancelled")]
    Cancelled {
        /// What.
        what: String,
    },
    /// A bound on time ran out.
    #[error("{what} took longer than {seconds} s")]
    TimedOut {
        /// What.
        what: String,
        /// The bound.
        seconds: u64,
    },
}

impl Error {
    /// Returns the class that facades translate.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failpoint(failure) | Self::Held(failure) => failure.kind,
            Self::BadPath { .. } | Self::BadArchive { .. } | Self::TagIsDigest => ErrorKind::InvalidArgument,
            Self::Forbidden { .. } => ErrorKind::Denied,
            Self::Reference { .. } | Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            // The node's own configuration is at fault, not the request.
            Self::Hosts { .. } => ErrorKind::Internal,
            Self::NotFound { .. } | Self::Missing { .. } => ErrorKind::NotFound,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::Registry { .. } => ErrorKind::RegistryUnavailable,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Io { source, .. } => {
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                    ErrorKind::Exhausted
                } else {
                    ErrorKind::Internal
                }
            }
            Self::Exists { .. } => ErrorKind::AlreadyExists,
            Self::Cancelled { .. } => ErrorKind::Cancelled,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
        }
    }

    /// Makes an error of a failed call to the kernel.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }

    /// The same for calls made through rustix.
    pub(crate) fn errno(doing: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |source| Self::Io { doing: doing.into(), source: source.into() }
    }

    pub(crate) fn corrupt(what: impl ToString, why: impl Into<String>) -> Self {
        Self::Corrupt { what: what.to_string(), why: why.into() }
    }

    pub(crate) fn unsupported(what: impl ToString, why: impl Into<String>) -> Self {
        Self::Unsupported { what: what.to_string(), why: why.into() }
    }

    pub(crate) fn too_large(what: impl ToString, why: impl Into<String>) -> Self {
        Self::TooLarge { what: what.to_string(), why: why.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::because(error.kind(), &error)
    }
}

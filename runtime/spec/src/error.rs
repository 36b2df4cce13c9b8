//! Why no spec can be made.

use orlop_model::ErrorKind;

/// Why no spec can be made. Each names what was asked for and by whom.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Neither the container nor its image says what to run.
    #[error("no command: the container gives none, and its image has neither entrypoint nor cmd; set a command")]
    NoCommand,
    /// Something of the request can't be right.
    #[error("{field}: {why}")]
    Invalid {
        /// `working folder`, `mount /data`.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// Something of the image can't be right.
    #[error("the image's {field}: {why}")]
    Image {
        /// `stop signal`.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// Not built, or not possible on this node.
    #[error("{field}: {why}")]
    Unsupported {
        /// `terminal`.
        field: String,
        /// What is missing.
        why: String,
    },
    /// A recursive read-only mount that can't be.
    #[error("mount {target}: a recursive read-only mount {why}")]
    RecursiveReadOnly {
        /// Path inside.
        target: String,
        /// What is in the way.
        why: &'static str,
    },
}

impl SpecError {
    /// Returns its class.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCommand | Self::Invalid { .. } | Self::Image { .. } => ErrorKind::InvalidArgument,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::RecursiveReadOnly { .. } => ErrorKind::RecursiveReadOnlyUnsupported,
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), why: why.into() }
    }

    pub(crate) fn image(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Image { field: field.into(), why: why.into() }
    }
}

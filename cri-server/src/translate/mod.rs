//! Requests to specs: all validation, no IO.
//!
//! What a kubelet relies on comes from the CRI; what is refused is refused here, before anything exists. Start at
//! [`sandbox::spec`] and [`container::draft`].
//!
//! Invariant: a spec that leaves here holds no relative path, no name that could mean a path, no id out of range.

pub(crate) mod apparmor;
pub(crate) mod base64;
pub(crate) mod capability;
pub(crate) mod container;
pub(crate) mod credentials;
pub(crate) mod device;
pub(crate) mod image;
pub(crate) mod metadata;
pub(crate) mod mount;
pub(crate) mod namespaces;
pub(crate) mod network;
pub(crate) mod path;
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod seccomp;
pub(crate) mod signal;
pub(crate) mod sysctl;
pub(crate) mod user;
pub(crate) mod users;

use orlop_model::{ErrorKind, Failure};
use std::fmt::Display;

/// Why a request can't become a spec. `field` is the path in the request, `problem` what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It can't be right on any node.
    #[error("{field}: {problem}")]
    Invalid {
        /// Where.
        field: String,
        /// What.
        problem: String,
    },
    /// It may be right, but not here or not yet.
    #[error("{field}: {problem}")]
    Unsupported {
        /// Where.
        field: String,
        /// What.
        problem: String,
    },
    /// Recursive read-only mounts are not possible here. The kubelet knows this by a fixed prefix.
    #[error("{field}: {problem}")]
    RecursiveReadOnly {
        /// Where.
        field: String,
        /// What.
        problem: String,
    },
    /// Volumes made from images are not possible here. The kubelet knows this by a fixed prefix.
    #[error("{field}: {problem}")]
    ImageVolume {
        /// Where.
        field: String,
        /// What.
        problem: String,
    },
}

/// What a translation returns.
pub(crate) type Result<T, E = Refused> = std::result::Result<T, E>;

/// Most characters of a caller's text that an error message repeats.
const QUOTED_CHARS_MAX: usize = 120;

// === impl Refused ===

impl Refused {
    pub(crate) fn invalid(field: impl Display, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_string(), problem: problem.into() }
    }

    pub(crate) fn unsupported(field: impl Display, problem: impl Into<String>) -> Self {
        Self::Unsupported { field: field.to_string(), problem: problem.into() }
    }

    /// Puts the field into the one it is in.
    pub(crate) fn below(mut self, at: &str) -> Self {
        match &mut self {
            Self::Invalid { field, .. }
            | Self::Unsupported { field, .. }
            | Self::RecursiveReadOnly { field, .. }
            | Self::ImageVolume { field, .. } => *field = format!("{at}.{field}"),
        }
        self
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::InvalidArgument,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::RecursiveReadOnly { .. } => ErrorKind::RecursiveReadOnlyUnsupported,
            Self::ImageVolume { .. } => ErrorKind::ImageVolumeFailed,
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Failure::because(refused.kind(), &refused)
    }
}

/// Returns a caller's text as it may stand in a message or a log: quoted, escaped, bounded.
pub(crate) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

/// Returns an enum's value, or says that the number means nothing.
pub(crate) fn known<E: TryFrom<i32>>(field: impl Display, number: i32) -> Result<E> {
    E::try_from(number).map_err(|_| Refused::invalid(field, format!("{number} is not a value of this enum")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Asserts that a translation is refused with this kind, and that its message says each of these.
    #[track_caller]
    pub(crate) fn check_refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, says: &[&str]) {
        let failure = Failure::from(result.expect_err("refused"));
        assert_eq!(failure.kind, kind, "{failure}");
        for part in says {
            assert!(failure.message.contains(part), "{:?} does not say {part:?}", failure.message);
        }
    }

    #[test]
    fn a_callers_text_is_quoted_escaped_and_bounded() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), QUOTED_CHARS_MAX + 3);
    }
}

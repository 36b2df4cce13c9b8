//! What can go wrong between us and the kernel.

use std::fmt;
use std::time::Duration;

/// Shorthand for what this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A netlink call that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The socket itself failed.
    #[error("{what}")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: nix::errno::Errno,
    },
    /// The kernel refused a request.
    #[error("{request}: {refusal}")]
    Refused {
        /// What was asked for.
        request: String,
        /// What the kernel said.
        refusal: Refusal,
    },
    /// No answer came.
    #[error("{request}: the kernel gave no answer within {} s", after.as_secs_f32())]
    Silent {
        /// What was asked for.
        request: String,
        /// How long was waited.
        after: Duration,
    },
    /// An answer could not be read.
    #[error("{request}: the kernel's answer can't be read: {what}")]
    Garbled {
        /// What was asked for.
        request: String,
        /// What was wrong with it.
        what: &'static str,
    },
}

/// The kernel's no, in its own words where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error number.
    pub errno: nix::errno::Errno,
    /// Its extended acknowledgement, often the only hint at what was wrong.
    pub words: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(f, "{words} ({})", self.errno),
            None => write!(f, "{}", self.errno),
        }
    }
}

// === impl Error ===

impl Error {
    /// Returns the kernel's error number, when it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<nix::errno::Errno> {
        match self {
            Self::Socket { source, .. } => Some(*source),
            Self::Refused { refusal, .. } => Some(refusal.errno),
            Self::Silent { .. } | Self::Garbled { .. } => None,
        }
    }

    /// Says whether the kernel refused with this error number.
    #[must_use]
    pub fn is(&self, errno: nix::errno::Errno) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.errno == errno)
    }
}

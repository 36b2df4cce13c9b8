//! What can go wrong, as the facades need to know it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The class of a failure. Each facade has one total table from here to its protocol, without a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The request can't be right, whatever the state of the node.
    InvalidArgument,
    /// The thing named is not there.
    NotFound,
    /// The name is taken by another request.
    AlreadyExists,
    /// The thing is there but not in a state that allows this.
    WrongState,
    /// The caller may not do this.
    Denied,
    /// A part this needs does not answer now; the same request may work later.
    Unavailable,
    /// A bound on time ran out.
    TimedOut,
    /// The caller or a later request ended it.
    Cancelled,
    /// Not built, or not possible on this kernel.
    Unsupported,
    /// A bound on space or number is reached.
    Exhausted,
    /// A fault of ours or of the kernel.
    Internal,
    /// Stored or received bytes are not what their digest or format says.
    Corrupt,
    /// The registry does not answer. The kubelet knows this by a fixed prefix.
    RegistryUnavailable,
    /// A signature policy refused the image.
    SignatureInvalid,
    /// A recursive read-only mount was asked for that can't be.
    RecursiveReadOnlyUnsupported,
    /// A volume made from an image could not be mounted.
    ImageVolumeFailed,
}

/// A failure as it travels through the core: its kind, and a sentence for a person.
///
/// The sentence says what was tried, in which stage, what was wrong and, where it helps, what to do. It is complete: an
/// adapter flattens its own source chain into it with [`Failure::because`], since records keep failures and no error type
/// of ours survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The class.
    pub kind: ErrorKind,
    /// What a person reads: lower case, no full stop at the end.
    pub message: String,
}

impl Failure {
    /// Makes a failure from a kind and a sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Makes a failure from an error and everything beneath it: `outer: inner: innermost`.
    pub fn because(kind: ErrorKind, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            message.push_str(": ");
            message.push_str(&inner.to_string());
            source = inner.source();
        }
        Self { kind, message }
    }

    /// Puts what was tried in front: `tried: message`.
    #[must_use]
    pub fn while_trying(mut self, tried: impl fmt::Display) -> Self {
        self.message = format!("{tried}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Shorthand for what every port and use case returns.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

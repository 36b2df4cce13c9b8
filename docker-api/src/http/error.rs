//! Errors as clients of the API know them: a status and a message.

use hyper::StatusCode;
use orlop_model::{ErrorKind, Failure};
use std::fmt;

/// A request that is answered by an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The request can't be right.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The thing named is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The thing is there but not in a state that allows this.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// A part of the API that is not there yet.
    pub(crate) fn not_built(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not built yet in orlop"))
    }

    /// A fault of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// Puts what was tried in front.
    pub(crate) fn while_trying(self, tried: impl fmt::Display) -> Self {
        Self { message: format!("{tried}: {}", self.message), ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// The only place where a failure of the engine becomes a status. No wildcard: a new kind must choose.
pub(crate) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument | ErrorKind::RecursiveReadOnlyUnsupported => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::WrongState => StatusCode::CONFLICT,
        ErrorKind::Denied | ErrorKind::SignatureInvalid => StatusCode::FORBIDDEN,
        ErrorKind::Unavailable | ErrorKind::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::TimedOut | ErrorKind::Cancelled | ErrorKind::Internal | ErrorKind::Corrupt => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        ErrorKind::RegistryUnavailable | ErrorKind::ImageVolumeFailed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self { status: status(failure.kind), message: known_words(&failure.message).to_owned() }
    }
}

/// Beginnings of sentences by which clients know a failure. The core ends its own sentences with them.
const KNOWN_WORDS: [&str; 3] = ["Bind for ", "unable to find user ", "unable to find group "];

/// Returns what clients know a failure by, where there is something; else all of it.
pub(crate) fn known_words(message: &str) -> &str {
    let begins = KNOWN_WORDS.iter().filter_map(|words| message.rfind(&format!(": {words}"))).max();
    begins.map_or(message, |at| &message[at + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_know_is_told_alone() {
        for (message, told) in [
            (
                "check it: user: \"a\" is not there: unable to find user a: no matching",
                "unable to find user a: no matching",
            ),
            (
                "attach it: Bind for 0.0.0.0:80 failed: port is already allocated",
                "Bind for 0.0.0.0:80 failed: port is already allocated",
            ),
            ("something else: Binding failed", "something else: Binding failed"),
            ("", ""),
        ] {
            assert_eq!(known_words(message), told);
        }
    }
}

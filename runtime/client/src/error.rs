//! What can go wrong between daemon and shims.

use orlop_model::{ErrorKind, Failure};
use orlop_plan::compile::CompileError;
use orlop_wire::frame::WireError;
use std::io;
use std::time::Duration;

/// What can go wrong between daemon and shims.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel call failed.
    #[error("{tried}")]
    Io {
        /// What was tried.
        tried: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A message could not be encoded or read.
    #[error("{tried}")]
    Wire {
        /// What was tried.
        tried: String,
        /// Why it failed.
        #[source]
        source: WireError,
    },
    /// A named bound ran out.
    #[error("{tried}: not done within {} s", .bound.as_secs_f32())]
    Late {
        /// What was tried.
        tried: String,
        /// The bound.
        bound: Duration,
    },
    /// The process at the other end is gone.
    #[error("{tried}: {peer} is gone")]
    Gone {
        /// What was tried.
        tried: String,
        /// Who.
        peer: String,
    },
    /// Nobody listens where a shim should.
    #[error("{tried}: the sandbox has no shim")]
    NoShim {
        /// What was tried.
        tried: String,
    },
    /// Too much is under way.
    #[error("{tried}: {what} are under way already; try again later")]
    Full {
        /// What was tried.
        tried: String,
        /// What there is too much of.
        what: String,
    },
    /// The other end could not do it.
    #[error("{tried}: {message}")]
    Refused {
        /// What was tried.
        tried: String,
        /// What it said, its reason included.
        message: String,
        /// The kernel's reason.
        errno: i32,
    },
    /// The other end does not know the request.
    #[error("{tried}: not known to this shim; it is older than this daemon")]
    Unsupported {
        /// What was tried.
        tried: String,
    },
    /// The other end answered something else.
    #[error("{tried}: the answer is of another kind")]
    Unexpected {
        /// What was tried.
        tried: String,
    },
    /// The request can't be right.
    #[error("{0}")]
    Invalid(String),
    /// A record of ours can't be read.
    #[error("{0}")]
    Corrupt(String),
    /// Something the adapter needs is not there.
    #[error("{0}")]
    Missing(String),
    /// What it needs does not run any more.
    #[error("{0}")]
    Stopped(String),
    /// No spec can be made of the request.
    #[error(transparent)]
    Spec(#[from] orlop_spec::SpecError),
    /// No plan can be made of the spec.
    #[error(transparent)]
    Plan(#[from] orlop_plan::compile::CompileError),
}

/// Shorthand for what the adapter's own functions return.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(tried: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { tried: tried.into(), source: source.into() }
    }

    /// Says that a container does not run, when that is why a shim refused something.
    pub(crate) fn or_stopped(self) -> Self {
        let [gone, unknown] = [rustix::io::Errno::SRCH, rustix::io::Errno::NOENT].map(rustix::io::Errno::raw_os_error);
        if let Self::Refused { message, errno, .. } = &self
            && (*errno == gone || *errno == unknown)
        {
            return Self::Stopped(message.clone());
        }
        self
    }

    /// Returns its class.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => of_errno(source.raw_os_error().unwrap_or(0)),
            Self::Wire { .. } | Self::Unexpected { .. } => ErrorKind::Internal,
            Self::Late { .. } => ErrorKind::TimedOut,
            Self::Gone { .. } | Self::Missing(_) => ErrorKind::Unavailable,
            Self::NoShim { .. } | Self::Stopped(_) => ErrorKind::WrongState,
            Self::Full { .. } => ErrorKind::Exhausted,
            Self::Refused { errno, .. } => of_errno(*errno),
            Self::Unsupported { .. } | Self::Plan(CompileError::Unsupported { .. }) => ErrorKind::Unsupported,
            Self::Invalid(_) | Self::Plan(CompileError::Invalid { .. }) => ErrorKind::InvalidArgument,
            Self::Spec(error) => error.kind(),
            Self::Corrupt(_) => ErrorKind::Corrupt,
        }
    }
}

/// Only what says something about the request or about space; the rest is a fault of ours or of the kernel.
fn of_errno(errno: i32) -> ErrorKind {
    match rustix::io::Errno::from_raw_os_error(errno) {
        rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::NOMEM => ErrorKind::Exhausted,
        rustix::io::Errno::AGAIN | rustix::io::Errno::MFILE | rustix::io::Errno::NFILE => ErrorKind::Exhausted,
        rustix::io::Errno::BUSY => ErrorKind::WrongState,
        rustix::io::Errno::SRCH => ErrorKind::NotFound,
        rustix::io::Errno::INVAL | rustix::io::Errno::RANGE => ErrorKind::InvalidArgument,
        rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::because(error.kind(), &error)
    }
}

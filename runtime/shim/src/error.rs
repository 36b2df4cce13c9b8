//! What a shim could not do.

use orlop_wire::frame::Reply;
use std::fmt;
use std::io;

/// A failure: what was tried, and the kernel's reason.
#[derive(Debug, thiserror::Error)]
#[error("{tried}: {reason}")]
pub(crate) struct Failed {
    tried: String,
    reason: String,
    errno: i32,
}

/// The shim's result.
pub(crate) type Result<T> = std::result::Result<T, Failed>;

impl Failed {
    /// The kernel refused something.
    pub(crate) fn io(tried: impl fmt::Display, error: &io::Error) -> Self {
        Self { tried: tried.to_string(), reason: error.to_string(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// A cgroup could not be used; its error names the file.
    pub(crate) fn cgroup(tried: impl fmt::Display, error: &orlop_cgroups::Error) -> Self {
        let mut reason = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            reason = format!("{reason}: {source}");
        }
        Self { tried: tried.to_string(), reason, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// We refuse something.
    pub(crate) fn refused(tried: impl fmt::Display, reason: impl fmt::Display, errno: i32) -> Self {
        Self { tried: tried.to_string(), reason: reason.to_string(), errno }
    }

    /// Returns the kernel's reason, or `EIO`.
    pub(crate) fn errno(&self) -> i32 {
        self.errno
    }

    /// As the answer to a request.
    pub(crate) fn reply(&self) -> Reply {
        Reply::Error { errno: self.errno, message: self.to_string() }
    }
}

/// Says what was tried when the kernel refuses it.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failed::io(what, &error))
    }
}

impl<T> Tried<T> for std::result::Result<T, rustix::io::Errno> {
    fn tried(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|errno| Failed::io(what, &io::Error::from(errno)))
    }
}

impl<T> Tried<T> for std::result::Result<T, orlop_cgroups::Error> {
    fn tried(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failed::cgroup(what, &error))
    }
}

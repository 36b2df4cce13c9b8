//! Reads and writes tar archives: from a stream: headers, names of any length, extended attributes. No file system.
//!
//! Own code instead of the tar crate: that one reads a name or PAX header of any size into memory, and its readings of
//! PAX have differed from Go's, with which everybody else reads images (CVE-2026-33055, GHSA-3pv8-6f4r-ffg2). Where the
//! formats leave a choice, this follows Go's archive/tar. POSIX.1-2001 pax, GNU tar's manual "Tar Internals".

mod header;
mod pax;
mod reader;
pub(crate) mod writer;

pub(crate) use reader::{Archive, PourError};

/// Why an archive can't be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    /// The stream failed; what it said decides the kind.
    #[error("read the archive")]
    Read(#[source] std::io::Error),
    /// The stream ended in the middle of something.
    #[error("the archive ends in the middle of {0}")]
    Truncated(&'static str),
    /// The format is broken.
    #[error("the archive is malformed at entry {entry}: {why}")]
    Malformed {
        /// Which entry, from 0.
        entry: u64,
        /// What is wrong.
        why: String,
    },
    /// A form that is not supported.
    #[error("entry {entry} of the archive is not supported: {why}")]
    Unsupported {
        /// Which entry, from 0.
        entry: u64,
        /// Which form.
        why: String,
    },
}

/// One member of an archive. Every name is untrusted bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: Modified,
    /// Bytes of data that follow; 0 for all but files.
    pub(crate) size: u64,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Extended attributes, by full name.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// A time of modification; can lie before 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modified {
    pub(crate) seconds: i64,
    /// 0 to 999,999,999, counted forward from `seconds`.
    pub(crate) nanoseconds: u32,
}

//! What can go wrong with a cgroup.

use std::io;
use std::path::PathBuf;

/// A failure, naming the file it happened at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup file system is mounted.
    #[error("no cgroup file system is mounted; mount cgroup2 at /sys/fs/cgroup, or the v1 controllers below it")]
    NoHierarchy,
    /// The path is not one of a cgroup.
    #[error("cgroup path {path:?} {why}")]
    BadPath {
        /// As given, cut to 200 characters.
        path: String,
        /// What is wrong, as the end of the sentence.
        why: &'static str,
    },
    /// The kernel refused something.
    #[error("{verb} {}", path.display())]
    Io {
        /// What was tried: `open`, `make`, `remove`.
        verb: &'static str,
        /// At which file.
        path: PathBuf,
        /// Why it was refused.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a value.
    #[error("write {value:?} to {}", path.display())]
    Write {
        /// What was written, cut to 200 characters.
        value: String,
        /// To which file.
        path: PathBuf,
        /// Why it was refused.
        #[source]
        source: io::Error,
    },
    /// A change of limits was refused in part, and what was written before could not be put back.
    #[error("a change was refused, and not all before it could be put back ({stuck})")]
    NotRestored {
        /// What could not be put back.
        stuck: String,
        /// What was refused.
        #[source]
        refused: Box<Error>,
    },
    /// A limit needs a controller that is not there.
    #[error(
        "set {file} to {value:?}: the cgroup controller {controller:?} is not mounted or not enabled on this node, or (on v2) \
         not handed down, since a cgroup above has processes of its own"
    )]
    NoController {
        /// The controller, empty for the unified hierarchy.
        controller: String,
        /// The file that would have been written.
        file: String,
        /// The value.
        value: String,
    },
    /// A limit names a file that is no name of a file.
    #[error("cgroup file name {0:?} is not a plain file name")]
    BadFile(String),
    /// Processes outlived SIGKILL for longer than we wait.
    #[error("{count} processes in cgroup {path} are still there {waited_ms} ms after SIGKILL, the first is {first}")]
    StillRunning {
        /// The cgroup.
        path: CgroupName,
        /// How many.
        count: usize,
        /// One of them.
        first: u32,
        /// How long we waited.
        waited_ms: u64,
    },
    /// Freezing took longer than we wait.
    #[error("cgroup {path} is not {wanted} after {waited_ms} ms")]
    FreezeTimedOut {
        /// The cgroup.
        path: CgroupName,
        /// `frozen` or `thawed`.
        wanted: &'static str,
        /// How long we waited.
        waited_ms: u64,
    },
    /// No freezer on this node.
    #[error("cgroup {0} can't be frozen: no freezer hierarchy is mounted and it has no cgroup.freeze")]
    NoFreezer(CgroupName),
    /// Device programs are for the unified hierarchy.
    #[error("cgroup {0} is in no unified hierarchy, which device rules by program need")]
    NoUnified(CgroupName),
    /// Someone nests cgroups deeper than we follow.
    #[error("cgroups below {} are nested more than {max} deep", path.display())]
    TooDeep {
        /// Where we started.
        path: PathBuf,
        /// The bound.
        max: usize,
    },
}

/// A cgroup's path, for a message.
pub type CgroupName = crate::CgroupPath;

impl Error {
    /// Returns the errno beneath, if the kernel gave one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } | Self::Write { source, .. } => source.raw_os_error(),
            Self::NotRestored { refused, .. } => refused.raw_os_error(),
            Self::NoHierarchy
            | Self::BadPath { .. }
            | Self::NoController { .. }
            | Self::BadFile(_)
            | Self::StillRunning { .. }
            | Self::FreezeTimedOut { .. }
            | Self::NoFreezer(_)
            | Self::NoUnified(_)
            | Self::TooDeep { .. } => None,
        }
    }

    pub(crate) fn io(verb: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { verb, path: path.into(), source: source.into() }
    }
}

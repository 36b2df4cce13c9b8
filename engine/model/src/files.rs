//! Files of a container, as whoever copies them in or out needs them.

use crate::ports::Answer;
use crate::time::Timestamp;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What a path inside a container names. The last link of the path is not followed, unless a slash or a dot follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Last part of the path as asked for: `/` of the root, `.` of a path that ends so.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// When it was changed last.
    pub modified: Timestamp,
    /// Where a link leads, as an absolute path inside the container; empty for all else.
    pub link_target: Vec<u8>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A device read by characters.
    CharDevice,
    /// A device read by blocks.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Files on their way out.
pub struct Packing {
    /// What was asked for.
    pub stat: FileStat,
    /// Gives the archive, a plain tar; does not block. Closing it ends the packing.
    pub archive: OwnedFd,
    /// Waits for the end, and says whether the archive is whole.
    pub ended: Answer<'static, crate::error::Result<()>>,
}

impl std::fmt::Debug for Packing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packing").field("stat", &self.stat).field("archive", &self.archive).finish_non_exhaustive()
    }
}

/// Files to bring in.
#[derive(Debug)]
pub struct Unpack {
    /// The folder inside that they go to. It must be there; links on the way are followed.
    pub to: PathBuf,
    /// Gives the archive: tar, plain or packed with gzip. One that ends early is refused where it does; what came before
    /// that stays.
    pub archive: OwnedFd,
    /// Whether a folder may take the place of something else, and the reverse.
    pub overwrite: Overwrite,
    /// User and group of everything, in place of those the archive names.
    pub owner: Option<(u32, u32)>,
}

/// What may take the place of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Anything of anything.
    AnyKind,
    /// Only a folder of a folder, and other things of other things.
    SameKind,
}

/// What a container has changed of one path of its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Absolute path inside.
    pub path: PathBuf,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is another; of a folder that stays one: its mode or its owner.
    Modified,
    /// The image has it not.
    Added,
    /// Only the image has it.
    Deleted,
}

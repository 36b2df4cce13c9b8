//! The store's folders, and the few ways in which anything in them changes.
//!
//! `ingest/` half-made things · `layers/<diff id>/{fs,layer}` · `content/<digest>` manifests and configs ·
//! `images/<id>` records · `containers/<id>/{upper,work,record}` · `trash/` on its way out ·
//! `empty/` · `lock`.
//! Folders are open to root alone, so that nobody reaches a setuid file of an image by its path here.

use crate::error::Error;
use orlop_model::{ContainerId, Digest, ImageId};
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const FOLDERS: [&str; 7] = ["ingest", "layers", "content", "images", "containers", "trash", "empty"];

/// The store's place on disk; held by one process at a time.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Open folder, for flushing the file system.
    folder: File,
    _lock: File,
    /// Makes names that no earlier run used: it starts with the time.
    next_name: AtomicU64,
}

// === impl Disk ===

impl Disk {
    /// Makes the folders where missing and takes the lock.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let failed = |path: &Path| Error::io(format!("make folder {path:?}"));
        private_folders(root).map_err(failed(root))?;
        for folder in FOLDERS {
            let folder = root.join(folder);
            private_folders(&folder).map_err(failed(&folder))?;
        }
        let path = root.join("lock");
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(Error::io(format!("open {path:?}")))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::Exists { what: format!("another process uses the image store in {root:?}") });
            }
            Err(error) => return Err(Error::errno(format!("lock {path:?}"))(error)),
        }
        let folder = File::open(root).map_err(Error::io(format!("open {root:?}")))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let next_name = AtomicU64::new(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2));
        Ok(Self { root: root.to_owned(), folder, _lock: lock, next_name })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        debug_assert!(FOLDERS.contains(&name), "{name} is one of the store's folders");
        self.root.join(name)
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.folder("layers").join(diff_id.hex())
    }

    pub(crate) fn content(&self, digest: &Digest) -> PathBuf {
        self.folder("content").join(digest.hex())
    }

    pub(crate) fn image(&self, id: &ImageId) -> PathBuf {
        self.folder("images").join(id.0.hex())
    }

    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        self.folder("containers").join(id.as_str())
    }

    /// Returns a folder with nothing in it, to stand under images without layers.
    pub(crate) fn empty(&self) -> PathBuf {
        self.folder("empty")
    }

    fn fresh_name(&self) -> String {
        format!("{:x}", self.next_name.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes an empty folder for something half-made.
    pub(crate) fn ingest(&self) -> Result<PathBuf, Error> {
        let path = self.folder("ingest").join(self.fresh_name());
        DirBuilder::new().mode(0o700).create(&path).map_err(Error::io(format!("make folder {path:?}")))?;
        Ok(path)
    }

    /// Moves something that is complete to where it belongs. Nothing may be there.
    pub(crate) fn settle(&self, from: &Path, to: &Path) -> Result<(), Error> {
        rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
            .map_err(Error::errno(format!("move {from:?} to {to:?}")))
    }

    /// Moves something to the trash; returns its name there, `None` when there was nothing.
    pub(crate) fn discard(&self, path: &Path) -> Result<Option<String>, Error> {
        loop {
            let name = self.fresh_name();
            let to = self.folder("trash").join(&name);
            match rustix::fs::renameat_with(CWD, path, CWD, &to, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(Some(name)),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(Error::errno(format!("move {path:?} to the trash"))(error)),
            }
        }
    }

    /// Writes a file that appears whole or not at all, without flushing it.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.replace(path, bytes, Flush::Later)
    }

    /// Writes a file that appears whole or not at all, and stays.
    pub(crate) fn write_flushed(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.replace(path, bytes, Flush::Now)?;
        self.flush_folder_of(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8], flush: Flush) -> Result<(), Error> {
        let half = self.folder("ingest").join(self.fresh_name());
        let written = (|| {
            let mut file = File::options().create_new(true).write(true).mode(0o600).open(&half)?;
            file.write_all(bytes)?;
            if flush == Flush::Now {
                file.sync_data()?;
            }
            fs::rename(&half, path)
        })();
        written.map_err(|error| {
            // Best effort: what stays is swept at the next start.
            let _ = fs::remove_file(&half);
            Error::io(format!("write {path:?}"))(error)
        })
    }

    /// Removes a file, for good; quiet when it is not there.
    pub(crate) fn remove_flushed(&self, path: &Path) -> Result<(), Error> {
        match fs::remove_file(path) {
            Ok(()) => self.flush_folder_of(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(format!("remove {path:?}"))(error)),
        }
    }

    fn flush_folder_of(&self, path: &Path) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(&self.root);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(format!("flush folder {folder:?}")))
    }

    /// Flushes everything written to the store's file system so far, names included. syncfs(2).
    pub(crate) fn flush_all(&self) -> Result<(), Error> {
        rustix::fs::syncfs(&self.folder).map_err(Error::errno(format!("flush the file system of {:?}", self.root)))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Now,
    Later,
}

fn private_folders(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

//! Folders of a test, with a name that says whose they are.

use crate::mark::{self, MARK};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Distinguishes the scratch folders of one process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder below the temporary folder, removed when dropped. Its name, `orlop-t<pid>-<n>`, is unique on the machine.
#[derive(Debug)]
pub struct Scratch {
    name: String,
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder. The name is kept short: a socket's path below it may have 107 bytes.
    ///
    /// # Errors
    /// When the temporary folder can't be written.
    pub fn new() -> io::Result<Self> {
        loop {
            let name = format!("{MARK}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    mark::begin(&name);
                    return Ok(Self { name, path });
                }
                // A process that had our pid was killed before it could clean up.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => (),
                Err(e) => return Err(e),
            }
        }
    }

    /// Returns the name, unique on the machine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a folder inside, made if it isn't there.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: what can't be removed is found, and named, by the guard.
        let _ = fs::remove_dir_all(&self.path);
        mark::end(&self.name);
    }
}

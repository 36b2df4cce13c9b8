//! Records of the boot class: one file each, replaced by rename, never flushed; void when the node has booted since.

use crate::Error;
use crate::envelope::Envelope;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest record; a larger file is not ours.
pub(crate) const RECORD_BYTES_MAX: u64 = 32 << 20;

/// A folder of boot-class records.
#[derive(Debug)]
pub(crate) struct BootFolder {
    dir: PathBuf,
    boot_id: String,
    generation: AtomicU64,
}

impl BootFolder {
    pub(crate) fn open(dir: &Path, boot_id: &str, kinds: &[&str]) -> Result<Self, Error> {
        for kind in kinds {
            make_dir(&dir.join(kind))?;
        }
        make_dir(&dir.join("set-aside"))?;
        Ok(Self { dir: dir.to_owned(), boot_id: boot_id.to_owned(), generation: AtomicU64::new(0) })
    }

    /// Removes every folder that is empty; what was set aside stays where a person finds it.
    pub(crate) fn end(&self, kinds: &[&str]) -> Result<(), Error> {
        let below = kinds.iter().chain(&["set-aside"]).map(|kind| self.dir.join(kind));
        for dir in below.chain([self.dir.clone()]) {
            match fs::remove_dir(&dir) {
                Err(wrong) if !matches!(wrong.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                    return Err(Error::file("remove folder", &dir)(wrong));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn put(&self, kind: &str, id: &str, body: &[u8]) -> Result<(), Error> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        let bytes = Envelope::seal(generation, &self.boot_id, body);
        let path = self.dir.join(kind).join(id);
        let draft = self.dir.join(kind).join(format!("{id}.{generation}.draft"));
        let written = write_new(&draft, &bytes).and_then(|()| fs::rename(&draft, &path));
        written.map_err(|wrong| {
            // What was there before is still whole; only the draft is in the way.
            drop(fs::remove_file(&draft));
            Error::file("write record", &path)(wrong)
        })
    }

    /// Deletes a record; quiet when it is not there.
    pub(crate) fn delete(&self, kind: &str, id: &str) -> Result<(), Error> {
        quietly_remove(&self.dir.join(kind).join(id))
    }

    /// Reads every record of a kind. Drafts and records of another boot are deleted, damaged ones set aside.
    pub(crate) fn read(
        &self,
        kind: &str,
        set_aside: &mut Vec<(PathBuf, String)>,
    ) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut found = Vec::new();
        for (id, path) in entries(&self.dir.join(kind))? {
            if id.ends_with(".draft") {
                quietly_remove(&path)?;
                continue;
            }
            match read_bounded(&path).and_then(|bytes| Envelope::open(&bytes)) {
                Ok(envelope) if envelope.boot_id == self.boot_id => {
                    self.generation.fetch_max(envelope.generation + 1, Ordering::Relaxed);
                    found.push((id, envelope.body));
                }
                // The node has booted since: what this says is void.
                Ok(_) => quietly_remove(&path)?,
                Err(wrong) => set_aside.push((self.set_aside(kind, &id)?, wrong)),
            }
        }
        Ok(found)
    }

    /// Moves a record out of the way; returns where it is now.
    pub(crate) fn set_aside(&self, kind: &str, id: &str) -> Result<PathBuf, Error> {
        move_aside(&self.dir, kind, id)
    }
}

/// Moves a record of a store into its `set-aside` folder.
pub(crate) fn move_aside(dir: &Path, kind: &str, name: &str) -> Result<PathBuf, Error> {
    let from = dir.join(kind).join(name);
    let to = dir.join("set-aside").join(format!("{kind}.{name}"));
    fs::rename(&from, &to).map_err(Error::file("set aside record", &from))?;
    Ok(to)
}

/// Makes a folder only root may enter, with its parents.
pub(crate) fn make_dir(dir: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::file("make folder", dir))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

pub(crate) fn quietly_remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(wrong) if wrong.kind() != io::ErrorKind::NotFound => Err(Error::file("delete record", path)(wrong)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Lists a folder by name; names that are not UTF-8 are none of ours and passed over.
pub(crate) fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::file("list folder", dir))? {
        let entry = entry.map_err(Error::file("list folder", dir))?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|wrong| wrong.to_string())?.len();
    if size > RECORD_BYTES_MAX {
        return Err(format!("it has {size} bytes, a record has at most {RECORD_BYTES_MAX}"));
    }
    fs::read(path).map_err(|wrong| wrong.to_string())
}

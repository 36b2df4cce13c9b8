//! Records of the node class: two slots each, written in turn and flushed; the newest whole one counts.
//!
//! Overwriting a slot and fdatasync is some thirty times cheaper than replacing a flushed file, and a torn write leaves the
//! other slot as it was.

use crate::Error;
use crate::boot::{entries, make_dir, move_aside, quietly_remove, read_bounded};
use crate::envelope::Envelope;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Suffixes of the two slots.
const SLOTS: [&str; 2] = [".0", ".1"];

/// A folder of node-class records.
#[derive(Debug)]
pub(crate) struct SlotFolder {
    dir: PathBuf,
}

impl SlotFolder {
    pub(crate) fn open(dir: &Path, kinds: &[&str]) -> Result<Self, Error> {
        for kind in kinds {
            make_dir(&dir.join(kind))?;
        }
        make_dir(&dir.join("set-aside"))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Writes a record over its older slot, and flushes it.
    pub(crate) fn put(&self, kind: &str, id: &str, body: &[u8]) -> Result<(), Error> {
        let folder = self.dir.join(kind);
        let generations = SLOTS.map(|slot| {
            let read = read_bounded(&folder.join(format!("{id}{slot}")));
            read.ok().and_then(|bytes| Envelope::open(&bytes).ok()).map(|envelope| envelope.generation)
        });
        let older = usize::from(generations[0] > generations[1]);
        let generation = generations.into_iter().flatten().max().map_or(0, |newest| newest + 1);
        let path = folder.join(format!("{id}{}", SLOTS[older]));
        let new = !path.exists();
        write_flushed(&path, &Envelope::seal(generation, "", body))?;
        if new { flush_folder(&folder) } else { Ok(()) }
    }

    /// Deletes a record; quiet when it is not there.
    pub(crate) fn delete(&self, kind: &str, id: &str) -> Result<(), Error> {
        let folder = self.dir.join(kind);
        let paths = SLOTS.map(|slot| folder.join(format!("{id}{slot}")));
        if !paths.iter().any(|path| path.exists()) {
            return Ok(());
        }
        paths.iter().try_for_each(|path| quietly_remove(path))?;
        flush_folder(&folder)
    }

    /// Reads every record of a kind, by the newest whole slot; records with no whole slot are set aside.
    pub(crate) fn read(
        &self,
        kind: &str,
        set_aside: &mut Vec<(PathBuf, String)>,
    ) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut newest: BTreeMap<String, Envelope> = BTreeMap::new();
        let mut damaged: Vec<(String, String, String)> = Vec::new();
        for (name, path) in entries(&self.dir.join(kind))? {
            let Some(id) = SLOTS.iter().find_map(|slot| name.strip_suffix(slot)) else { continue };
            match read_bounded(&path).and_then(|bytes| Envelope::open(&bytes)) {
                Ok(envelope) => {
                    let older = newest.get(id).is_none_or(|there| there.generation < envelope.generation);
                    if older {
                        newest.insert(id.to_owned(), envelope);
                    }
                }
                Err(wrong) => damaged.push((id.to_owned(), name.clone(), wrong)),
            }
        }
        for (id, name, wrong) in damaged {
            // A torn slot beside a whole one is what the two slots are for.
            if !newest.contains_key(&id) {
                set_aside.push((move_aside(&self.dir, kind, &name)?, wrong));
            }
        }
        Ok(newest.into_iter().map(|(id, envelope)| (id, envelope.body)).collect())
    }

    /// Moves both slots of a record out of the way; returns where the first is now.
    pub(crate) fn set_aside(&self, kind: &str, id: &str) -> Result<PathBuf, Error> {
        let mut moved = None;
        for slot in SLOTS {
            let name = format!("{id}{slot}");
            if self.dir.join(kind).join(&name).exists() {
                moved = Some(move_aside(&self.dir, kind, &name)?);
            }
        }
        Ok(moved.unwrap_or_else(|| self.dir.join("set-aside")))
    }
}

fn write_flushed(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_data()
    };
    write().map_err(Error::file("write record", path))
}

fn flush_folder(dir: &Path) -> Result<(), Error> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::file("flush folder", dir))
}

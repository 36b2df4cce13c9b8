//! Volumes: folders of the node that outlive the containers which write to them.
//!
//! Start at [`Volumes`]. What always holds: a volume that a container holds is not removed; one that was made for a container
//! whose creation came to nothing, or that went with the container, is gone, at the latest after the daemon's next start; a
//! folder without a record is no volume.

mod disk;
pub(crate) mod fill;
#[cfg(test)]
mod tests;

use crate::dto::TextMap;
use crate::http::error::ApiError;
use crate::locks::Locks;
use orlop_model::{ContainerId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::warn;

/// The only driver.
pub(crate) const LOCAL: &str = "local";
/// Folder of a volume that containers see.
const DATA: &str = "_data";

/// A volume, as it is recorded. A field that is added has a default: records outlive daemons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) labels: TextMap,
    /// Whether its name was made up, for a container that named none.
    pub(crate) anonymous: bool,
    /// The container that it is removed with, by itself.
    pub(crate) goes_with: Option<ContainerId>,
}

/// What a container has of a volume; a part of its annex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct VolumeUse {
    pub(crate) name: String,
    /// Absolute path inside.
    pub(crate) target: PathBuf,
    /// Whether what the image has there is copied into it, as long as it is empty.
    pub(crate) copies: bool,
    /// Labels of one that is made for it.
    pub(crate) labels: TextMap,
    /// Whether it was made for this container, which named none.
    pub(crate) anonymous: bool,
}

/// A container that is there, and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) id: ContainerId,
    pub(crate) uses: Vec<VolumeUse>,
    /// Whether it is removed at its end, by itself.
    pub(crate) removed_at_end: bool,
}

impl Volume {
    /// Says whether it outlives the container that it was made for: with a name always, else unless that is removed by itself.
    pub(crate) fn outlives(&self, removed_at_end: bool) -> bool {
        !self.anonymous || !removed_at_end
    }
}

/// All volumes, and who holds them.
#[derive(Debug)]
pub(crate) struct Volumes {
    folder: PathBuf,
    inner: Mutex<Inner>,
    /// By name, held while a volume is filled: two containers never fill one at once.
    filling: Locks<String>,
}

#[derive(Debug, Default)]
struct Inner {
    volumes: BTreeMap<String, Volume>,
    held: BTreeMap<String, BTreeSet<ContainerId>>,
    /// How many were removed: folders on their way out have names of their own.
    thrown: u64,
}

// === impl Volumes ===

impl Volumes {
    /// Reads what is there, for these containers, and removes what nobody has any more.
    pub(crate) fn open(folder: PathBuf, holders: &[Holder]) -> Self {
        let mut inner = Inner::default();
        for holder in holders {
            inner.hold(&holder.uses, &holder.id);
        }
        let (volumes, left) = disk::load(&folder);
        left.into_iter().for_each(|path| delete_aside(&folder, path));
        let volumes = Self { folder, inner: Mutex::new(Inner { volumes, ..inner }), filling: Locks::default() };
        // Of a container that is there, even when what it holds can't be read, nothing is taken.
        let there = |id: &ContainerId| holders.iter().any(|holder| holder.id == *id);
        let left = |volume: &Volume| volume.goes_with.as_ref().is_some_and(|id| !there(id));
        for holder in holders {
            // Its creation may have been cut off after the container was there, and before this was recorded.
            if let Err(wrong) = volumes.keep(&holder.id, |volume| volume.outlives(holder.removed_at_end)) {
                warn!(container = %holder.id, error = %wrong, "volumes can't be recorded to outlive their container");
            }
        }
        let left: Vec<String> = volumes.list().into_iter().filter(left).map(|volume| volume.name).collect();
        for name in left {
            volumes.remove_unless_held(&name);
        }
        volumes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(&self) -> Vec<Volume> {
        self.lock().volumes.values().cloned().collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Volume> {
        self.lock().volumes.get(name).cloned()
    }

    /// Returns how many containers hold a volume.
    pub(crate) fn holders(&self, name: &str) -> usize {
        self.lock().held.get(name).map_or(0, BTreeSet::len)
    }

    /// Returns the folder of a volume that containers see.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        data(&self.folder, name)
    }

    /// Returns the bytes that a volume takes. Blocks.
    pub(crate) fn bytes(&self, name: &str) -> u64 {
        disk::bytes(&self.data(name))
    }

    /// Makes a volume; one that is there already is returned as it is.
    pub(crate) fn create(&self, volume: Volume) -> io::Result<Volume> {
        self.lock().create(&self.folder, volume)
    }

    /// Makes what is missing of a container's volumes, and holds all of them for it. What is made for it alone goes with it
    /// until [`Volumes::keep`] says otherwise. Nothing is held after a failure.
    pub(crate) fn take(&self, uses: &[VolumeUse], id: &ContainerId, now: Timestamp) -> io::Result<Vec<Volume>> {
        let mut inner = self.lock();
        let mut made = Vec::new();
        for one in uses {
            let volume = Volume {
                name: one.name.clone(),
                created: now,
                labels: one.labels.clone(),
                anonymous: one.anonymous,
                goes_with: Some(id.clone()),
            };
            let there = inner.volumes.contains_key(&one.name);
            match inner.create(&self.folder, volume) {
                Ok(_) if there => {}
                Ok(volume) => made.push(volume),
                Err(wrong) => {
                    drop(inner);
                    made.iter().for_each(|volume| self.remove_unless_held(&volume.name));
                    return Err(wrong);
                }
            }
        }
        inner.hold(uses, id);
        Ok(made)
    }

    /// Lets what was made for a container outlive it.
    pub(crate) fn keep(&self, id: &ContainerId, which: impl Fn(&Volume) -> bool) -> io::Result<()> {
        let mut inner = self.lock();
        let goes = |volume: &&mut Volume| volume.goes_with.as_ref() == Some(id) && which(volume);
        inner.volumes.values_mut().filter(goes).try_for_each(|volume| {
            let kept = Volume { goes_with: None, ..volume.clone() };
            disk::write(&self.folder, &kept)?;
            *volume = kept;
            Ok(())
        })
    }

    /// Gives up what a container held; what goes with it is removed.
    pub(crate) fn release(&self, id: &ContainerId) {
        let gone: Vec<String> = {
            let mut inner = self.lock();
            for holders in inner.held.values_mut() {
                holders.remove(id);
            }
            inner.held.retain(|_, holders| !holders.is_empty());
            let goes = |volume: &&Volume| volume.goes_with.as_ref() == Some(id);
            inner.volumes.values().filter(goes).map(|volume| volume.name.clone()).collect()
        };
        for name in gone {
            self.remove_unless_held(&name);
        }
    }

    /// Removes those of a container's volumes that had no name of their own.
    pub(crate) fn remove_anonymous(&self, uses: &[VolumeUse]) {
        for one in uses {
            if self.find(&one.name).is_some_and(|volume| volume.anonymous) {
                self.remove_unless_held(&one.name);
            }
        }
    }

    /// Removes a volume.
    pub(crate) fn remove(&self, name: &str) -> Result<(), ApiError> {
        let mut inner = self.lock();
        if !inner.volumes.contains_key(name) {
            return Err(missing(name));
        }
        if let Some(holders) = inner.held.get(name) {
            let ids: Vec<&str> = holders.iter().map(ContainerId::as_str).collect();
            let message = format!("remove {name}: volume is in use - [{}]", ids.join(", "));
            return Err(ApiError::conflict(message));
        }
        let failed = |wrong| ApiError::internal(format!("remove volume {name}: {wrong}"));
        inner.thrown += 1;
        let thrown = disk::forget(&self.folder, name, inner.thrown).map_err(failed)?;
        inner.volumes.remove(name);
        drop(inner);
        delete_aside(&self.folder, thrown);
        Ok(())
    }

    fn remove_unless_held(&self, name: &str) {
        match self.remove(name) {
            Err(wrong) if wrong.status().is_server_error() => {
                warn!(volume = name, error = %wrong, "a volume stays behind")
            }
            Ok(()) | Err(_) => {}
        }
    }
}

// === impl Inner ===

impl Inner {
    fn hold(&mut self, uses: &[VolumeUse], id: &ContainerId) {
        for one in uses {
            self.held.entry(one.name.clone()).or_default().insert(id.clone());
        }
    }

    /// Finds a volume for one more who wants it: from now on it goes with nobody.
    fn claim(&mut self, folder: &Path, name: &str) -> io::Result<Option<Volume>> {
        let Some(there) = self.volumes.get_mut(name) else { return Ok(None) };
        if there.goes_with.is_some() {
            let kept = Volume { goes_with: None, ..there.clone() };
            disk::write(folder, &kept)?;
            *there = kept;
        }
        Ok(Some(there.clone()))
    }

    fn create(&mut self, folder: &Path, volume: Volume) -> io::Result<Volume> {
        if let Some(there) = self.claim(folder, &volume.name)? {
            return Ok(there);
        }
        disk::create(folder, &volume)?;
        self.volumes.insert(volume.name.clone(), volume.clone());
        Ok(volume)
    }
}

/// Deletes a folder that may hold much, so that nobody waits for it. What an end of the daemon leaves, the next start deletes.
fn delete_aside(volumes: &Path, folder: PathBuf) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let volumes = volumes.to_owned();
            drop(runtime.spawn_blocking(move || disk::delete(&volumes, &folder)));
        }
        Err(_) => disk::delete(volumes, &folder),
    }
}

/// Returns the folder of a volume that containers see, among all volumes.
pub(crate) fn data(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).join(DATA)
}

/// Says that there is no such volume.
pub(crate) fn missing(name: &str) -> ApiError {
    ApiError::not_found(format!("get {name}: no such volume"))
}

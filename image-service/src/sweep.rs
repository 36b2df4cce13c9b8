//! Reads the store at start, and clears away what a crash left between two steps.

use crate::commit::is_used;
use crate::disk::Disk;
use crate::error::Error;
use crate::image_config::ParsedConfig;
use crate::index::{Index, Known};
use crate::ledger::Ledger;
use crate::manifest::{CONFIG_BYTES_MAX, Platform};
use crate::record::{self, ContainerRecord, ImageRecord, LayerRecord, RECORD_BYTES_MAX};
use crate::remote::digest_of;
use crate::store::Shared;
use crate::trash::Trash;
use orlop_model::{ContainerId, Digest};
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Ending of a record that can't be used and was set aside for a person to look at.
const SET_ASIDE: &str = "damaged";

/// Loads everything that is whole into `shared`, and throws the rest away.
pub(crate) fn load(shared: &Shared) -> Result<(), Error> {
    let (disk, trash) = (&*shared.disk, &shared.trash);
    for name in names(&disk.folder("ingest"))? {
        trash.throw(&disk.folder("ingest").join(name))?;
    }
    let mut ledger = Ledger::default();
    layers(disk, trash, &mut ledger)?;
    for name in names(&disk.folder("content"))? {
        let path = disk.folder("content").join(&name);
        if let (Ok(digest), Ok(meta)) = (Digest::parse(&format!("sha256:{name}")), fs::symlink_metadata(&path)) {
            ledger.content.insert(digest, meta.len());
        } else {
            trash.throw(&path)?;
        }
    }
    containers(disk, trash, &mut ledger)?;
    *shared.ledger() = ledger;
    let index = images(shared)?;
    shared.publish(index);
    unused(shared);
    Ok(())
}

/// A layer without its record is not whole. One with it is, if an image's record names it: it was flushed before.
fn layers(disk: &Disk, trash: &Trash, ledger: &mut Ledger) -> Result<(), Error> {
    for name in names(&disk.folder("layers"))? {
        let path = disk.folder("layers").join(&name);
        match read_record::<LayerRecord>(&path.join("layer")) {
            Ok(record) if record.diff_id.hex() == name => {
                ledger.layers.insert(record.diff_id.clone(), Arc::new(record));
            }
            Ok(_) | Err(_) => trash.throw(&path)?,
        }
    }
    Ok(())
}

fn containers(disk: &Disk, trash: &Trash, ledger: &mut Ledger) -> Result<(), Error> {
    for name in names(&disk.folder("containers"))? {
        let path = disk.folder("containers").join(&name);
        let Ok(id) = ContainerId::parse(&name) else {
            trash.throw(&path)?;
            continue;
        };
        match read_record::<ContainerRecord>(&path.join("record")) {
            Ok(record) if record.id == id => {
                ledger.containers.insert(id, Arc::new(record));
            }
            Ok(_) | Err(_) => {
                tracing::warn!(container = %id, "the record of its writable layer can't be read; it can only be removed");
                ledger.damaged.insert(id);
            }
        }
    }
    Ok(())
}

fn images(shared: &Shared) -> Result<Index, Error> {
    let mut found = Vec::new();
    for name in names(&shared.disk.folder("images"))? {
        let path = shared.disk.folder("images").join(&name);
        if name.ends_with(SET_ASIDE) {
            continue;
        }
        match image(shared, &path, &name) {
            Ok(known) => found.push(known),
            Err(why) => {
                tracing::error!(record = ?path, why, "an image can't be used and is set aside; pull it again");
                let aside = path.with_extension(SET_ASIDE);
                fs::rename(&path, &aside).map_err(Error::io(format!("set aside {path:?}")))?;
            }
        }
    }
    Ok(without_double_tags(found))
}

fn image(shared: &Shared, path: &Path, name: &str) -> Result<Known, String> {
    let record: ImageRecord = read_record(path)?;
    if record.id.0.hex() != name {
        return Err("its record is of another image".to_owned());
    }
    {
        let ledger = shared.ledger();
        if let Some(layer) = record.stack.iter().find(|layer| !ledger.layers.contains_key(*layer)) {
            return Err(format!("its layer {layer} is not there"));
        }
        if let Some(document) = record.documents.iter().find(|document| !ledger.content.contains_key(*document)) {
            return Err(format!("its manifest {document} is not there"));
        }
    }
    let config = read(&shared.disk.content(&record.id.0), CONFIG_BYTES_MAX)?;
    if digest_of(&config) != record.id.0 {
        return Err("its config is damaged".to_owned());
    }
    let config = ParsedConfig::parse(&record.id.0, config, record.layers.len(), &Platform::of_node());
    Ok(shared.known(record, &config.map_err(|error| error.to_string())?))
}

/// A crash while a tag moved can leave it with two images: the later one has it.
fn without_double_tags(mut found: Vec<Known>) -> Index {
    found.sort_by_key(|known| known.record.generation);
    let mut index = Index::default();
    for known in found {
        for tag in &known.record.tags {
            if let Some(earlier) = index.named(tag).cloned() {
                let mut record = earlier.record.clone();
                record.take_name(tag);
                index = index.with(earlier.renamed(record));
            }
        }
        index = index.with(known);
    }
    index
}

/// Moves away what no image and no writable layer needs.
fn unused(shared: &Shared) {
    let mut ledger = shared.ledger();
    let index = shared.index();
    let all: Vec<Digest> = ledger.layers.keys().chain(ledger.content.keys()).cloned().collect();
    let unused: Vec<Digest> = all.into_iter().filter(|digest| !is_used(&index, digest)).collect();
    if !unused.is_empty() {
        tracing::info!(count = unused.len(), "sweeping layers and manifests that no image needs");
    }
    shared.collect(&mut ledger, &unused);
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = || Error::io(format!("read folder {folder:?}"));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        match name.into_string() {
            Ok(name) => found.push(name),
            Err(name) => tracing::warn!(?folder, ?name, "a file that is not of this store"),
        }
    }
    Ok(found)
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(bytes_max).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    record::decode(&read(path, RECORD_BYTES_MAX)?).map_err(|error| error.to_string())
}

//! The steps that make an image, and those that take it away.
//!
//! Order is everything. Made: content and layers in place, all flushed, then the record. Taken away: the record, then what
//! nobody else needs. A crash between two steps leaves things without a record, which the next start sweeps.

use crate::disk::Disk;
use crate::error::Error;
use crate::image_config::ParsedConfig;
use crate::index::{Index, Known};
use crate::ledger::Ledger;
use crate::merge::{self, Merge, Stacked};
use crate::record::{self, ImageRecord, LayerRecord, Look};
use crate::reference::{Reference, Version};
use crate::remote::Document;
use crate::store::Shared;
use orlop_model::effect::ImageEffect as Part;
use orlop_model::image::{Image, Removed};
use orlop_model::{Digest, ImageId};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything a pull has learned, before its layers.
pub(crate) struct Pulled {
    pub(crate) reference: Reference,
    /// The one that was asked for first, the manifest last.
    pub(crate) documents: Vec<Document>,
    pub(crate) config_digest: Digest,
    pub(crate) config: ParsedConfig,
}

/// What will be stacked for a container.
pub(crate) struct StackPlan {
    stack: Vec<Digest>,
    root: Look,
    /// Keeps a layer made for it until the record names it.
    _lease: Lease,
}

/// Something half-made; goes to the trash unless it is settled.
pub(crate) struct Ingest {
    path: PathBuf,
    shared: Arc<Shared>,
}

/// Keeps layers and content while a pull needs them.
pub(crate) struct Lease {
    digests: Vec<Digest>,
    shared: Arc<Shared>,
}

// === impl Pulled ===

impl Pulled {
    /// Returns everything that must stay while the pull goes on.
    pub(crate) fn needs(&self) -> Vec<Digest> {
        let documents = self.documents.iter().map(|document| &document.digest);
        documents.chain(&self.config.diff_ids).chain([&self.config_digest]).cloned().collect()
    }
}

// === impl Ingest ===

impl Ingest {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if let Err(error) = self.shared.trash.throw(&self.path) {
            tracing::warn!(path = ?self.path, %error, "could not throw something half-made away; next start does");
        }
    }
}

// === impl Lease ===

impl Lease {
    pub(crate) fn new(shared: &Arc<Shared>, digests: Vec<Digest>) -> Self {
        let mut ledger = shared.ledger();
        for digest in &digests {
            ledger.lease(digest);
        }
        drop(ledger);
        Self { digests, shared: Arc::clone(shared) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut ledger = self.shared.ledger();
        for digest in &self.digests {
            ledger.end_lease(digest);
        }
        // After a pull that failed. A few renames: not worth a thread of their own.
        self.shared.collect(&mut ledger, &self.digests);
    }
}

// === impl Shared: making ===

impl Shared {
    /// Makes a folder for something half-made.
    pub(crate) fn ingest(self: &Arc<Self>) -> Result<Ingest, Error> {
        Ok(Ingest { path: self.disk.ingest()?, shared: Arc::clone(self) })
    }

    pub(crate) fn has_layer(&self, diff_id: &Digest) -> bool {
        self.ledger().layers.contains_key(diff_id)
    }

    /// Puts an unpacked layer in its place. Not flushed yet: nothing may name it before that.
    pub(crate) fn keep_layer(&self, ingest: Ingest, record: LayerRecord) -> Result<(), Error> {
        let mut ledger = self.ledger();
        if ledger.layers.contains_key(&record.diff_id) {
            // The same layer came from another blob meanwhile.
            return Ok(());
        }
        if !ledger.leases.contains_key(&record.diff_id) {
            return Err(Error::Cancelled { what: format!("layer {}", record.diff_id) });
        }
        self.disk.settle(ingest.path(), &self.disk.layer(&record.diff_id))?;
        ledger.layers.insert(record.diff_id.clone(), Arc::new(record));
        Ok(())
    }

    /// Stores manifests and config.
    pub(crate) fn keep_content(&self, pulled: &Pulled) -> Result<(), Error> {
        let documents = pulled.documents.iter().map(|document| (&document.digest, document.bytes.as_slice()));
        for (digest, bytes) in documents.chain([(&pulled.config_digest, pulled.config.text.as_bytes())]) {
            if !self.ledger().content.contains_key(digest) {
                // Two pulls may both do it: the bytes are the same.
                self.disk.write(&self.disk.content(digest), bytes)?;
                self.ledger().content.insert(digest.clone(), bytes.len() as u64);
            }
        }
        Ok(())
    }

    /// Says what is to be stacked, and makes the layer of merged folders where one is needed.
    pub(crate) fn stack(self: &Arc<Self>, pulled: &Pulled) -> Result<StackPlan, Error> {
        let mut stack = merge::without_repetitions(&pulled.config.diff_ids);
        let mut layers = Vec::with_capacity(stack.len());
        for diff_id in &stack {
            let record = self.ledger().layers.get(diff_id).cloned();
            let record = record.ok_or_else(|| Error::Missing { what: format!("layer {diff_id} has gone") })?;
            layers.push(Stacked::new(self.disk.layer(diff_id).join("fs"), &record)?);
        }
        let merged = merge::plan(&layers)?;
        if !merged.folders.is_empty() {
            stack.push(merge::name_of(&stack));
        }
        let lease = Lease::new(self, stack.clone());
        if let Some(name) = stack.last()
            && !merged.folders.is_empty()
            && !self.has_layer(name)
        {
            self.keep_merged(name, &merged)?;
        }
        Ok(StackPlan { stack, root: merged.root, _lease: lease })
    }

    fn keep_merged(self: &Arc<Self>, name: &Digest, merged: &Merge) -> Result<(), Error> {
        let ingest = self.ingest()?;
        let fs = ingest.path().join("fs");
        DirBuilder::new().mode(0o755).create(&fs).map_err(Error::io(format!("make folder {fs:?}")))?;
        merge::build(merged, &fs)?;
        let inodes = merged.folders.len() as u64 + 1;
        let record = LayerRecord {
            diff_id: name.clone(),
            bytes: inodes * crate::apply::BLOCK_BYTES,
            inodes,
            implicit: Vec::new(),
            describes_root: false,
        };
        self.disk.write(&ingest.path().join("layer"), &record::encode(&record))?;
        self.keep_layer(ingest, record)
    }

    /// Writes the record that makes it an image. Everything it names was flushed before.
    pub(crate) fn commit(&self, pulled: &Pulled, plan: &StackPlan) -> Result<ImageId, Error> {
        let _one_at_a_time = self.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let id = ImageId(pulled.config_digest.clone());
        let before = self.index();
        let old = before.get(&id).map(|known| known.record.clone());
        let generation = 1 + before.images().map(|known| known.record.generation).max().unwrap_or_default();
        let mut record = old.clone().unwrap_or_else(|| ImageRecord {
            id: id.clone(),
            generation,
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
            documents: BTreeSet::new(),
            layers: pulled.config.diff_ids.clone(),
            stack: plan.stack.clone(),
            root: plan.root,
        });
        let digest = &pulled.documents.first().expect("a pull begins with a document").digest;
        record.digests.insert(format!("{}@{digest}", pulled.reference.name()));
        record.documents.extend(pulled.documents.iter().map(|document| document.digest.clone()));
        let mut loser = None;
        if let Version::Tag(_) = pulled.reference.version() {
            let tag = pulled.reference.to_string();
            loser =
                before.named(&tag).filter(|known| known.record.id != id).map(|known| (tag.clone(), Arc::clone(known)));
            record.tags.insert(tag);
        }
        if old.as_ref() == Some(&record) {
            return Ok(id);
        }
        record.generation = generation;
        self.disk.write_flushed(&self.disk.image(&id), &record::encode(&record))?;
        let mut next = before.with(self.known(record, &pulled.config));
        if let Some((tag, known)) = loser {
            // Second, so that the tag is never lost: between the two, the later generation has it.
            let mut record = known.record.clone();
            record.tags.remove(&tag);
            self.disk.write_flushed(&self.disk.image(&record.id), &record::encode(&record))?;
            let mut image = known.image.clone();
            image.tags.retain(|name| *name != tag);
            next = next.without(&record.id).with(Known { image, record });
        }
        self.publish(next);
        tracing::info!(image = %id, name = %pulled.reference, layers = pulled.config.diff_ids.len(), "image pulled");
        Ok(id)
    }

    /// Makes an image's answer of its record and config.
    pub(crate) fn known(&self, record: ImageRecord, config: &ParsedConfig) -> Known {
        let ledger = self.ledger();
        let layers = record.stack.iter().filter_map(|diff_id| ledger.layers.get(diff_id)).map(|layer| layer.bytes);
        let bytes = layers.sum::<u64>() + config.text.len() as u64;
        let image = Image {
            id: record.id.clone(),
            tags: record.tags.iter().cloned().collect(),
            digests: record.digests.iter().cloned().collect(),
            bytes,
            config: config.settings.clone(),
            pinned: false,
            config_json: config.text.clone(),
        };
        Known { image, record }
    }
}

// === impl Shared: taking away ===

impl Shared {
    /// Removes an image with all its names; quiet when it is not there.
    pub(crate) fn remove(&self, text: &str) -> Result<Removed, Error> {
        let _one_at_a_time = self.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = self.index();
        let Some(known) = before.find(text)?.cloned() else { return Ok(Removed::default()) };
        let record = &known.record;
        self.around_blocking(Part::Unrecord, || {
            self.disk.remove_flushed(&self.disk.image(&record.id))?;
            self.publish(before.without(&record.id));
            Ok(())
        })?;
        let parts: Vec<_> = record.stack.iter().chain(&record.documents).chain([&record.id.0]).cloned().collect();
        self.around_blocking(Part::Discard, || {
            self.collect(&mut self.ledger(), &parts);
            Ok(())
        })?;
        tracing::info!(image = %record.id, asked = text, "image removed");
        let digests = record.digests.iter().filter_map(|name| Digest::parse(name.rsplit('@').next()?).ok());
        let digests: BTreeSet<_> = digests.collect();
        Ok(Removed { image: Some(record.id.clone()), digests: digests.into_iter().collect() })
    }

    /// Moves those of the given layers and content away that nothing needs any more.
    pub(crate) fn collect(&self, ledger: &mut Ledger, candidates: &[Digest]) {
        let index = self.index();
        for digest in candidates {
            if ledger.needs(digest) || is_used(&index, digest) {
                continue;
            }
            let gone = forget(ledger, &self.disk, digest, |path| self.trash.throw(path));
            if let Err(error) = gone {
                tracing::warn!(%digest, %error, "could not remove what no image needs any more; next start does");
            }
        }
    }
}

fn forget(
    ledger: &mut Ledger,
    disk: &Disk,
    digest: &Digest,
    throw: impl Fn(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    if ledger.layers.remove(digest).is_some() {
        throw(&disk.layer(digest))?;
    }
    if ledger.content.remove(digest).is_some() {
        let path = disk.content(digest);
        std::fs::remove_file(&path).map_err(Error::io(format!("remove {path:?}")))?;
    }
    Ok(())
}

/// Returns whether an image needs a layer or content.
pub(crate) fn is_used(index: &Index, digest: &Digest) -> bool {
    index.images().any(|known| {
        let record = &known.record;
        record.id.0 == *digest || record.stack.contains(digest) || record.documents.contains(digest)
    })
}

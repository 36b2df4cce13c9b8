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
use crate::remote::Document;
use crate::store::Shared;
use orlop_model::image::{Image, ImageLayer};
use orlop_model::pull::{Fresh, Pulled};
use orlop_model::reference::Reference;
use orlop_model::{Digest, ImageId, Namespace};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything a pull has learned, before its layers.
///
/// As long as any step has it, nothing that it needs is removed: also a step on a thread of its own, which goes on when the
/// pull is left, and whose end nobody waits for.
pub(crate) struct Fetched {
    pub(crate) reference: Reference,
    /// The one that was asked for first, the manifest last.
    pub(crate) documents: Vec<Document>,
    pub(crate) config_digest: Digest,
    pub(crate) config: ParsedConfig,
    _lease: Lease,
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

/// Keeps layers and content while something needs them that no record names yet.
pub(crate) struct Lease {
    digests: Vec<Digest>,
    shared: Arc<Shared>,
}

// === impl Fetched ===

impl Fetched {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        reference: Reference,
        documents: Vec<Document>,
        config_digest: Digest,
        config: ParsedConfig,
    ) -> Self {
        let digests = documents.iter().map(|document| &document.digest);
        let needs = digests.chain(&config.diff_ids).chain([&config_digest]).cloned().collect();
        let lease = Lease::new(shared, needs);
        Self { reference, documents, config_digest, config, _lease: lease }
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
    pub(crate) fn keep_content(&self, pulled: &Fetched) -> Result<(), Error> {
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
    pub(crate) fn stack(self: &Arc<Self>, pulled: &Fetched) -> Result<StackPlan, Error> {
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
    pub(crate) fn commit(&self, pulled: &Fetched, plan: &StackPlan, owner: &Namespace) -> Result<Pulled, Error> {
        let _one_at_a_time = self.records();
        let before = self.index();
        let mut record = record_of(pulled, plan, &before);
        let id = record.id.clone();
        record.documents.extend(pulled.documents.iter().map(|document| document.digest.clone()));
        let digest = &pulled.documents.first().expect("a pull begins with a document").digest;
        let known = before.named(&pulled.reference.to_string()).is_some_and(|known| known.record.id == id);
        let names = [pulled.reference.at(digest.clone()), pulled.reference.clone()];
        self.give_names(&names, owner, record, |record| self.known(record, &pulled.config))?;
        tracing::info!(image = %id, name = %pulled.reference, layers = pulled.config.diff_ids.len(), "image pulled");
        Ok(Pulled { image: id, digest: digest.clone(), fresh: if known { Fresh::No } else { Fresh::Yes } })
    }

    /// The same of an image that came from no registry, and may have no name.
    pub(crate) fn record_made(
        &self,
        made: &Fetched,
        plan: &StackPlan,
        names: &[Reference],
        owner: &Namespace,
    ) -> Result<ImageId, Error> {
        let _one_at_a_time = self.records();
        let record = record_of(made, plan, &self.index());
        let id = record.id.clone();
        self.give_names(names, owner, record, |record| self.known(record, &made.config))?;
        tracing::info!(image = %id, layers = made.config.diff_ids.len(), "image made of a container");
        Ok(id)
    }

    /// Makes an image's answer of its record and config.
    pub(crate) fn known(&self, record: ImageRecord, config: &ParsedConfig) -> Known {
        let ledger = self.ledger();
        let bytes_of = |diff_id: &Digest| ledger.layers.get(diff_id).map_or(0, |layer| layer.bytes);
        let layer = |diff_id: &Digest| ImageLayer { diff_id: diff_id.clone(), bytes: bytes_of(diff_id) };
        let image = Image {
            bytes: record.stack.iter().map(bytes_of).sum::<u64>() + config.text.len() as u64,
            layers: record.layers.iter().map(layer).collect(),
            config: config.settings.clone(),
            origin: config.origin.clone(),
            config_json: config.text.clone(),
            ..Image::new(record.id.clone())
        };
        Known::new(record, image)
    }
}

// === impl Shared: taking away ===

impl Shared {
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

/// Returns the record that an image has, or one without names.
fn record_of(fetched: &Fetched, plan: &StackPlan, before: &Index) -> ImageRecord {
    let id = ImageId(fetched.config_digest.clone());
    before.get(&id).map(|known| known.record.clone()).unwrap_or_else(|| ImageRecord {
        id: id.clone(),
        generation: 0,
        tags: BTreeSet::new(),
        digests: BTreeSet::new(),
        owners: BTreeMap::new(),
        named_at: None,
        documents: BTreeSet::new(),
        layers: fetched.config.diff_ids.clone(),
        stack: plan.stack.clone(),
        root: plan.root,
    })
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

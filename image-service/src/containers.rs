//! Writable layers of containers, and their root file systems.

use crate::error::Error;
use crate::mapped;
use crate::merge;
use crate::overlay::Stack;
use crate::record::{self, ContainerRecord};
use crate::store::Shared;
use orlop_model::image::ImageConfig;
use orlop_model::sandbox::IdMapping;
use orlop_model::{ContainerId, Digest, ImageId};
use std::fs::DirBuilder;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

// === impl Shared ===

impl Shared {
    /// Makes a container's writable layer; quiet when it is there already.
    pub(crate) fn prepare(self: &Arc<Self>, id: &ContainerId, image: &ImageId) -> Result<(), Error> {
        let known = {
            let mut ledger = self.ledger();
            if let Some(there) = ledger.containers.get(id) {
                if there.image == *image {
                    return Ok(());
                }
                let what = format!("container {id} has a writable layer on image {}, not on {image}", there.image);
                return Err(Error::Exists { what });
            }
            // Under the lock that guards removal: from here on the layers stay.
            let missing = || Error::Missing { what: format!("image {image} is not in the store; pull it first") };
            let known = self.index().get(image).cloned().ok_or_else(missing)?;
            if !known.record.stack.iter().all(|layer| ledger.layers.contains_key(layer)) {
                return Err(missing());
            }
            let record = ContainerRecord {
                id: id.clone(),
                image: image.clone(),
                stack: known.record.stack.clone(),
                config: known.image.config.clone(),
            };
            ledger.containers.insert(id.clone(), Arc::new(record));
            known
        };
        let made = self.make_writable(id, known.record.root);
        if made.is_err() {
            self.release(id, &known.record.stack);
        }
        made
    }

    fn make_writable(self: &Arc<Self>, id: &ContainerId, root: record::Look) -> Result<(), Error> {
        let record = self.container(id)?;
        let ingest = self.ingest()?;
        for folder in ["upper", "work"] {
            let path = ingest.path().join(folder);
            DirBuilder::new().mode(0o700).create(&path).map_err(Error::io(format!("make folder {path:?}")))?;
        }
        let upper = ingest.path().join("upper");
        merge::describe(&upper, root).map_err(Error::errno(format!("set owner and mode of {upper:?}")))?;
        // Not flushed: nothing of a pod outlives a power cut, and a record that was cut is only good for dropping.
        self.disk.write(&ingest.path().join("record"), &record::encode(&*record))?;
        let place = self.disk.container(id);
        // What an earlier try may have left has no record in memory, so nobody uses it.
        self.trash.throw(&place)?;
        self.disk.settle(ingest.path(), &place)
    }

    pub(crate) fn container(&self, id: &ContainerId) -> Result<Arc<ContainerRecord>, Error> {
        let found = self.ledger().containers.get(id).cloned();
        found.ok_or_else(|| Error::Missing { what: format!("container {id} has no writable layer") })
    }

    /// Assembles a container's root file system.
    pub(crate) fn rootfs(&self, id: &ContainerId, ids: Option<IdMapping>) -> Result<OwnedFd, Error> {
        let record = self.container(id)?;
        let place = self.disk.container(id);
        let lowers = record.stack.iter().rev().map(|layer| self.disk.layer(layer).join("fs")).collect();
        let stack = Stack::open(lowers, &self.disk.empty(), &place.join("upper"), &place.join("work"))?;
        match ids {
            None => stack.mount(),
            Some(ids) => {
                mapped::give(&place.join("upper"), ids)?;
                stack.mount_mapped(mapped::users(ids)?.as_fd())
            }
        }
    }

    /// Says whether root file systems can be given to users of a user namespace: by making one, of nothing.
    pub(crate) fn try_mapping(self: &Arc<Self>) -> Result<(), Error> {
        let ingest = self.ingest()?;
        for folder in ["upper", "work"] {
            let path = ingest.path().join(folder);
            DirBuilder::new().mode(0o700).create(&path).map_err(Error::io(format!("make folder {path:?}")))?;
        }
        let (upper, work) = (ingest.path().join("upper"), ingest.path().join("work"));
        let stack = Stack::open(Vec::new(), &self.disk.empty(), &upper, &work)?;
        stack.mount_mapped(mapped::users(mapped::ANY)?.as_fd()).map(drop)
    }

    /// Returns the settings of the image that a container was made from.
    pub(crate) fn config_of(&self, id: &ContainerId) -> Result<ImageConfig, Error> {
        Ok(self.container(id)?.config.clone())
    }

    /// Deletes a container's writable layer; quiet when it is not there.
    pub(crate) fn drop_rootfs(&self, id: &ContainerId) -> Result<(), Error> {
        self.trash.throw(&self.disk.container(id))?;
        let stack = {
            let mut ledger = self.ledger();
            ledger.damaged.remove(id);
            ledger.containers.get(id).map(|record| record.stack.clone()).unwrap_or_default()
        };
        self.release(id, &stack);
        self.usages.forget(id);
        Ok(())
    }

    fn release(&self, id: &ContainerId, stack: &[Digest]) {
        let mut ledger = self.ledger();
        ledger.containers.remove(id);
        self.collect(&mut ledger, stack);
    }

    /// Lists every container that has a writable layer.
    pub(crate) fn leftovers(&self) -> Vec<ContainerId> {
        let ledger = self.ledger();
        ledger.containers.keys().chain(&ledger.damaged).cloned().collect()
    }
}

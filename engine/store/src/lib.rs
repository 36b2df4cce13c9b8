//! Records on disk, two for each object, by durability class.
//!
//! What was asked for goes where its durability says; what is, is always of the boot class. Boot class: the run folder, atomic
//! rename, no flush, void when the node has booted since. Node class: the state folder, two slots, flushed before it is
//! acknowledged. Layout and formats: `docs/on-disk.md`. Start at [`Store::open`].
//!
//! Always: a record that can't be read is set aside and named, never fatal and never dropped silently.

mod boot;
mod envelope;
mod slots;

use boot::BootFolder;
use orlop_model::container_state::ContainerState;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::{Answer, Records, internal};
use orlop_model::record::{ContainerAsked, Durability, Loaded, SandboxAsked};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ContainerId, SandboxId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slots::SlotFolder;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Record writes at a time. They have a pool of their own, so that a pull never starves a state write.
const WRITES_MAX: usize = 8;

/// Where records are kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the boot class, below the run folder.
    pub boot_dir: PathBuf,
    /// Folder of the node class, below the root folder.
    pub node_dir: PathBuf,
    /// What the kernel calls this boot: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// What can go wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be used.
    #[error("{tried} {}", path.display())]
    File {
        /// What was tried.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// A record is not what it claims.
    #[error("{} is not a record of ours: {why}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    fn file(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { tried, path, source }
    }

    /// Returns the class.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File { source, .. } if source.raw_os_error() == Some(NO_SPACE) => ErrorKind::Exhausted,
            Self::File { .. } => ErrorKind::Internal,
            Self::Damaged { .. } => ErrorKind::Corrupt,
        }
    }
}

/// ENOSPC; errno(3).
const NO_SPACE: i32 = 28;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::because(error.kind(), &error)
    }
}

/// The records of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
    writes: Arc<Semaphore>,
}

#[derive(Debug)]
struct Inner {
    boot: BootFolder,
    node: SlotFolder,
}

/// Name of one kind of record: a folder of the store.
mod kind {
    pub(crate) const SANDBOX_ASKED: &str = "sandbox-asked";
    pub(crate) const SANDBOX_STATE: &str = "sandbox-state";
    pub(crate) const CONTAINER_ASKED: &str = "container-asked";
    pub(crate) const CONTAINER_STATE: &str = "container-state";
    pub(crate) const ALL: [&str; 4] = [SANDBOX_ASKED, SANDBOX_STATE, CONTAINER_ASKED, CONTAINER_STATE];
}

impl Store {
    /// Opens the store; makes its folders when they are missing.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let boot = BootFolder::open(&config.boot_dir, &config.boot_id, &kind::ALL)?;
        let node = SlotFolder::open(&config.node_dir, &[kind::SANDBOX_ASKED, kind::CONTAINER_ASKED])?;
        Ok(Self { inner: Arc::new(Inner { boot, node }), writes: Arc::new(Semaphore::new(WRITES_MAX)) })
    }

    /// Removes the folders of the boot class where they are empty: after an orderly end with nothing left running.
    pub async fn end(&self) -> Result<()> {
        self.blocking(|inner| inner.boot.end(&kind::ALL)).await
    }

    /// Runs file work on a thread that may wait.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T> {
        let closed = |_| internal("the record pool is closed");
        let place = Arc::clone(&self.writes).acquire_owned().await.map_err(closed)?;
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&inner);
            drop(place);
            result
        });
        let result = done.await.map_err(|panic| internal(format!("a record write panicked: {panic}")))?;
        Ok(result?)
    }

    async fn put(&self, kind: &'static str, id: String, durability: Durability, body: Result<Vec<u8>>) -> Result<()> {
        let body = body?;
        self.blocking(move |inner| match durability {
            Durability::Boot => inner.boot.put(kind, &id, &body),
            Durability::Node => {
                inner.node.put(kind, &id, &body)?;
                // Of while it was being created. Left by a crash, it is passed over: the flushed one counts.
                inner.boot.delete(kind, &id)
            }
        })
        .await
    }

    async fn forget(&self, asked: &'static str, state: &'static str, id: String) -> Result<()> {
        self.blocking(move |inner| {
            // What was asked for goes last: while it is there, recovery finishes the removal.
            inner.boot.delete(state, &id)?;
            inner.boot.delete(asked, &id)?;
            inner.node.delete(asked, &id)
        })
        .await
    }
}

fn encode<T: Serialize>(what: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(what).map_err(|wrong| internal(format!("write a record: {wrong}")))
}

impl Records for Store {
    fn load(&self) -> Answer<'_, Result<Loaded>> {
        Box::pin(self.blocking(|inner| inner.load()))
    }

    fn put_sandbox<'a>(&'a self, asked: &'a SandboxAsked) -> Answer<'a, Result<()>> {
        Box::pin(self.put(kind::SANDBOX_ASKED, asked.id.to_string(), asked.durability, encode(asked)))
    }

    fn put_sandbox_state<'a>(&'a self, id: &'a SandboxId, state: &'a SandboxState) -> Answer<'a, Result<()>> {
        Box::pin(self.put(kind::SANDBOX_STATE, id.to_string(), Durability::Boot, encode(state)))
    }

    fn forget_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<()>> {
        Box::pin(self.forget(kind::SANDBOX_ASKED, kind::SANDBOX_STATE, id.to_string()))
    }

    fn put_container<'a>(&'a self, asked: &'a ContainerAsked) -> Answer<'a, Result<()>> {
        Box::pin(self.put(kind::CONTAINER_ASKED, asked.id.to_string(), asked.durability, encode(asked)))
    }

    fn put_container_state<'a>(&'a self, id: &'a ContainerId, state: &'a ContainerState) -> Answer<'a, Result<()>> {
        Box::pin(self.put(kind::CONTAINER_STATE, id.to_string(), Durability::Boot, encode(state)))
    }

    fn forget_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(self.forget(kind::CONTAINER_ASKED, kind::CONTAINER_STATE, id.to_string()))
    }
}

impl Inner {
    fn load(&self) -> Result<Loaded, Error> {
        let mut set_aside = Vec::new();
        let mut sandbox_states: BTreeMap<String, SandboxState> = self.read(kind::SANDBOX_STATE, &mut set_aside)?;
        let mut container_states: BTreeMap<String, ContainerState> =
            self.read(kind::CONTAINER_STATE, &mut set_aside)?;
        let mut sandboxes: BTreeMap<String, SandboxAsked> = self.read(kind::SANDBOX_ASKED, &mut set_aside)?;
        let mut containers: BTreeMap<String, ContainerAsked> = self.read(kind::CONTAINER_ASKED, &mut set_aside)?;
        sandboxes.append(&mut self.read_node(kind::SANDBOX_ASKED, &mut set_aside)?);
        containers.append(&mut self.read_node(kind::CONTAINER_ASKED, &mut set_aside)?);
        let sandboxes = sandboxes.into_iter().map(|(id, asked)| (asked, sandbox_states.remove(&id))).collect();
        let containers = containers.into_iter().map(|(id, asked)| (asked, container_states.remove(&id))).collect();
        // A state without what it is the state of was left by a removal that was cut off.
        for (kind, orphan) in sandbox_states.into_keys().map(|id| (kind::SANDBOX_STATE, id)) {
            self.boot.delete(kind, &orphan)?;
        }
        for (kind, orphan) in container_states.into_keys().map(|id| (kind::CONTAINER_STATE, id)) {
            self.boot.delete(kind, &orphan)?;
        }
        Ok(Loaded { sandboxes, containers, set_aside })
    }

    fn read<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        set_aside: &mut Vec<(PathBuf, String)>,
    ) -> Result<BTreeMap<String, T>, Error> {
        let found = self.boot.read(kind, set_aside)?;
        parse(found, set_aside, |id| self.boot.set_aside(kind, id))
    }

    fn read_node<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        set_aside: &mut Vec<(PathBuf, String)>,
    ) -> Result<BTreeMap<String, T>, Error> {
        let found = self.node.read(kind, set_aside)?;
        parse(found, set_aside, |id| self.node.set_aside(kind, id))
    }
}

fn parse<T: DeserializeOwned>(
    found: Vec<(String, Vec<u8>)>,
    set_aside: &mut Vec<(PathBuf, String)>,
    aside: impl Fn(&str) -> Result<PathBuf, Error>,
) -> Result<BTreeMap<String, T>, Error> {
    let mut records = BTreeMap::new();
    for (id, body) in found {
        match serde_json::from_slice(&body) {
            Ok(record) => drop(records.insert(id, record)),
            Err(wrong) => set_aside.push((aside(&id)?, wrong.to_string())),
        }
    }
    Ok(records)
}

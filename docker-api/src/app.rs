//! What every request shares.

use crate::annex::Annex;
use crate::events::{Events, Trigger};
use crate::execs::Execs;
use crate::http::error::ApiError;
use crate::metrics::DockerMetrics;
use crate::names::Names;
use crate::policy::{self, Policies};
use crate::routes::containers::find::Found;
use crate::volumes::{Holder, Volumes};
use orlop_model::container_state::Force;
use orlop_model::error::Result;
use orlop_model::record::Durability;
use orlop_model::{ContainerId, Namespace, Timestamp};
use orlop_usecases::{Facade, Policy};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tracing::warn;

/// The partition of what clients of this API make.
const NAMESPACE: &str = "docker";

/// Settings of the facade.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of containers' logs and files of ours; survives a boot.
    pub folder: PathBuf,
    /// Version of the daemon.
    pub version: &'static str,
    /// The network of containers that ask for none.
    pub bridge: Bridge,
}

/// The network `bridge`, for who asks what it is.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Its link on the node.
    pub link: String,
    /// Its first address.
    pub network: Ipv4Addr,
    /// Length of its prefix, bits.
    pub prefix: u8,
}

impl Bridge {
    /// Returns the address that the node has in it.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }

    pub(crate) fn ipam(&self) -> Value {
        json!([{ "Subnet": format!("{}/{}", self.network, self.prefix), "Gateway": self.gateway() }])
    }
}

/// Returns the partition of what clients of this API make.
#[must_use]
pub fn namespace() -> Namespace {
    Namespace(NAMESPACE.to_owned())
}

/// Returns what the engine refuses these clients, and when: Docker's containers outlast a boot and start again.
#[must_use]
pub fn policy() -> Policy {
    Policy {
        durability: Durability::Node,
        restart: true,
        in_not_ready: true,
        // Names are ours, and unique: two requests are never the same.
        difference: |_, _| Some("request".to_owned()),
    }
}

/// Requests at a time that go on when their client has gone; further ones wait while they have one.
const LASTING_MAX: usize = 1024;

/// What every request shares.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) facade: Facade,
    pub(crate) config: Config,
    pub(crate) metrics: DockerMetrics,
    pub(crate) names: Names,
    pub(crate) events: Events,
    pub(crate) policies: Policies,
    /// When this daemon began to serve.
    pub(crate) began: Timestamp,
    /// Programs run beside containers' own.
    pub(crate) execs: Execs,
    pub(crate) volumes: Volumes,
    /// Places of requests that go on when their client has gone.
    pub(crate) lasting: Arc<Semaphore>,
    /// What is to be told once something has happened to a container.
    after: Mutex<Vec<(ContainerId, Trigger, &'static str)>>,
}

/// A panic while such a lock was held left a map that is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    pub(crate) fn new(facade: Facade, config: Config, metrics: DockerMetrics) -> Arc<Self> {
        let known: Vec<_> =
            facade.containers().into_iter().map(|view| (view.asked.id.clone(), Annex::read(&view))).collect();
        // One whose annex can't be read has no name, and is known by its id.
        let named = known.iter().filter(|(_, annex)| !annex.name.is_empty());
        let names = Names::of(named.map(|(id, annex)| (annex.name.clone(), id.clone())));
        let holder = |(id, annex): &(ContainerId, Arc<Annex>)| Holder {
            id: id.clone(),
            uses: annex.volumes.clone(),
            removed_at_end: annex.host_config.auto_remove,
        };
        let holders: Vec<_> = known.iter().map(holder).collect();
        let volumes = Volumes::open(config.folder.join("volumes"), &holders);
        let policies = Policies::new(facade.clone(), policy::BOOK);
        Arc::new(Self {
            policies,
            facade,
            config,
            metrics,
            names,
            events: Events::default(),
            began: crate::time::now(),
            execs: Execs::default(),
            volumes,
            lasting: Arc::new(Semaphore::new(LASTING_MAX)),
            after: Mutex::default(),
        })
    }

    /// Returns the folder of a container's files of ours.
    pub(crate) fn files_of(&self, id: &ContainerId) -> PathBuf {
        self.config.folder.join("containers").join(id.as_str())
    }

    /// Deletes them. What can't be deleted is told, and tried again at the next start.
    pub(crate) fn forget_files(&self, id: &ContainerId) {
        let folder = self.files_of(id);
        match fs::remove_dir_all(&folder) {
            Ok(()) => {}
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
            Err(wrong) => {
                warn!(container = %id, folder = %folder.display(), error = %wrong, "a container's files stay behind")
            }
        }
    }

    /// Forgets a container that is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.release(id);
        self.execs.forget(id);
        lock(&self.after).retain(|(there, ..)| there != id);
        self.forget_files(id);
    }

    /// Forgets every container that is gone: after a start, or when news of them were missed.
    pub(crate) fn forget_gone(&self) {
        let there: Vec<_> = self.facade.images_in_use().into_iter().map(|(_, id)| id).collect();
        let kept = fs::read_dir(self.config.folder.join("containers")).into_iter().flatten().flatten();
        let ids = kept.filter_map(|entry| ContainerId::parse(entry.file_name().to_str()?).ok());
        let gone: Vec<_> = ids.filter(|id| !there.contains(id)).collect();
        for id in gone {
            self.forget(&id);
        }
    }

    /// Does what a first start needs done before it.
    pub(crate) async fn make_ready(&self, found: &Found) -> Result<()> {
        if found.annex.unfilled { self.fill_volumes(found.id(), &found.annex).await } else { Ok(()) }
    }

    /// Removes a container. Its name is free when this returns.
    pub(crate) async fn remove(&self, found: &Found, force: Force) -> Result<()> {
        self.facade.remove_container(found.id(), force).await?;
        self.release(found.id());
        Ok(())
    }

    /// Gives back what others may want of a container that is gone. Who is told that it is gone may rely on it.
    pub(crate) fn release(&self, id: &ContainerId) {
        self.names.release_all(id);
        self.volumes.release(id);
    }

    /// Copies what a container's image has into those of its volumes that are empty, once.
    pub(crate) async fn fill_volumes(&self, id: &ContainerId, annex: &Annex) -> Result<()> {
        self.volumes.fill(&*self.facade.images(), id, &annex.volumes).await?;
        let filled = |bytes: &[u8]| Some(Annex { unfilled: false, ..Annex::parse(bytes) }.bytes());
        self.facade.change_annex(id, filled).await.map(drop)
    }

    /// Does blocking work beside the requests.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> std::result::Result<T, ApiError> {
        let app = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&app)).await;
        done.map_err(|wrong| ApiError::internal(format!("finish blocking work: {wrong}")))
    }

    /// Tells an action once something has happened to a container.
    pub(crate) fn then(&self, id: &ContainerId, trigger: Trigger, action: &'static str) {
        lock(&self.after).push((id.clone(), trigger, action));
    }

    /// Takes the actions that are to be told now.
    pub(crate) fn due(&self, id: &ContainerId, trigger: Trigger) -> Vec<&'static str> {
        let mut after = lock(&self.after);
        let (due, rest) = after.drain(..).partition(|(there, on, _)| there == id && *on == trigger);
        *after = rest;
        let due: Vec<(ContainerId, Trigger, &'static str)> = due;
        due.into_iter().map(|(.., action)| action).collect()
    }

    /// Tells what was done to a container.
    pub(crate) fn tell_of(&self, found: &Found, action: &str, more: &[(&str, &str)]) {
        let mut attributes = crate::news::attributes(&found.view);
        attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.events.tell(crate::time::now(), "container", action, found.id().as_str(), attributes);
    }
}

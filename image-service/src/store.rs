//! The store as others see it.

use crate::archive;
use crate::clients::Clients;
use crate::disk::Disk;
use crate::error::Error;
use crate::flights::Flights;
use crate::flush::Flusher;
use crate::from_container;
use crate::index::Index;
use crate::layer_usage::LayerUsages;
use crate::ledger::Ledger;
use crate::metrics::PullMetrics;
use crate::progress::{Gauge, PullBoard};
use crate::pull::{self, PullKey, Wanted};
use crate::sweep;
use crate::tokens::Tokens;
use crate::trash::Trash;
use orlop_model::container::{Mount, RootfsAccess};
use orlop_model::files::{FileChange, FileStat, Packing, Unpack};
use orlop_model::image::{Commit, FsUsage, Image, ImageConfig};
use orlop_model::image_removal::{Removal, Removed};
use orlop_model::ports::{Answer, Failpoints, Images, PullListener, Unhindered};
use orlop_model::pull::{PullRequest, Pulled};
use orlop_model::reference::Reference;
use orlop_model::sandbox::IdMapping;
use orlop_model::usage::LayerUsage;
use orlop_model::{ContainerId, Digest, Failure, ImageId, Namespace};
use prometheus::core::Collector;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::Semaphore;

/// Layers fetched and unpacked at once, at least: while one waits for the network another uses the processor.
const LAYERS_AT_ONCE_MIN: usize = 4;

/// And at most, however many processors there are: each holds a few MiB of buffers and a connection.
const LAYERS_AT_ONCE_MAX: usize = 16;

/// Other blocking work at once (records, mounts). Apart from layers, so that a pull never makes a start wait.
const BLOCKING_AT_ONCE: usize = 16;
/// Walks through all that a container wrote at once; further ones wait.
const WALKING_AT_ONCE: usize = 4;

/// What a store needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its folder; made when missing, used by one process at a time.
    pub root: PathBuf,
    /// Folder of `<host>/hosts.toml`, read at every pull.
    pub certs_dir: Option<PathBuf>,
    /// Layers fetched and unpacked at once, over all pulls.
    pub layers_at_once: usize,
}

/// Images and root file systems in a folder. Cheap to clone: all clones are one store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What a layer is fetched by: diff id and blob digest.
pub(crate) type LayerKey = (Digest, Digest);

/// What comes of a layer.
pub(crate) type Done = Result<(), Failure>;

/// What the parts of the store share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) disk: Arc<Disk>,
    pub(crate) trash: Trash,
    pub(crate) failpoints: Arc<dyn Failpoints>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) flusher: Flusher,
    pub(crate) metrics: PullMetrics,
    pub(crate) pulls: Flights<PullKey, Result<Pulled, Failure>, PullBoard>,
    pub(crate) layers: Flights<LayerKey, Done, Gauge>,
    pub(crate) layer_places: Arc<Semaphore>,
    /// Of writable layers.
    pub(crate) usages: LayerUsages,
    blocking_places: Arc<Semaphore>,
    walking_places: Arc<Semaphore>,
    pub(crate) archive_places: Arc<Semaphore>,
    /// Held while image records are written; before the ledger's lock, never after it.
    pub(crate) records: Mutex<()>,
    ledger: Mutex<Ledger>,
    /// Only ever replaced as a whole, so that readers wait for nobody.
    index: RwLock<Arc<Index>>,
}

// === impl Config ===

impl Config {
    /// Returns the defaults for a folder.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let layers_at_once = processors.clamp(LAYERS_AT_ONCE_MIN, LAYERS_AT_ONCE_MAX);
        Self { root: root.into(), certs_dir: None, layers_at_once }
    }
}

// === impl Store ===

impl Store {
    /// Opens a store: reads its records, sweeps what a crash left half-done. Blocking; what takes long, freeing the trash,
    /// goes on in a thread of its own.
    pub fn open(config: Config) -> Result<Self, Error> {
        Self::with_failpoints(config, Arc::new(Unhindered))
    }

    /// Says whether root file systems can be given to users of a user namespace: needs Linux 5.19, and a file system that can
    /// show owners mapped. Blocking.
    pub fn try_mapping(&self) -> Result<(), Error> {
        self.shared.try_mapping()
    }

    /// The same, where tests interfere.
    pub fn with_failpoints(config: Config, failpoints: Arc<dyn Failpoints>) -> Result<Self, Error> {
        let disk = Arc::new(Disk::open(&config.root)?);
        let trash = Trash::open(Arc::clone(&disk)).map_err(Error::io("open the trash of the image store"))?;
        let clients = Arc::new(Clients::default());
        let shared = Arc::new(Shared {
            layer_places: Arc::new(Semaphore::new(config.layers_at_once.max(1))),
            blocking_places: Arc::new(Semaphore::new(BLOCKING_AT_ONCE)),
            walking_places: Arc::new(Semaphore::new(WALKING_AT_ONCE)),
            archive_places: Arc::new(Semaphore::new(archive::ARCHIVES_AT_ONCE)),
            usages: LayerUsages::default(),
            config,
            disk,
            trash,
            failpoints,
            tokens: Arc::new(Tokens::new(Arc::clone(&clients))),
            clients,
            flusher: Flusher::default(),
            metrics: PullMetrics::new(),
            pulls: Flights::default(),
            layers: Flights::default(),
            records: Mutex::new(()),
            ledger: Mutex::new(Ledger::default()),
            index: RwLock::new(Arc::new(Index::default())),
        });
        sweep::load(&shared)?;
        Ok(Self { shared })
    }

    /// Returns what is counted of pulls, for a Prometheus endpoint.
    #[must_use]
    pub fn metrics(&self) -> Vec<Box<dyn Collector>> {
        self.shared.metrics.collectors()
    }

    fn run<'a, T, W>(&'a self, work: W) -> Answer<'a, Result<T, Failure>>
    where
        T: Send + 'static,
        W: FnOnce(&Arc<Shared>) -> Result<T, Error> + Send + 'static,
    {
        Box::pin(async move { Ok(self.shared.blocking(work).await?) })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.shared.disk.root()).finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// Runs blocking work on a thread for it.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.blocking_in(&self.blocking_places, work).await
    }

    /// The same for work that goes through all that a container wrote, however much that is: starts and removals of others
    /// don't wait for it.
    pub(crate) async fn walking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.blocking_in(&self.walking_places, work).await
    }

    async fn blocking_in<T: Send + 'static>(
        self: &Arc<Self>,
        places: &Arc<Semaphore>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&shared)
        });
        done.await.map_err(|error| Error::io("finish blocking work")(std::io::Error::other(error)))?
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the images of this moment.
    pub(crate) fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a new snapshot the one that is seen. Callers hold `records`, or are alone.
    pub(crate) fn publish(&self, next: Index) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    fn usage(&self) -> FsUsage {
        let (trash_bytes, trash_inodes) = self.trash.usage();
        let ledger = self.ledger();
        let layers = ledger.layers.values();
        let (bytes, inodes) = layers.fold((0, 0), |sum, layer| (sum.0 + layer.bytes, sum.1 + layer.inodes));
        let block = crate::apply::BLOCK_BYTES;
        let content = ledger.content.values().map(|bytes| bytes.next_multiple_of(block)).sum::<u64>();
        FsUsage {
            mountpoint: self.disk.root().to_owned(),
            bytes: bytes + content + trash_bytes,
            inodes: inodes + ledger.content.len() as u64 + trash_inodes,
        }
    }
}

impl Images for Store {
    fn pull<'a>(
        &'a self,
        request: &'a PullRequest,
        listener: &'a dyn PullListener,
    ) -> Answer<'a, Result<Pulled, Failure>> {
        Box::pin(async move {
            let text = &request.reference;
            let reference = Reference::parse(text).map_err(|why| {
                let text = text.chars().take(300).collect();
                Failure::from(Error::Reference { text, why }).while_trying("pull image")
            })?;
            let (credentials, owner) = (request.credentials.clone(), request.owner.clone());
            pull::pull(Arc::clone(&self.shared), Wanted { reference, credentials, owner }, listener).await
        })
    }

    fn tag<'a>(&'a self, image: &'a str, name: &'a str, owner: &'a Namespace) -> Answer<'a, Result<ImageId, Failure>> {
        let (image, name, owner) = (image.to_owned(), name.to_owned(), owner.clone());
        self.run(move |shared| shared.tag(&image, &name, &owner))
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> Answer<'a, Result<ImageId, Failure>> {
        Box::pin(from_container::commit(Arc::clone(&self.shared), commit.clone()))
    }

    fn find<'a>(&'a self, reference: &'a str) -> Answer<'a, Result<Option<Image>, Failure>> {
        Box::pin(async move { Ok(self.shared.index().find(reference)?.map(|known| known.image.clone())) })
    }

    fn list(&self) -> Answer<'_, Result<Vec<Image>, Failure>> {
        Box::pin(async move { Ok(self.shared.index().images().map(|known| known.image.clone()).collect()) })
    }

    fn remove<'a>(&'a self, removal: &'a Removal) -> Answer<'a, Result<Removed, Failure>> {
        let removal = removal.clone();
        self.run(move |shared| shared.remove(&removal))
    }

    fn usage(&self) -> Answer<'_, Result<FsUsage, Failure>> {
        self.run(|shared| Ok(shared.usage()))
    }

    fn prepare<'a>(&'a self, container: &'a ContainerId, image: &'a ImageId) -> Answer<'a, Result<(), Failure>> {
        let (container, image) = (container.clone(), image.clone());
        self.run(move |shared| shared.prepare(&container, &image))
    }

    fn rootfs<'a>(
        &'a self,
        container: &'a ContainerId,
        ids: Option<IdMapping>,
    ) -> Answer<'a, Result<OwnedFd, Failure>> {
        let container = container.clone();
        self.run(move |shared| shared.rootfs(&container, ids))
    }

    fn config_of<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<ImageConfig, Failure>> {
        let container = container.clone();
        self.run(move |shared| shared.config_of(&container))
    }

    fn layer_usage<'a>(
        &'a self,
        containers: &'a [ContainerId],
    ) -> Answer<'a, Result<Vec<Option<LayerUsage>>, Failure>> {
        Box::pin(async move { Ok(self.shared.layer_usage(containers).await) })
    }

    fn changes<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<Vec<FileChange>, Failure>> {
        let container = container.clone();
        Box::pin(async move { Ok(self.shared.walking(move |shared| shared.changes(&container)).await?) })
    }

    fn drop_rootfs<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<(), Failure>> {
        let container = container.clone();
        self.run(move |shared| shared.drop_rootfs(&container))
    }

    fn leftovers(&self) -> Answer<'_, Result<Vec<ContainerId>, Failure>> {
        self.run(|shared| Ok(shared.leftovers()))
    }

    fn root_with_mounts<'a>(
        &'a self,
        container: &'a ContainerId,
        mounts: &'a [Mount],
        access: RootfsAccess,
    ) -> Answer<'a, Result<OwnedFd, Failure>> {
        let (container, mounts) = (container.clone(), mounts.to_vec());
        Box::pin(async move { Ok(archive::root_with_mounts(&self.shared, container, mounts, access).await?) })
    }

    fn stat_file<'a>(&'a self, root: OwnedFd, path: &'a Path) -> Answer<'a, Result<FileStat, Failure>> {
        Box::pin(async move { Ok(archive::stat(&self.shared, root, path).await?) })
    }

    fn pack_files<'a>(&'a self, root: OwnedFd, path: &'a Path) -> Answer<'a, Result<Packing, Failure>> {
        Box::pin(async move { Ok(archive::pack(&self.shared, root, path).await?) })
    }

    fn unpack_files<'a>(&'a self, root: OwnedFd, unpack: Unpack) -> Answer<'a, Result<(), Failure>> {
        Box::pin(async move { Ok(archive::unpack(&self.shared, root, unpack).await?) })
    }
}

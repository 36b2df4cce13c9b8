//! A registry, a store, and short ways to use them.

use orlop_images::{Config, Store};
use orlop_model::image::{Credentials, Image};
use orlop_model::image_removal::{Removal, RemovalRule, Removed};
use orlop_model::ports::{Images, Unheard};
use orlop_model::pull::PullRequest;
use orlop_model::{ContainerId, ErrorKind, Failure, ImageId, Namespace};
use orlop_testkit::Tree;
use orlop_testkit::image_builder::{Built, ImageBuilder};
use orlop_testkit::registry::Registry;
use orlop_testkit::wait_until;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long what a store has under way may hold its lock after the store was dropped.
const REOPEN_LIMIT: Duration = Duration::from_secs(5);
/// Longest that freeing what was removed may take.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// A registry and a store in a folder; everything goes when dropped.
pub struct Bench {
    pub store: Store,
    pub registry: Registry,
    pub folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Registry::start().unwrap())
    }

    pub fn with(registry: Registry) -> Self {
        let folder = tempfile::Builder::new().prefix("orlop-images-").tempdir().unwrap();
        let store = Store::open(config(folder.path())).unwrap();
        Self { store, registry, folder }
    }

    /// Returns the complete reference of a name in the registry.
    pub fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    pub async fn pull(&self, name: &str) -> Result<ImageId, Failure> {
        pull(&self.store, &self.at(name)).await
    }

    pub async fn find(&self, reference: &str) -> Option<Image> {
        self.store.find(reference).await.unwrap()
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Closes the store and opens it again.
    pub fn reopen(self) -> Self {
        let Self { store, registry, folder } = self;
        drop(store);
        // A task of the old one may be about to end: what was answered is done, but who did it may still hold the lock.
        let store = wait_until(REOPEN_LIMIT, "the store is free", || Store::open(config(folder.path())).ok());
        Self { store, registry, folder }
    }

    /// Lists what is in one of the store's folders.
    pub fn inside(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root().join(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Waits until the trash is empty: nothing half-done stays either.
    #[track_caller]
    pub fn settled(&self) {
        wait_until(SETTLE_LIMIT, "trash and ingest are empty", || {
            (self.inside("trash").is_empty() && self.inside("ingest").is_empty()).then_some(())
        });
    }

    /// Waits until the store counts nothing any more: what was in the trash counts a moment longer than its files are there.
    pub async fn counts_nothing(&self) {
        let nothing = async {
            loop {
                let usage = self.store.usage().await.unwrap();
                if (usage.bytes, usage.inodes) == (0, 0) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SETTLE_LIMIT, nothing).await.expect("the store still counts what it removed");
    }
}

pub fn config(folder: &Path) -> Config {
    let mut config = Config::new(folder.join("root"));
    config.certs_dir = Some(folder.join("certs.d"));
    config
}

pub async fn pull(store: &Store, reference: &str) -> Result<ImageId, Failure> {
    Ok(store.pull(&request(reference), &Unheard).await?.image)
}

pub fn owner() -> Namespace {
    Namespace("test".to_owned())
}

pub fn request(reference: &str) -> PullRequest {
    PullRequest { reference: reference.to_owned(), credentials: Credentials::Anonymous, owner: owner() }
}

/// Removes an image with all its names.
pub async fn remove(store: &Store, reference: &str) -> Result<Removed, Failure> {
    let (reference, rule) = (reference.to_owned(), RemovalRule::Whole);
    store.remove(&Removal { reference, by: owner(), rule, users: Vec::new() }).await
}

/// Fails unless a result is a failure of this kind with all these words.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, kind: ErrorKind, words: &[&str]) {
    let failure = result.expect_err("it should have been refused");
    assert_eq!(failure.kind, kind, "{failure}");
    for word in words {
        assert!(failure.message.contains(word), "no {word:?} in: {failure}");
    }
}

pub fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, content) in files {
        tree.file(path, 0o644, *content);
    }
    tree
}

/// An image of some layers of files.
pub fn image(layers: &[&[(&str, &str)]]) -> Built {
    layers.iter().fold(ImageBuilder::new(), |builder, files| builder.layer(&tree(files))).build()
}

pub fn container(name: &str) -> ContainerId {
    ContainerId::parse(name).unwrap()
}

/// Returns a path inside a mount that is nowhere.
pub fn within(mount: &OwnedFd, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{path}", mount.as_raw_fd()))
}

/// Lists a tree of files and folders with their contents, sorted.
pub fn listing(root: &Path) -> Vec<String> {
    fn go(base: &Path, folder: &Path, found: &mut Vec<String>) {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.strip_prefix(base).unwrap().display().to_string();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                found.push(format!("{name}/"));
                go(base, &path, found);
            } else if kind.is_symlink() {
                found.push(format!("{name} -> {}", std::fs::read_link(&path).unwrap().display()));
            } else {
                found.push(format!("{name} = {}", std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    go(root, root, &mut found);
    found
}

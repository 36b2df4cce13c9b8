//! Images on a shelf: laid out on disk as docker-registry stores them, so that it serves them without a push.
//!
//! Faster than pushing, and the only way to have damaged images: a registry refuses those at its door. The layout is
//! that of the distribution project's file system driver. A shelf lies in the cache under the digest of what is on it.

use crate::debian::cache;
use crate::tree::Tree;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Docker's own types: what most registries hold. The OCI's differ in name only.
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// When every image was made: so that the same parts give the same digests.
const CREATED: &str = "1970-01-01T00:00:00Z";
/// Part of a shelf's key: raise it when the layout or the documents here change.
const LAYOUT: &str = "shelf 1";

/// One layer of an image.
#[derive(Clone, Debug)]
pub enum Layer {
    /// A well-formed tree.
    Tree(Tree),
    /// Any bytes, called a tar.
    Tar(Vec<u8>),
}

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// The last layer is cut in half.
    Truncated,
    /// One byte of the last layer is another.
    Flipped,
    /// The config tells another diff id for the last layer.
    WrongDiffId,
}

/// One image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its repository's path.
    pub repository: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// `Cmd`.
    pub command: Vec<String>,
    /// `User`.
    pub user: String,
    /// Other settings of its config: `Env`, `Entrypoint`, `Labels`, ….
    pub settings: BTreeMap<String, Value>,
    /// How each layer was made, as `docker history` tells it; none in most images.
    pub history: Vec<String>,
    /// What is wrong with it.
    pub damage: Damage,
}

impl Image {
    /// Makes an image that starts the command as root.
    #[must_use]
    pub fn new(repository: &str, tags: &[&str], layers: &[&Tree], command: &[&str]) -> Self {
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        Self {
            repository: repository.to_owned(),
            tags: own(tags),
            layers: layers.iter().map(|tree| Layer::Tree((*tree).clone())).collect(),
            command: own(command),
            user: String::new(),
            settings: BTreeMap::new(),
            history: Vec::new(),
            damage: Damage::None,
        }
    }

    /// Sets a field of the config: `Env`, `Entrypoint`, `Labels`, ….
    #[must_use]
    pub fn setting(mut self, name: &str, value: Value) -> Self {
        self.settings.insert(name.to_owned(), value);
        self
    }

    /// Says how each layer was made, the lowest first.
    #[must_use]
    pub fn history(mut self, steps: &[&str]) -> Self {
        self.history = steps.iter().map(ToString::to_string).collect();
        self
    }

    /// Sets `User`.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Damages it.
    #[must_use]
    pub fn damaged(mut self, damage: Damage) -> Self {
        self.damage = damage;
        self
    }
}

/// Returns the storage folder of a registry that holds the images, made unless the cache has it.
///
/// # Errors
/// When the cache can't be written.
pub fn shelve(images: &[Image]) -> io::Result<PathBuf> {
    let tars = images.iter().map(tars_of).collect::<io::Result<Vec<_>>>()?;
    let shelves = cache().join("shelves");
    let folder = shelves.join(key(images, &tars));
    if folder.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&shelves)?;
    // Made beside its place and moved there whole: two tests at once don't see half of it.
    let work = tempfile::Builder::new().prefix("new-").tempdir_in(&shelves)?;
    let mut shelf = Shelf { storage: work.path().join("docker/registry/v2"), packed: BTreeMap::new() };
    for (image, tars) in images.iter().zip(&tars) {
        shelf.put(image, tars)?;
    }
    match fs::rename(work.path(), &folder) {
        Err(_) if folder.exists() => Ok(folder),
        other => other.map(|()| folder),
    }
}

fn tars_of(image: &Image) -> io::Result<Vec<Vec<u8>>> {
    let tar = |layer: &Layer| match layer {
        Layer::Tree(tree) => tree.to_tar(),
        Layer::Tar(bytes) => Ok(bytes.clone()),
    };
    image.layers.iter().map(tar).collect()
}

fn key(images: &[Image], tars: &[Vec<Vec<u8>>]) -> String {
    let mut hasher = Sha256::new_with_prefix(LAYOUT);
    for (image, tars) in images.iter().zip(tars) {
        let Image { repository, tags, command, user, settings, history, damage, layers: _ } = image;
        hasher.update(format!("{repository} {tags:?} {command:?} {user} {damage:?}"));
        // Only where there are some: what was made before there were stays the same.
        if !(settings.is_empty() && history.is_empty()) {
            hasher.update(format!("{settings:?} {history:?}"));
        }
        tars.iter().for_each(|tar| hasher.update(Sha256::digest(tar)));
    }
    hex::encode(hasher.finalize())[..16].to_owned()
}

/// A layer as it is stored.
#[derive(Clone)]
struct Packed {
    digest: String,
    size: usize,
}

/// A storage folder while it is filled.
struct Shelf {
    storage: PathBuf,
    /// By diff id: layers that images share are packed once.
    packed: BTreeMap<String, Packed>,
}

impl Shelf {
    fn put(&mut self, image: &Image, tars: &[Vec<u8>]) -> io::Result<()> {
        let mut diff_ids: Vec<String> = tars.iter().map(|tar| digest(tar)).collect();
        let layers = tars.iter().map(|tar| self.pack(tar)).collect::<io::Result<Vec<_>>>()?;
        match (image.damage, layers.last()) {
            (Damage::Truncated, Some(layer)) => self.alter(layer, |bytes| bytes.truncate(bytes.len() / 2))?,
            (Damage::Flipped, Some(layer)) => self.alter(layer, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            })?,
            (Damage::WrongDiffId, Some(_)) => {
                diff_ids.pop();
                diff_ids.push(digest(b"something else"));
            }
            (Damage::None, _) | (_, None) => (),
        }
        let config = config(image, &diff_ids).to_string();
        let config_digest = self.blob(config.as_bytes())?;
        let manifest = manifest(&config_digest, config.len(), &layers).to_string();
        let manifest_digest = self.blob(manifest.as_bytes())?;
        let repository = self.storage.join("repositories").join(&image.repository);
        for linked in layers.iter().map(|layer| &layer.digest).chain([&config_digest]) {
            link(&repository.join("_layers/sha256").join(hex_of(linked)), linked)?;
        }
        link(&repository.join("_manifests/revisions/sha256").join(hex_of(&manifest_digest)), &manifest_digest)?;
        for tag in &image.tags {
            let tag = repository.join("_manifests/tags").join(tag);
            link(&tag.join("current"), &manifest_digest)?;
            link(&tag.join("index/sha256").join(hex_of(&manifest_digest)), &manifest_digest)?;
        }
        Ok(())
    }

    fn pack(&mut self, tar: &[u8]) -> io::Result<Packed> {
        let diff_id = digest(tar);
        if let Some(packed) = self.packed.get(&diff_id) {
            return Ok(packed.clone());
        }
        // Fast: what is saved on disk would be paid for by every first test.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(tar)?;
        let bytes = encoder.finish()?;
        let packed = Packed { digest: self.blob(&bytes)?, size: bytes.len() };
        self.packed.insert(diff_id, packed.clone());
        Ok(packed)
    }

    fn blob(&self, bytes: &[u8]) -> io::Result<String> {
        let digest = digest(bytes);
        let file = self.blob_file(&digest);
        fs::create_dir_all(file.parent().unwrap_or(&self.storage))?;
        fs::write(file, bytes)?;
        Ok(digest)
    }

    fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = hex_of(digest);
        self.storage.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Changes a stored layer behind the back of its digest.
    fn alter(&self, layer: &Packed, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let file = self.blob_file(&layer.digest);
        let mut bytes = fs::read(&file)?;
        change(&mut bytes);
        fs::write(file, bytes)
    }
}

fn link(folder: &Path, digest: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("link"), digest)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn hex_of(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn config(image: &Image, diff_ids: &[String]) -> Value {
    let mut config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": image.command,
            "User": image.user,
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    for (name, value) in &image.settings {
        config["config"][name] = value.clone();
    }
    if !image.history.is_empty() {
        let step = |made_by: &String| json!({"created": CREATED, "created_by": made_by});
        config["history"] = image.history.iter().map(step).collect();
    }
    config
}

fn manifest(config: &str, config_size: usize, layers: &[Packed]) -> Value {
    let layers: Vec<_> =
        layers.iter().map(|layer| json!({"mediaType": LAYER, "size": layer.size, "digest": layer.digest})).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": config_size, "digest": config},
        "layers": layers,
    })
}

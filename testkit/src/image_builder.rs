//! Images put together from trees and pushed over HTTP, for the tests and for the demo.

use crate::registry::{BASIC, Registry};
use crate::tree::Tree;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// Largest answer of a registry that is read: only its head matters.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Whose media types a manifest has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Docker's image manifest v2 schema 2.
    #[default]
    Docker,
    /// OCI's image-spec 1.
    Oci,
}

/// How layers travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    #[default]
    Gzip,
    /// None.
    Plain,
}

/// An image being put together.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    layers: Vec<Vec<u8>>,
    settings: Value,
    format: Format,
    compression: Compression,
    architecture: String,
}

/// An image, put together. Its parts are open, so that a test can spoil them.
#[derive(Clone, Debug)]
pub struct Built {
    /// The config document.
    pub config: Vec<u8>,
    /// The layers as they travel, lowest first.
    pub layers: Vec<Vec<u8>>,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The manifest's media type.
    pub media_type: String,
    /// What it is for.
    pub architecture: String,
}

// === impl ImageBuilder ===

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// Starts with no layers, for this machine's kind of processor.
    #[must_use]
    pub fn new() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            layers: Vec::new(),
            settings: json!({}),
            format: Format::default(),
            compression: Compression::default(),
            architecture: architecture.to_owned(),
        }
    }

    /// Puts a layer on top. A whiteout is a file named `.wh.<name>`.
    ///
    /// # Panics
    /// When the tree can't be an archive.
    #[must_use]
    pub fn layer(self, tree: &Tree) -> Self {
        let tar = tree.to_tar().expect("a tree of a test has names that an archive can hold");
        self.tar_layer(tar)
    }

    /// Puts a layer on top that is an archive already, as it is.
    #[must_use]
    pub fn tar_layer(mut self, tar: Vec<u8>) -> Self {
        self.layers.push(tar);
        self
    }

    /// Sets a field of the config's settings: `Cmd`, `Env`, `User`, ….
    #[must_use]
    pub fn setting(mut self, name: &str, value: Value) -> Self {
        self.settings[name] = value;
        self
    }

    /// Chooses the media types.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Chooses how layers travel.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Says what the image is for: `amd64`, `arm64`, ….
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    /// Puts it together. The same parts give the same bytes.
    ///
    /// # Panics
    /// Never: memory takes all that is written.
    #[must_use]
    pub fn build(&self) -> Built {
        let diff_ids: Vec<String> = self.layers.iter().map(|tar| digest(tar)).collect();
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": self.settings,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let layers: Vec<Vec<u8>> = self.layers.iter().map(|tar| self.travelling(tar)).collect();
        let (manifest_type, config_type, layer_type) = match self.format {
            Format::Docker => (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar",
            ),
            Format::Oci => (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar",
            ),
        };
        let ending = match (self.compression, self.format) {
            (Compression::Plain, _) => "",
            (Compression::Gzip, Format::Docker) => ".gzip",
            (Compression::Gzip, Format::Oci) => "+gzip",
        };
        let layer_type = format!("{layer_type}{ending}");
        let descriptors: Vec<Value> = layers.iter().map(|blob| descriptor(&layer_type, blob)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": descriptor(config_type, &config),
            "layers": descriptors,
        });
        Built {
            config,
            layers,
            manifest: manifest.to_string().into_bytes(),
            media_type: manifest_type.to_owned(),
            architecture: self.architecture.clone(),
        }
    }

    fn travelling(&self, tar: &[u8]) -> Vec<u8> {
        match self.compression {
            Compression::Plain => tar.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(tar).and_then(|()| encoder.finish()).expect("memory takes all that is written")
            }
        }
    }
}

// === impl Built ===

impl Built {
    /// Returns the manifest's digest.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Returns the image's id: the config's digest.
    #[must_use]
    pub fn id(&self) -> String {
        digest(&self.config)
    }

    /// Pushes it under some tags, and by digest.
    ///
    /// # Errors
    /// When the registry refuses a part.
    pub fn push(&self, registry: &Registry, name: &str, tags: &[&str]) -> io::Result<()> {
        for blob in self.layers.iter().chain([&self.config]) {
            push_blob(registry, name, blob)?;
        }
        self.push_manifest(registry, name, tags)
    }

    /// Pushes the manifest alone.
    ///
    /// # Errors
    /// When the registry refuses it.
    pub fn push_manifest(&self, registry: &Registry, name: &str, tags: &[&str]) -> io::Result<()> {
        let digest = self.digest();
        for tag in tags.iter().copied().chain([digest.as_str()]) {
            put_manifest(registry, name, tag, &self.media_type, &self.manifest)?;
        }
        Ok(())
    }
}

/// Pushes an index of images that are there already; returns its digest.
///
/// # Errors
/// When the registry refuses it.
pub fn push_index(
    registry: &Registry,
    name: &str,
    tags: &[&str],
    images: &[&Built],
    format: Format,
) -> io::Result<String> {
    let media_type = match format {
        Format::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        Format::Oci => "application/vnd.oci.image.index.v1+json",
    };
    let manifests: Vec<Value> = images
        .iter()
        .map(|image| {
            let mut entry = descriptor(&image.media_type, &image.manifest);
            entry["platform"] = json!({"os": "linux", "architecture": image.architecture});
            entry
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string();
    for tag in tags {
        put_manifest(registry, name, tag, media_type, index.as_bytes())?;
    }
    Ok(digest(index.as_bytes()))
}

/// Pushes one blob.
///
/// # Errors
/// When the registry refuses it.
pub fn push_blob(registry: &Registry, name: &str, bytes: &[u8]) -> io::Result<()> {
    let begun = request(registry, "POST", &format!("/v2/{name}/blobs/uploads/"), "application/octet-stream", &[])?;
    begun.expect(202, "begin an upload")?;
    let location = begun.header("location").ok_or_else(|| io::Error::other("an upload without a place"))?;
    // The registry answers with a whole URL; only the path is needed.
    let path = location.find("/v2/").map_or(location, |at| &location[at..]);
    let join = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{join}digest={}", digest(bytes));
    request(registry, "PUT", &path, "application/octet-stream", bytes)?.expect(201, "upload a blob")
}

/// Pushes a manifest or index as it is.
///
/// # Errors
/// When the registry refuses it.
pub fn put_manifest(registry: &Registry, name: &str, tag: &str, media_type: &str, bytes: &[u8]) -> io::Result<()> {
    request(registry, "PUT", &format!("/v2/{name}/manifests/{tag}"), media_type, bytes)?.expect(201, "put a manifest")
}

/// Returns `sha256:<hex>` of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

// === just enough HTTP ===

struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn expect(&self, status: u16, doing: &str) -> io::Result<()> {
        if self.status == status { Ok(()) } else { Err(io::Error::other(format!("{doing}: {}", self.text))) }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().take_while(|line| !line.is_empty());
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Sends one request on a connection of its own. By hand: it must run in any thread and any network namespace.
fn request(registry: &Registry, method: &str, path: &str, media_type: &str, body: &[u8]) -> io::Result<Answer> {
    let mut stream = registry.connect()?;
    let authorization = if registry.has_password() { format!("Authorization: {BASIC}\r\n") } else { String::new() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {media_type}\r\n\
         Content-Length: {}\r\n{authorization}\r\n",
        registry.host(),
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not an answer: {text:?}")))?;
    Ok(Answer { status, text })
}

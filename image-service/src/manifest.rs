//! Manifests and indexes, Docker's and OCI's. Pure; every byte here was written by whoever built the image.
//!
//! image-spec, manifest.md and image-index.md; Docker's image manifest v2 schema 2.

use crate::error::Error;
use crate::remote::Document;
use orlop_model::Digest;
use serde::Deserialize;

/// Largest manifest or index; registries refuse larger ones, and a hostile one must not fill memory (CVE-2023-25153).
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Largest config; real ones have some kilobytes.
pub(crate) const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Most layers of an image: overlayfs takes at most 500 lower folders.
pub(crate) const LAYERS_MAX: usize = 500;

/// Largest layer as it travels, in bytes. Larger ones exist nowhere, and sizes must add up without overflow.
pub(crate) const LAYER_BYTES_MAX: u64 = 1 << 40;

/// Longest piece of a document that is repeated in a message.
const QUOTED_CHARS_MAX: usize = 100;

/// What is asked for; the old schema 1 is left out, but some registries send it nevertheless.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Config types that an image can have. Old versions of Docker wrote the last one.
const CONFIG_TYPES: [&str; 3] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/octet-stream",
];

/// A document, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// One platform's image.
    Manifest(Manifest),
    /// Many platforms' images.
    Index(Vec<Entry>),
}

/// One platform's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Blob,
    /// Lowest first.
    pub(crate) layers: Vec<Blob>,
}

/// A blob with a checked digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// A line of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) digest: Digest,
    pub(crate) platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawBlob>,
    layers: Option<Vec<RawBlob>>,
    manifests: Option<Vec<RawBlob>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBlob {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

// === impl Parsed ===

impl Parsed {
    /// Understands a document, or says why it can't be used.
    pub(crate) fn parse(document: &Document) -> Result<Self, Error> {
        let digest = &document.digest;
        let sent_as = document.media_type.split(';').next().unwrap_or_default().trim();
        if sent_as.contains("docker.distribution.manifest.v1+") {
            return Err(schema1(digest));
        }
        let raw: Raw = serde_json::from_slice(&document.bytes)
            .map_err(|error| Error::corrupt(digest, format!("it is not a manifest: {error}")))?;
        if raw.schema_version == Some(1) {
            return Err(schema1(digest));
        }
        if raw.schema_version != Some(2) {
            return Err(Error::corrupt(digest, "it is not a manifest: its schemaVersion is not 2"));
        }
        // CVE-2021-41190: two readers must never take the same bytes for two images.
        if raw.manifests.is_some() && (raw.layers.is_some() || raw.config.is_some()) {
            return Err(Error::corrupt(digest, "it is both a manifest and an index"));
        }
        let is_index = is_index(digest, sent_as, &raw)?;
        if is_index { index(digest, raw) } else { manifest(digest, raw) }
    }
}

/// Decides by the type it was sent as, the type it says it has, and its shape: all that are there must agree.
fn is_index(digest: &Digest, sent_as: &str, raw: &Raw) -> Result<bool, Error> {
    let says = raw.media_type.as_deref().unwrap_or_default();
    let known = |text: &str| match text {
        OCI_INDEX | DOCKER_INDEX => Some(true),
        OCI_MANIFEST | DOCKER_MANIFEST => Some(false),
        _ => None,
    };
    let generic = matches!(sent_as, "" | "application/json" | "application/octet-stream" | "text/plain");
    if !generic && !says.is_empty() && sent_as != says {
        let why = format!("it was sent as {:?} but says that it is {:?}", quoted(sent_as), quoted(says));
        return Err(Error::corrupt(digest, why));
    }
    let named = if says.is_empty() { sent_as } else { says };
    let by_shape = raw.manifests.is_some();
    let is_index = match known(named) {
        Some(is_index) => is_index,
        // An older registry may send no useful type, and OCI does not ask for one in the document.
        None if generic && says.is_empty() => by_shape,
        None => return Err(Error::unsupported(digest, format!("its type {:?} is no image's", quoted(named)))),
    };
    if is_index != by_shape {
        return Err(Error::corrupt(digest, format!("it is of type {named:?} but does not have its form")));
    }
    Ok(is_index)
}

fn index(digest: &Digest, raw: Raw) -> Result<Parsed, Error> {
    let entries = raw.manifests.unwrap_or_default();
    let entries = entries
        .into_iter()
        .map(|entry| Ok(Entry { digest: parse_digest(digest, &entry.digest)?, platform: entry.platform }));
    Ok(Parsed::Index(entries.collect::<Result<_, Error>>()?))
}

fn manifest(digest: &Digest, raw: Raw) -> Result<Parsed, Error> {
    let config = raw.config.ok_or_else(|| Error::corrupt(digest, "it has no config"))?;
    if !CONFIG_TYPES.contains(&config.media_type.as_str()) {
        let kind = raw.artifact_type.unwrap_or(config.media_type);
        let why = format!("it is not an image but an artifact of type {:?}", quoted(&kind));
        return Err(Error::unsupported(digest, why));
    }
    let layers = raw.layers.ok_or_else(|| Error::corrupt(digest, "it has no list of layers"))?;
    if layers.len() > LAYERS_MAX {
        let why = format!("it has {} layers, at most {LAYERS_MAX} can be stacked", layers.len());
        return Err(Error::too_large(digest, why));
    }
    let config = Blob { digest: parse_digest(digest, &config.digest)?, size: config.size };
    let layers = layers.iter().map(|blob| layer(digest, blob)).collect::<Result<_, _>>()?;
    Ok(Parsed::Manifest(Manifest { config, layers }))
}

fn layer(manifest: &Digest, raw: &RawBlob) -> Result<Blob, Error> {
    let digest = parse_digest(manifest, &raw.digest)?;
    let kind = raw.media_type.as_str();
    if kind.contains(".foreign.") || kind.contains(".nondistributable.") {
        return Err(Error::unsupported(
            digest,
            "it is a foreign layer, which its registry does not hold (Windows images)",
        ));
    }
    if kind.ends_with("zstd") {
        return Err(Error::unsupported(digest, "it is compressed with zstd; only gzip and plain tar are supported"));
    }
    if kind.contains("encrypted") {
        return Err(Error::unsupported(digest, "it is encrypted"));
    }
    let known = matches!(
        kind,
        "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
    );
    if !known {
        return Err(Error::unsupported(digest, format!("its type {:?} is no layer's", quoted(kind))));
    }
    if raw.size > LAYER_BYTES_MAX {
        return Err(Error::too_large(digest, format!("the manifest gives it {} bytes", raw.size)));
    }
    Ok(Blob { digest, size: raw.size })
}

fn parse_digest(inside: &Digest, text: &str) -> Result<Digest, Error> {
    Digest::parse(text).map_err(|error| Error::corrupt(inside, error.to_string()))
}

fn schema1(digest: &Digest) -> Error {
    let why =
        "its manifest is of Docker's schema 1, which is no longer supported; push the image again with a tool of today";
    Error::unsupported(digest, why)
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

// === impl Platform ===

impl Platform {
    /// Returns this node's.
    pub(crate) fn of_node() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: String::new() }
    }

    /// Says how well an image for `self` runs on `node`; less is better, `None` not at all.
    ///
    /// The plain variant first: v2 and up of amd64 may need instructions that this processor lacks.
    fn rank(&self, node: &Self) -> Option<u32> {
        if self.os != node.os || self.architecture != node.architecture {
            return None;
        }
        let plain = match node.architecture.as_str() {
            "arm64" => ["", "v8"],
            _ => ["", "v1"],
        };
        plain.iter().position(|variant| *variant == self.variant).map_or(Some(2), |at| u32::try_from(at).ok())
    }
}

/// Chooses the entry of an index for a node; those without a platform come last, as guesses.
pub(crate) fn choose<'a>(entries: &'a [Entry], node: &Platform) -> Option<&'a Entry> {
    const GUESS: u32 = u32::MAX;
    let ranked = entries.iter().filter_map(|entry| {
        let rank = entry.platform.as_ref().map_or(Some(GUESS), |platform| platform.rank(node))?;
        Some((rank, entry))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::digest_of;

    fn document(media_type: &str, text: &str) -> Document {
        Document {
            bytes: text.as_bytes().to_vec(),
            media_type: media_type.to_owned(),
            digest: digest_of(text.as_bytes()),
        }
    }

    fn digest(digit: char) -> String {
        format!("sha256:{}", String::from(digit).repeat(64))
    }

    fn manifest(kind: &str, layer: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"{}","digest":"{}","size":7}},"layers":[{layer}]}}"#,
            CONFIG_TYPES[0],
            digest('c')
        )
    }

    fn layer_of(kind: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"{}","size":9}}"#, digest('a'))
    }

    #[test]
    fn manifests_of_both_kinds_are_understood() {
        for kind in [OCI_MANIFEST, DOCKER_MANIFEST] {
            let text = manifest(kind, &layer_of("application/vnd.oci.image.layer.v1.tar+gzip"));
            for sent_as in [kind, &format!("{kind}; charset=utf-8"), "", "application/json"] {
                let Ok(Parsed::Manifest(found)) = Parsed::parse(&document(sent_as, &text)) else { panic!("{sent_as}") };
                assert_eq!((found.layers.len(), found.config.size), (1, 7));
            }
        }
        let empty = manifest(OCI_MANIFEST, "");
        assert!(
            matches!(Parsed::parse(&document(OCI_MANIFEST, &empty)), Ok(Parsed::Manifest(m)) if m.layers.is_empty())
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        let both = r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#;
        let deep = "[".repeat(100_000);
        for (sent_as, text, word) in [
            (OCI_MANIFEST, both.to_owned(), "both a manifest and an index"),
            (OCI_MANIFEST, r#"{"schemaVersion":2,"config":{},"manifests":[]}"#.to_owned(), "digest"),
            (OCI_INDEX, manifest(OCI_MANIFEST, ""), "was sent as"),
            (OCI_INDEX, r#"{"schemaVersion":2,"layers":[]}"#.to_owned(), "does not have its form"),
            (OCI_MANIFEST, r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), "does not have its form"),
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}".to_owned(), "schema 1"),
            ("", r#"{"schemaVersion":1}"#.to_owned(), "schema 1"),
            ("", "{}".to_owned(), "schemaVersion"),
            ("", String::new(), "not a manifest"),
            ("", "[]".to_owned(), "not a manifest"),
            ("", deep, "not a manifest"),
            ("text/html", r#"{"schemaVersion":2,"layers":[]}"#.to_owned(), "text/html"),
            (OCI_MANIFEST, r#"{"schemaVersion":2}"#.to_owned(), "no config"),
            (OCI_MANIFEST, manifest(OCI_MANIFEST, &layer_of("application/x-y")), "application/x-y"),
            (OCI_MANIFEST, manifest(OCI_MANIFEST, &layer_of("application/vnd.oci.image.layer.v1.tar+zstd")), "zstd"),
            (
                OCI_MANIFEST,
                manifest(OCI_MANIFEST, &layer_of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
                "foreign",
            ),
            (OCI_MANIFEST, manifest(OCI_MANIFEST, r#"{"digest":"sha256:../../x","size":1}"#), "not a digest"),
            (OCI_MANIFEST, manifest(OCI_MANIFEST, r#"{"digest":"x","size":-1}"#), "not a manifest"),
            (OCI_MANIFEST, manifest(OCI_MANIFEST, "").replace(CONFIG_TYPES[0], "application/vnd.chart"), "artifact"),
            (
                OCI_MANIFEST,
                manifest(OCI_MANIFEST, &vec![layer_of("application/vnd.oci.image.layer.v1.tar"); 501].join(",")),
                "501 layers",
            ),
        ] {
            let error = Parsed::parse(&document(sent_as, &text)).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn node_gets_its_own_platform() {
        let entry = |digit, platform: Option<(&str, &str, &str)>| Entry {
            digest: Digest::parse(&digest(digit)).unwrap(),
            platform: platform.map(|(os, architecture, variant)| Platform {
                os: os.into(),
                architecture: architecture.into(),
                variant: variant.into(),
            }),
        };
        let node = Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() };
        let all = [
            entry('0', None),
            entry('1', Some(("linux", "arm64", "v8"))),
            entry('2', Some(("linux", "amd64", "v3"))),
            entry('3', Some(("windows", "amd64", ""))),
            entry('4', Some(("unknown", "unknown", ""))),
            entry('5', Some(("linux", "amd64", ""))),
            entry('6', Some(("linux", "amd64", ""))),
        ];
        let chosen = |range: std::ops::Range<usize>| choose(&all[range], &node).map(|e| e.digest.hex()[..1].to_owned());
        assert_eq!(chosen(0..7).as_deref(), Some("5"));
        assert_eq!(chosen(0..5).as_deref(), Some("2"));
        assert_eq!(chosen(0..2).as_deref(), Some("0"));
        assert_eq!(chosen(3..5), None);
        assert_eq!(chosen(0..0), None);
    }

    proptest::proptest! {
        #[test]
        fn no_document_panics(text in "[\\[\\]{}\":,a-z0-9]{0,80}", kind in 0..5_usize) {
            let kind = ["", OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST][kind];
            let _ = Parsed::parse(&document(kind, &text));
        }
    }
}

//! Makes an image of a container: its image's layers, and one more of what it wrote.
//!
//! The steps and their order are those of a pull: content and layers in place, flushed, then the record. The layer is packed
//! as any other would travel, and unpacked as any other is: so its digest is what a registry would be told.

use crate::apply::apply;
use crate::archive;
use crate::commit::{Fetched, Lease};
use crate::error::Error;
use crate::image_config::ParsedConfig;
use crate::layer;
use crate::manifest::Platform;
use crate::record::LayerRecord;
use crate::remote::{digest_from, digest_of};
use crate::store::Shared;
use orlop_model::effect::ImageEffect as Part;
use orlop_model::image::Commit;
use orlop_model::reference::Reference;
use orlop_model::{Digest, Failure, ImageId};
use rustix::pipe::PipeFlags;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// Bytes taken from the packing at once.
const READ_BYTES: usize = 128 << 10;
/// What a config says of the container that an image was made from, in older forms: none of the new image's.
const OF_CONTAINER: [&str; 3] = ["container", "container_config", "docker_version"];

/// Makes an image of a container.
pub(crate) async fn commit(shared: Arc<Shared>, wanted: Commit) -> Result<ImageId, Failure> {
    let what = format!("make an image of container {}", wanted.container);
    run(&shared, wanted).await.map_err(|failure| failure.while_trying(what))
}

async fn run(shared: &Arc<Shared>, wanted: Commit) -> Result<ImageId, Failure> {
    let name = wanted.name.as_deref().map(reference).transpose()?;
    let owner = wanted.owner.clone();
    // Held from before it is there until the record names it.
    let packed = async { Ok(shared.walking(move |shared| packed(shared, &wanted)).await?) };
    let fetched = Arc::new(shared.around(Part::KeepLayers, packed).await?);
    let keep = Arc::clone(&fetched);
    let content = async { Ok(shared.blocking(move |shared| shared.keep_content(&keep)).await?) };
    shared.around(Part::KeepContent, content).await?;
    let keep = Arc::clone(&fetched);
    let stack = async { Ok(shared.blocking(move |shared| shared.stack(&keep)).await?) };
    let stack = shared.around(Part::Stack, stack).await?;
    shared.around(Part::Flush, async { Ok(shared.flusher.flush(&shared.disk).await?) }).await?;
    let names = Vec::from_iter(name);
    let commit =
        async { Ok(shared.blocking(move |shared| shared.record_made(&fetched, &stack, &names, &owner)).await?) };
    shared.around(Part::Commit, commit).await
}

fn reference(name: &str) -> Result<Reference, Error> {
    Reference::parse(name).map_err(|error| Error::BadPath { path: format!("{name:?}"), why: error.to_string() })
}

/// Packs and unpacks the layer, and composes the config.
fn packed(shared: &Arc<Shared>, wanted: &Commit) -> Result<Fetched, Error> {
    let container = shared.container(&wanted.container)?;
    let missing = || Error::Missing { what: format!("the image {} that it was made from", container.image) };
    let base = shared.index().get(&container.image).cloned().ok_or_else(missing)?;
    // While the container is there, so are its layers; this keeps those that it does not stack, too.
    let of_base = Lease::new(shared, base.record.layers.clone());
    if let Some(gone) = base.record.layers.iter().find(|layer| !shared.has_layer(layer)) {
        return Err(Error::Missing { what: format!("layer {gone} of its image") });
    }
    let (diff_id, _leases) = keep_upper(shared, wanted, of_base)?;
    let bytes = config(&base.image.config_json, wanted, &diff_id)?;
    let digest = digest_of(&bytes);
    let layers = base.record.layers.len() + 1;
    let config = ParsedConfig::parse(&digest, bytes, layers, &Platform::of_node())?;
    let name = wanted.name.clone().unwrap_or_else(|| "unnamed".to_owned());
    Ok(Fetched::new(shared, reference(&name)?, Vec::new(), digest, config))
}

/// Makes a layer of what a container wrote, and returns its diff id, and what keeps it.
fn keep_upper(shared: &Arc<Shared>, wanted: &Commit, of_base: Lease) -> Result<(Digest, [Lease; 2]), Error> {
    let upper = shared.disk.container(&wanted.container).join("upper");
    let place = place_of(&upper)?;
    let ingest = shared.ingest()?;
    let path = ingest.path().join("fs");
    DirBuilder::new().mode(0o755).create(&path).map_err(Error::io(format!("make folder {path:?}")))?;
    let root = File::open(&path).map_err(Error::io(format!("open {path:?}")))?;
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::errno("make a pipe for a layer"))?;
    let (applied, diff_id) = std::thread::scope(|scope| {
        let packing = scope.spawn(|| archive::pack_layer(&upper, write));
        let mut stream = BufReader::with_capacity(READ_BYTES, Hashed { from: File::from(read), hash: Sha256::new() });
        let applied = apply(&mut stream, root.as_fd());
        // Also what follows the last member belongs to the digest.
        let rest = io::copy(&mut stream, &mut io::sink());
        let diff_id = digest_from(&stream.into_inner().hash.finalize());
        // Before what was made of it: when packing failed, that is only what came of it.
        packing.join().unwrap_or_else(|_| Err(Error::io("pack a layer")(io::Error::other("its thread died"))))?;
        let applied = applied.map_err(|error| Error::BadArchive { why: error.to_string() })?;
        rest.map_err(Error::io("read a layer"))?;
        Ok::<_, Error>((applied, diff_id))
    })?;
    // Of one that was removed meanwhile, only a part may have been there to be packed.
    if place_of(&upper).ok() != Some(place) {
        return Err(Error::Missing { what: format!("container {}, which was removed meanwhile,", wanted.container) });
    }
    let lease = Lease::new(shared, vec![diff_id.clone()]);
    let record: LayerRecord = layer::record_of(&diff_id, &applied);
    let path = ingest.path().join("layer");
    fs::write(&path, crate::record::encode(&record)).map_err(Error::io(format!("write {path:?}")))?;
    shared.keep_layer(ingest, record)?;
    Ok((diff_id, [of_base, lease]))
}

/// Returns what tells a folder from another at the same path later.
fn place_of(folder: &Path) -> Result<(u64, u64), Error> {
    let metadata = fs::symlink_metadata(folder).map_err(Error::io(format!("look at {folder:?}")))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The bytes of a layer, hashed.
struct Hashed {
    from: File,
    hash: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// Composes the new image's config from that of the image below.
fn config(base: &str, wanted: &Commit, diff_id: &Digest) -> Result<Vec<u8>, Error> {
    let bad = |why: &str| Error::corrupt("the config of its image", why);
    let mut config: Value = serde_json::from_str(base).map_err(|error| bad(&error.to_string()))?;
    let settings: Value = serde_json::from_str(&wanted.config_json).map_err(|error| bad(&error.to_string()))?;
    let fields = config.as_object_mut().ok_or_else(|| bad("it is no object"))?;
    for name in OF_CONTAINER {
        fields.remove(name);
    }
    for (name, value) in [
        ("created", json!(wanted.created)),
        ("author", json!(wanted.author)),
        ("comment", json!(wanted.comment)),
        ("config", settings),
    ] {
        fields.insert(name.to_owned(), value);
    }
    let step = json!({
        "created": wanted.created, "created_by": wanted.created_by, "author": wanted.author, "comment": wanted.comment,
    });
    // What does not tell all of its steps tells none: one alone would stand for another's layer.
    if let Some(history) = fields.get_mut("history").and_then(Value::as_array_mut) {
        history.push(step);
    }
    let rootfs = fields.get_mut("rootfs").and_then(Value::as_object_mut).ok_or_else(|| bad("it has no rootfs"))?;
    let mut diff_ids = rootfs.get("diff_ids").and_then(Value::as_array).cloned().unwrap_or_default();
    diff_ids.push(json!(diff_id.to_string()));
    rootfs.insert("diff_ids".to_owned(), Value::Array(diff_ids));
    serde_json::to_vec(&config).map_err(|error| bad(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::{ContainerId, Namespace};

    #[test]
    fn a_config_has_one_layer_and_one_step_more_and_says_nothing_of_containers() {
        let wanted = Commit {
            container: ContainerId::from_random([1; 32]),
            name: None,
            owner: Namespace("docker".into()),
            config_json: r#"{"Cmd":["sh"]}"#.into(),
            author: "a".into(),
            comment: "c".into(),
            created: "2026-01-01T00:00:00Z".into(),
            created_by: "sh -c true".into(),
        };
        let digest = digest_of(b"x");
        let of = |base: &str| -> Value { serde_json::from_slice(&config(base, &wanted, &digest).unwrap()).unwrap() };
        let base = r#"{"os":"linux","architecture":"amd64","container":"x","config":{"Cmd":["old"]},
            "history":[{"created_by":"ADD"}],"rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#;
        let made = of(base);
        assert_eq!(
            (&made["os"], &made["config"]["Cmd"], &made["comment"]),
            (&json!("linux"), &json!(["sh"]), &json!("c"))
        );
        assert_eq!(made["rootfs"]["diff_ids"], json!(["sha256:1", digest.to_string()]));
        assert_eq!(
            (made["history"].as_array().unwrap().len(), &made["history"][1]["created_by"]),
            (2, &json!("sh -c true"))
        );
        assert!(made.get("container").is_none());
        let made = of(r#"{"rootfs":{"diff_ids":null}}"#);
        assert_eq!((&made["history"], &made["rootfs"]["diff_ids"]), (&Value::Null, &json!([digest.to_string()])));
        assert!(config("[]", &wanted, &digest).is_err() && config("{}", &wanted, &digest).is_err());
    }
}

//! Registries and images that lie.

use crate::bench::{Bench, image, pull, refused};
use crate::servers::{Fake, reply};
use orlop_model::ErrorKind;
use orlop_model::ports::Images;
use orlop_testkit::image_builder::{Built, ImageBuilder, digest};
use std::fs;

/// Every pull that fails leaves the store as it was.
async fn nothing_stays(bench: &Bench) {
    assert!(bench.store.list().await.unwrap().is_empty());
    for folder in ["layers", "content", "images"] {
        assert!(bench.inside(folder).is_empty(), "{folder}: {:?}", bench.inside(folder));
    }
    bench.settled();
}

/// Serves an image from a server that says anything it is told to.
fn serve(built: &Built, layer: Vec<u8>) -> Fake {
    Fake::start(vec![
        ("/manifests/", reply(200, &built.media_type, &built.manifest)),
        (&built.id(), reply(200, "application/octet-stream", &built.config)),
        ("/blobs/", layer),
    ])
}

#[tokio::test]
async fn spoilt_layers_are_named_and_leave_nothing() {
    let bench = Bench::new();
    let built = image(&[&[("good", "1")], &[("a", &"text ".repeat(10_000)), ("b", "2")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let layer = &built.layers[1];
    let named = digest(layer);
    let file = bench.registry.blob_file(&named);
    let mut flipped = layer.clone();
    flipped[layer.len() / 2] ^= 0x10;
    let mut at_end = layer.clone();
    *at_end.last_mut().unwrap() ^= 1;
    for (what, bytes) in [
        ("cut", layer[..layer.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("flipped", flipped),
        ("flipped at the end", at_end),
        ("longer", [layer.as_slice(), b"more"].concat()),
        ("another layer", built.layers[0].clone()),
    ] {
        fs::write(&file, bytes).unwrap();
        eprintln!("{what}");
        refused(bench.pull("x:1").await, ErrorKind::Corrupt, &[&named]);
        nothing_stays(&bench).await;
    }
    fs::write(&file, layer).unwrap();
    bench.pull("x:1").await.unwrap();
}

#[tokio::test]
async fn layer_that_is_not_what_the_config_says_is_refused() {
    let bench = Bench::new();
    let mut built = image(&[&[("a", "1")]]);
    let other = image(&[&[("a", "2")]]);
    // The manifest is true about the blob, the config is not.
    let text = String::from_utf8(built.manifest.clone()).unwrap();
    let (old, new) = (&built.layers[0], &other.layers[0]);
    let text = text
        .replace(&digest(old), &digest(new))
        .replace(&format!("\"size\":{}", old.len()), &format!("\"size\":{}", new.len()));
    built.manifest = text.into_bytes();
    built.layers = other.layers.clone();
    built.push(&bench.registry, "x", &["1"]).unwrap();
    refused(bench.pull("x:1").await, ErrorKind::Corrupt, &[&digest(new), "the config says"]);
    nothing_stays(&bench).await;
}

#[tokio::test]
async fn layers_that_lead_out_are_refused() {
    let bench = Bench::new();
    let victim = bench.folder.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let up = format!("{}{}", "../".repeat(12), victim.to_str().unwrap().trim_start_matches('/'));
    let entry = |kind: tar::EntryType, name: &str, link: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o666);
        header.set_size(data.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        (header, data.to_vec())
    };
    let cases = [
        (ErrorKind::Corrupt, vec![entry(tar::EntryType::Regular, &up, "", b"x")]),
        (ErrorKind::Corrupt, vec![entry(tar::EntryType::Link, "hard", &up, b"")]),
        (ErrorKind::Unsupported, vec![entry(tar::EntryType::Link, "hard", victim.to_str().unwrap(), b"")]),
        (ErrorKind::Corrupt, vec![entry(tar::EntryType::Regular, ".wh...", "", b"")]),
    ];
    for (at, (kind, entries)) in cases.into_iter().enumerate() {
        let mut builder = tar::Builder::new(Vec::new());
        for (header, data) in entries {
            builder.append(&header, data.as_slice()).unwrap();
        }
        let built = ImageBuilder::new().tar_layer(builder.into_inner().unwrap()).build();
        let tag = format!("bad{at}");
        built.push(&bench.registry, "x", &[&tag]).unwrap();
        refused(bench.pull(&format!("x:{tag}")).await, kind, &[&digest(&built.layers[0])]);
        nothing_stays(&bench).await;
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[tokio::test]
async fn lies_about_manifests_are_refused() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    let manifest = |media_type: &str, bytes: &[u8]| Fake::start(vec![("/manifests/", reply(200, media_type, bytes))]);
    let docker = built.media_type.as_str();
    let huge = vec![b' '; (4 << 20) + 1];
    for (server, kind, word) in [
        (manifest("application/vnd.oci.image.manifest.v1+json", &built.manifest), ErrorKind::Corrupt, "was sent as"),
        (manifest(docker, b"{}"), ErrorKind::Corrupt, "schemaVersion"),
        (manifest(docker, br#"{"schemaVersion":2,"layers":[],"manifests":[]}"#), ErrorKind::Corrupt, "both"),
        (manifest("text/html", b"<html>sign in</html>"), ErrorKind::Corrupt, "not a manifest"),
        (
            manifest("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}"),
            ErrorKind::Unsupported,
            "schema 1",
        ),
        (manifest(docker, &huge), ErrorKind::Exhausted, "bytes allowed"),
        (manifest(docker, &vec![b'['; 1 << 20]), ErrorKind::Corrupt, "not a manifest"),
    ] {
        refused(pull(&bench.store, &format!("{}/x:1", server.host())).await, kind, &[word]);
    }
    let server = manifest(docker, &built.manifest);
    let other = format!("{}/x@sha256:{}", server.host(), "0".repeat(64));
    refused(pull(&bench.store, &other).await, ErrorKind::Corrupt, &["sent bytes with digest"]);
    nothing_stays(&bench).await;
}

#[tokio::test]
async fn download_that_breaks_is_tried_again_and_then_blamed_on_the_registry() {
    let bench = Bench::new();
    let built = image(&[&[("a", &"text ".repeat(10_000))]]);
    let layer = &built.layers[0];
    let mut cut = reply(200, "application/octet-stream", layer);
    cut.truncate(cut.len() - 10);
    let server = serve(&built, cut);
    let name = format!("{}/x:1", server.host());
    refused(pull(&bench.store, &name).await, ErrorKind::RegistryUnavailable, &[&digest(layer)]);
    assert_eq!(server.asked(&digest(layer)), 3);
    nothing_stays(&bench).await;
}

//! Pull, list, find, remove.

use crate::bench::{Bench, container, image, pull, refused, remove, tree};
use orlop_model::image_removal::Removed;
use orlop_model::ports::Images;
use orlop_model::{ErrorKind, ImageId};
use orlop_testkit::image_builder::{Compression, Format, ImageBuilder, push_index};
use orlop_testkit::registry::Registry;
use serde_json::json;

#[tokio::test]
async fn pulled_image_is_found_by_every_name() {
    let bench = Bench::new();
    let built = ImageBuilder::new()
        .layer(&tree(&[("a", "1")]))
        .setting("User", json!("1003:1004"))
        .setting("Cmd", json!(["/bin/sh"]))
        .build();
    built.push(&bench.registry, "one/two", &["v1", "latest"]).unwrap();
    let id = bench.pull("one/two:v1").await.unwrap();
    assert_eq!(id.to_string(), built.id());
    assert_eq!(bench.pull("one/two").await.unwrap(), id);
    let digest = format!("{}@{}", bench.at("one/two"), built.digest());
    let found = bench.find(&bench.at("one/two:v1")).await.unwrap();
    assert_eq!(found.tags, [bench.at("one/two:latest"), bench.at("one/two:v1")]);
    assert_eq!(found.digests, [digest.as_str()]);
    assert_eq!((found.config.user.as_str(), found.config.cmd.len()), ("1003:1004", 1));
    let own = found.bytes - built.config.len() as u64;
    assert_eq!(found.layers.iter().map(|layer| layer.bytes).collect::<Vec<_>>(), [own]);
    assert_eq!(found.origin.os, "linux");
    assert_eq!(found.config_json.as_bytes(), built.config);
    let hex = built.id()["sha256:".len()..].to_owned();
    for name in [&bench.at("one/two"), &bench.at("one/two:latest"), &digest, &built.id(), &hex, &hex[..12]] {
        assert_eq!(bench.find(name).await.as_ref(), Some(&found), "{name}");
    }
    assert_eq!(bench.find(&bench.at("one/two:v2")).await, None);
    assert_eq!(bench.store.list().await.unwrap(), [found]);
}

#[tokio::test]
async fn image_pulled_by_digest_has_no_tag() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    built.push(&bench.registry, "x", &["v1"]).unwrap();
    let reference = format!("x@{}", built.digest());
    bench.pull(&reference).await.unwrap();
    let found = bench.find(&bench.at(&reference)).await.unwrap();
    assert_eq!((found.tags.len(), found.digests), (0, vec![bench.at(&reference)]));
}

#[tokio::test]
async fn formats_and_indexes_lead_to_the_same_image() {
    let bench = Bench::new();
    let base = || ImageBuilder::new().layer(&tree(&[("a", "1")])).layer(&tree(&[("b", "2")]));
    let foreign = base().architecture("s390x").build();
    foreign.push(&bench.registry, "x", &["foreign"]).unwrap();
    let mut ids = Vec::new();
    for (format, compression) in [
        (Format::Docker, Compression::Gzip),
        (Format::Oci, Compression::Gzip),
        (Format::Oci, Compression::Plain),
        (Format::Docker, Compression::Plain),
    ] {
        let built = base().format(format).compression(compression).build();
        built.push(&bench.registry, "x", &["single"]).unwrap();
        ids.push(bench.pull("x:single").await.unwrap());
        let index = push_index(&bench.registry, "x", &["many"], &[&foreign, &built], format).unwrap();
        ids.push(bench.pull("x:many").await.unwrap());
        let found = bench.find(&bench.at("x:many")).await.unwrap();
        assert!(found.digests.contains(&format!("{}@{index}", bench.at("x"))), "{:?}", found.digests);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one config, so one image");
    // Layers are known by what is in them, not by how they travelled.
    assert_eq!(bench.inside("layers").len(), 2);
    refused(bench.pull("x:foreign").await, ErrorKind::Unsupported, &["linux/s390x"]);
    push_index(&bench.registry, "x", &["none"], &[&foreign], Format::Oci).unwrap();
    refused(bench.pull("x:none").await, ErrorKind::Unsupported, &["none of its 1 images is for linux/"]);
    bench.settled();
}

#[tokio::test]
async fn image_without_layers_is_an_image() {
    let bench = Bench::new();
    image(&[]).push(&bench.registry, "x", &["empty"]).unwrap();
    let id = bench.pull("x:empty").await.unwrap();
    assert!(bench.find(&id.to_string()).await.unwrap().bytes > 0);
}

#[tokio::test]
async fn removal_by_one_name_takes_all_names_and_all_files() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")], &[("b", "2")]]);
    built.push(&bench.registry, "x", &["1", "2", "3"]).unwrap();
    let other = image(&[&[("a", "1")], &[("c", "3")]]);
    other.push(&bench.registry, "y", &["1"]).unwrap();
    for name in ["x:1", "x:2", "x:3", "y:1"] {
        bench.pull(name).await.unwrap();
    }
    assert_eq!(bench.find(&bench.at("x:1")).await.unwrap().tags.len(), 3);
    let removed = remove(&bench.store, &bench.at("x:2")).await.unwrap();
    assert_eq!(removed.image.map(|id| id.to_string()), Some(built.id()));
    let names: Vec<_> = ["x:1", "x:2", "x:3"].map(|name| bench.at(name)).into();
    assert_eq!((&removed.untagged[..3], removed.untagged.len(), removed.layers.len()), (&names[..], 4, 1));
    for name in [bench.at("x:1"), bench.at("x:3"), built.id(), format!("{}@{}", bench.at("x"), built.digest())] {
        assert_eq!(bench.find(&name).await, None, "{name}");
    }
    assert_eq!(remove(&bench.store, &bench.at("x:1")).await.unwrap(), Removed::default());
    assert_eq!(remove(&bench.store, &"0".repeat(64)).await.unwrap(), Removed::default());
    // The shared layer stays with the other image.
    assert_eq!(bench.inside("layers").len(), 2);
    remove(&bench.store, &other.id()).await.unwrap();
    for folder in ["layers", "content", "images"] {
        assert!(bench.inside(folder).is_empty(), "{folder}");
    }
    bench.settled();
    bench.counts_nothing().await;
    assert!(bench.store.usage().await.unwrap().mountpoint.is_dir());
}

#[tokio::test]
async fn same_image_of_two_registries_is_one_with_both_names() {
    let bench = Bench::new();
    let second = Registry::start().unwrap();
    let built = image(&[&[("a", "1")]]);
    built.push(&bench.registry, "pause", &["3.9"]).unwrap();
    built.push(&second, "pause", &["3.9"]).unwrap();
    let id = bench.pull("pause:3.9").await.unwrap();
    assert_eq!(pull(&bench.store, &format!("{}/pause:3.9", second.host())).await.unwrap(), id);
    let found = bench.find(&id.to_string()).await.unwrap();
    assert_eq!((found.tags.len(), found.digests.len()), (2, 2));
    remove(&bench.store, &format!("{}/pause:3.9", second.host())).await.unwrap();
    assert_eq!(bench.find(&bench.at("pause:3.9")).await, None);
}

#[tokio::test]
async fn tag_that_moved_is_taken_from_the_old_image() {
    let mut bench = Bench::new();
    let old = image(&[&[("a", "1")]]);
    let new = image(&[&[("a", "2")]]);
    old.push(&bench.registry, "x", &["v"]).unwrap();
    bench.pull("x:v").await.unwrap();
    new.push(&bench.registry, "x", &["v"]).unwrap();
    assert_eq!(bench.pull("x:v").await.unwrap().to_string(), new.id());
    for round in 0..2 {
        let before = bench.find(&old.id()).await.unwrap();
        assert_eq!((before.tags.len(), before.digests.len()), (0, 1), "round {round}");
        assert_eq!(bench.find(&bench.at("x:v")).await.unwrap().id.to_string(), new.id());
        bench = bench.reopen();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_and_removals_at_once_all_succeed() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")], &[("b", "2")], &[("c", "3")]]);
    let other = image(&[&[("a", "1")], &[("b", "2")], &[("d", "4")]]);
    built.push(&bench.registry, "x", &["1", "2"]).unwrap();
    other.push(&bench.registry, "y", &["1"]).unwrap();
    let names = [bench.at("x:1"), bench.at("x:2"), bench.at("y:1")];
    for _ in 0..5 {
        let pulls = (0..9).map(|at| pull(&bench.store, &names[at % 3]));
        for result in futures_util::future::join_all(pulls).await {
            result.unwrap();
        }
        assert_eq!(bench.inside("layers").len(), 4);
        let removals = (0..5).map(|_| remove(&bench.store, &names[0]));
        for result in futures_util::future::join_all(removals).await {
            result.unwrap();
        }
        assert_eq!(bench.find(&names[1]).await, None);
        // Both at once: whatever the order, what is listed is whole.
        let mixed =
            (0..6).map(|at| {
                let (store, name) = (&bench.store, &names[at % 3]);
                async move {
                    if at % 2 == 0 { pull(store, name).await.map(drop) } else { remove(store, name).await.map(drop) }
                }
            });
        for result in futures_util::future::join_all(mixed).await {
            result.unwrap();
        }
        for listed in bench.store.list().await.unwrap() {
            let id = container("whole");
            bench.store.prepare(&id, &listed.id).await.unwrap();
            bench.store.rootfs(&id, None).await.unwrap();
            bench.store.drop_rootfs(&id).await.unwrap();
            remove(&bench.store, &listed.id.to_string()).await.unwrap();
        }
        assert!(bench.inside("layers").is_empty() && bench.inside("content").is_empty());
    }
    bench.settled();
}

#[tokio::test]
async fn identical_pulls_ask_the_registry_once() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let digest = orlop_testkit::image_builder::digest(&built.layers[0]);
    let pulls = (0..8).map(|_| bench.pull("x:1"));
    for result in futures_util::future::join_all(pulls).await {
        result.unwrap();
    }
    let log = bench.registry.log().unwrap();
    let asked = |path: String| log.lines().filter(|line| line.contains(&format!("\"GET /v2/x/{path}"))).count();
    assert_eq!(asked("manifests/1".to_owned()), 1);
    assert_eq!(asked(format!("blobs/{digest}")), 1);
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let bench = Bench::new();
    for name in ["", "A b", "x@sha256:1", "a//b", "../a"] {
        refused(pull(&bench.store, name).await, ErrorKind::InvalidArgument, &["is not an image reference"]);
    }
    refused(bench.pull("absent:1").await, ErrorKind::NotFound, &["does not have manifest absent:1", "pull "]);
    let nobody = "127.0.0.1:1/x";
    refused(pull(&bench.store, nobody).await, ErrorKind::RegistryUnavailable, &["127.0.0.1:1"]);
}

#[tokio::test]
async fn usage_is_what_the_disk_says() {
    let bench = Bench::new();
    let big = "x".repeat(3_000_000);
    image(&[&[("a/b/c", &big), ("d", "small")], &[("e", "1")]]).push(&bench.registry, "x", &["1"]).unwrap();
    bench.pull("x:1").await.unwrap();
    let usage = bench.store.usage().await.unwrap();
    let layers = bench.root().join("layers");
    let du = |flag: &str| {
        let output = std::process::Command::new("du").args(["-s", flag]).arg(&layers).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let bytes = du("--block-size=1");
    assert!(usage.bytes.abs_diff(bytes) < bytes / 20, "{} counted, {bytes} on disk", usage.bytes);
    // Beside the layers: their folders and records, and two documents.
    assert!(usage.inodes.abs_diff(du("--inodes")) <= 8, "{} counted, {} on disk", usage.inodes, du("--inodes"));
}

#[tokio::test]
async fn unknown_image_can_not_be_prepared() {
    let bench = Bench::new();
    let id = ImageId(orlop_model::Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap());
    refused(bench.store.prepare(&container("c"), &id).await, ErrorKind::NotFound, &["pull it first"]);
    assert!(bench.inside("containers").is_empty());
}

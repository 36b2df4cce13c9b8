//! What a crash leaves between two steps, and what the next start makes of it.

use crate::bench::{Bench, config, container, image, listing, within};
use orlop_images::Store;
use orlop_model::ports::Images;
use std::fs;

#[tokio::test]
async fn half_done_things_are_swept_and_whole_ones_stay() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")], &[("b", "2")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let id = bench.pull("x:1").await.unwrap();
    bench.store.prepare(&container("c"), &id).await.unwrap();
    let root = bench.root();
    // A pull that was unpacking; a file that was being written.
    fs::create_dir_all(root.join("ingest/1/fs/deep/folder")).unwrap();
    fs::write(root.join("ingest/2"), "half").unwrap();
    // A layer in its place whose image has no record yet, one without its own record, one that is not a layer's name.
    let whole = bench.inside("layers")[0].clone();
    let orphan = root.join("layers").join("ab".repeat(32));
    fs::create_dir_all(orphan.join("fs")).unwrap();
    fs::copy(root.join("layers").join(&whole).join("layer"), orphan.join("layer")).unwrap();
    fs::create_dir_all(root.join("layers").join("cd".repeat(32)).join("fs")).unwrap();
    fs::create_dir_all(root.join("layers/stray")).unwrap();
    // A manifest that nothing names.
    fs::write(root.join("content").join("ef".repeat(32)), "{}").unwrap();
    // Something removed that was not freed yet.
    fs::create_dir_all(root.join("trash/9/fs")).unwrap();
    // A writable layer that was cut off.
    fs::create_dir_all(root.join("containers/cut/upper")).unwrap();
    let bench = bench.reopen();
    bench.settled();
    assert_eq!(bench.inside("layers").len(), 2);
    assert_eq!(bench.inside("content").len(), 2);
    assert_eq!(bench.store.leftovers().await.unwrap(), [container("c"), container("cut")]);
    bench.store.drop_rootfs(&container("cut")).await.unwrap();
    assert_eq!(bench.store.leftovers().await.unwrap(), [container("c")]);
    let mount = bench.store.rootfs(&container("c")).await.unwrap();
    assert_eq!(listing(&within(&mount, "")), ["a = 1", "b = 2"]);
    assert_eq!(bench.find(&bench.at("x:1")).await.unwrap().id, id);
}

#[tokio::test]
async fn image_that_lost_a_part_is_set_aside_and_can_be_pulled_again() {
    for spoil in ["layer", "manifest", "config", "record"] {
        let bench = Bench::new();
        let built = image(&[&[("a", "1")], &[("b", "2")]]);
        built.push(&bench.registry, "x", &["1"]).unwrap();
        bench.pull("x:1").await.unwrap();
        let root = bench.root();
        let file = |folder: &str, digest: &str| root.join(folder).join(&digest["sha256:".len()..]);
        match spoil {
            "layer" => fs::remove_dir_all(root.join("layers").join(&bench.inside("layers")[0])).unwrap(),
            "manifest" => fs::remove_file(file("content", &built.digest())).unwrap(),
            "config" => fs::write(file("content", &built.id()), "{}").unwrap(),
            "record" => fs::write(file("images", &built.id()), "").unwrap(),
            other => panic!("{other}"),
        }
        let bench = bench.reopen();
        assert_eq!(bench.find(&built.id()).await, None, "{spoil}");
        assert_eq!(bench.inside("images").len(), 1, "{spoil}: set aside, not lost");
        let id = bench.pull("x:1").await.unwrap();
        bench.store.prepare(&container("c"), &id).await.unwrap();
        let mount = bench.store.rootfs(&container("c")).await.unwrap();
        assert_eq!(listing(&within(&mount, "")), ["a = 1", "b = 2"], "{spoil}");
        drop(mount);
        let bench = bench.reopen();
        assert!(bench.find(&built.id()).await.is_some(), "{spoil}");
        bench.settled();
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let bench = Bench::new();
    for at in 0..5 {
        let text = at.to_string();
        image(&[&[("base", "1")], &[("own", &text)]]).push(&bench.registry, "x", &[&text]).unwrap();
        bench.pull(&format!("x:{at}")).await.unwrap();
    }
    let before = (bench.store.list().await.unwrap(), bench.store.usage().await.unwrap());
    assert_eq!(before.0.len(), 5);
    let bench = bench.reopen();
    assert_eq!((bench.store.list().await.unwrap(), bench.store.usage().await.unwrap()), before);
}

#[tokio::test]
async fn two_stores_do_not_share_a_folder() {
    let bench = Bench::new();
    let error = Store::open(config(bench.folder.path())).unwrap_err();
    assert!(error.to_string().contains("another process uses"), "{error}");
}

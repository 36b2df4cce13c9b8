//! What a crash leaves between two steps, and what the next start makes of it.

use crate::bench::{Bench, config, container, image, listing, remove, within};
use orlop_images::Store;
use orlop_model::ports::Images;
use orlop_testkit::image_builder::Built;
use std::fs;
use std::path::Path;

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
    let mount = bench.store.rootfs(&container("c"), None).await.unwrap();
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
        let mount = bench.store.rootfs(&container("c"), None).await.unwrap();
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

/// Calls after which something on disk is different: where a crash is worth a try.
const CALLS: [&str; 7] = ["rename", "renameat2", "unlink", "mkdir", "fsync", "fdatasync", "syncfs"];

/// Ends the search when no victim survives; a life of an image takes some dozens of each of these calls.
const TIMES_MAX: usize = 200;

/// Lives the life of an image and its container and says how far it came. Run by the test below, under strace.
#[test]
#[ignore = "the victim of the test below"]
fn victim() {
    let Ok(folder) = std::env::var("ORLOP_VICTIM_FOLDER") else { return };
    let (folder, reference) = (Path::new(&folder), std::env::var("ORLOP_VICTIM_REFERENCE").unwrap());
    let say = |word: &str| fs::write(folder.join(word), "").unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // One thread does all blocking work: strace counts calls by thread.
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let store = Store::open(config(folder)).unwrap();
        let id = crate::bench::pull(&store, &reference).await.unwrap();
        say("pulled");
        store.prepare(&container("c"), &id).await.unwrap();
        say("prepared");
        store.rootfs(&container("c"), None).await.unwrap();
        say("removing");
        remove(&store, &id.to_string()).await.unwrap();
        say("removed");
        store.drop_rootfs(&container("c")).await.unwrap();
        say("dropped");
    });
}

#[tokio::test]
async fn killed_at_any_step_nothing_acknowledged_is_lost_and_nothing_stays() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        orlop_testkit::skip::skip("killed_at_any_step", "strace is not installed");
        return;
    }
    let bench = Bench::new();
    let built = image(&[&[("a", "1")], &[("b", "2")], &[("b", "3"), (".wh.a", "")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let mut tried = 0;
    for call in CALLS {
        let mut time = 1;
        while !survives(&bench, &built, call, time).await {
            time += 1;
            assert!(time < TIMES_MAX, "{call}");
        }
        tried += time - 1;
    }
    assert!(tried > 30, "only {tried} steps were tried");
}

/// Kills a victim as it enters a call for the given time, and looks at what is left. True when it never came to that.
async fn survives(bench: &Bench, built: &Built, call: &str, time: usize) -> bool {
    let temp = tempfile::Builder::new().prefix("orlop-victim-").tempdir().unwrap();
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={time}")]);
    command.arg(std::env::current_exe().unwrap()).args(["--ignored", "--exact", "crash::victim"]);
    command.env("ORLOP_VICTIM_FOLDER", temp.path()).env("ORLOP_VICTIM_REFERENCE", bench.at("x:1"));
    let output = command.output().unwrap();
    let said = |word: &str| temp.path().join(word).exists();
    let step = format!("{call} {time}");
    assert!(output.status.success() == said("dropped"), "{step}: {output:?}");
    recovers(temp.path(), built, &said, &step).await;
    output.status.success()
}

async fn recovers(folder: &Path, built: &Built, said: &dyn Fn(&str) -> bool, step: &str) {
    let store = Store::open(config(folder)).unwrap();
    let images = store.list().await.unwrap();
    assert!(images.len() == 1 || !said("pulled") || said("removing"), "{step}: an acknowledged image is lost");
    assert!(images.is_empty() || !said("removed"), "{step}: a removed image is back");
    let id = container("c");
    let left = store.leftovers().await.unwrap();
    assert!(left == [id.clone()] || !said("prepared") || said("removed"), "{step}: a writable layer is lost");
    if let [listed] = images.as_slice() {
        assert_eq!(listed.id.to_string(), built.id());
        store.prepare(&id, &listed.id).await.unwrap();
    }
    if !images.is_empty() || (said("prepared") && !left.is_empty()) {
        let mount = store.rootfs(&id, None).await.unwrap();
        assert_eq!(listing(&within(&mount, "")), ["b = 3"], "{step}");
    }
    store.drop_rootfs(&id).await.unwrap();
    remove(&store, &built.id()).await.unwrap();
    for part in ["layers", "content", "images", "containers", "ingest"] {
        let found = fs::read_dir(folder.join("root").join(part)).unwrap().count();
        assert_eq!(found, 0, "{step}: {part}");
    }
}

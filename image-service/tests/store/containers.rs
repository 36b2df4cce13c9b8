//! Root file systems: what a container sees, and who keeps what alive.

use crate::bench::{Bench, SETTLE_LIMIT, container, image, listing, refused, remove, within};
use orlop_model::ErrorKind;
use orlop_model::ports::Images;
use orlop_testkit::Tree;
use orlop_testkit::image_builder::ImageBuilder;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

async fn rootfs_of(bench: &Bench, name: &str, reference: &str) -> OwnedFd {
    let id = bench.pull(reference).await.unwrap();
    bench.store.prepare(&container(name), &id).await.unwrap();
    bench.store.rootfs(&container(name), None).await.unwrap()
}

#[tokio::test]
async fn layers_are_seen_as_one_tree() {
    let bench = Bench::new();
    let mut base = Tree::default();
    base.file("bin/busybox", 0o4755, "program").hard_link("bin/ls", "bin/busybox").sym_link("sh", "bin/busybox");
    base.file("etc/old", 0o644, "old")
        .file("etc/kept", 0o644, "kept")
        .file("var/a", 0o644, "a")
        .file("var/b", 0o644, "b");
    let mut middle = Tree::default();
    middle.file("etc/.wh.old", 0o644, "").file("var/.wh..wh..opq", 0o644, "").file("var/c", 0o644, "c");
    middle.file("etc/new", 0o600, "new");
    let mut top = Tree::default();
    top.file("etc/old", 0o644, "again").file(".wh.sh", 0o644, "");
    ImageBuilder::new().layer(&base).layer(&middle).layer(&top).build().push(&bench.registry, "x", &["1"]).unwrap();
    let mount = rootfs_of(&bench, "c", "x:1").await;
    assert_eq!(
        listing(&within(&mount, "")),
        [
            "bin/",
            "bin/busybox = program",
            "bin/ls = program",
            "etc/",
            "etc/kept = kept",
            "etc/new = new",
            "etc/old = again",
            "var/",
            "var/c = c",
        ]
    );
    let meta = |path: &str| within(&mount, path).symlink_metadata().unwrap();
    assert_eq!(meta("bin/busybox").mode() & 0o7777, 0o4755);
    assert_eq!((meta("bin/ls").ino(), meta("bin/ls").nlink()), (meta("bin/busybox").ino(), 2));
    // What the container writes is its own.
    fs::write(within(&mount, "etc/kept"), "mine").unwrap();
    fs::remove_file(within(&mount, "bin/ls")).unwrap();
    let other = rootfs_of(&bench, "d", "x:1").await;
    assert_eq!(fs::read_to_string(within(&other, "etc/kept")).unwrap(), "kept");
    assert!(within(&other, "bin/ls").exists());
    // Assembled again, as after a restart, the container finds what it wrote.
    drop(mount);
    let again = bench.store.rootfs(&container("c"), None).await.unwrap();
    assert_eq!(fs::read_to_string(within(&again, "etc/kept")).unwrap(), "mine");
    assert!(!within(&again, "bin/ls").exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(bench.folder.path().to_str().unwrap()), "nothing is mounted on a path");
}

#[tokio::test]
async fn any_number_of_layers_can_be_stacked() {
    let bench = Bench::new();
    for count in [0, 1, 2, 150] {
        let trees: Vec<Tree> = (0..count)
            .map(|at| {
                let mut tree = Tree::default();
                tree.file("same", 0o644, at.to_string()).file(&format!("own/{at}"), 0o644, "x");
                tree
            })
            .collect();
        let built = trees.iter().fold(ImageBuilder::new(), |builder, tree| builder.layer(tree)).build();
        let name = format!("c{count}");
        built.push(&bench.registry, &name, &["1"]).unwrap();
        let mount = rootfs_of(&bench, &name, &format!("{name}:1")).await;
        assert_eq!(fs::read_dir(within(&mount, "own")).map_or(0, Iterator::count), count);
        if count > 0 {
            assert_eq!(fs::read_to_string(within(&mount, "same")).unwrap(), (count - 1).to_string());
        }
        fs::write(within(&mount, "written"), "x").unwrap();
    }
}

#[tokio::test]
async fn layer_that_comes_twice_counts_where_it_is_on_top() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")], &[("a", "2")], &[("a", "1")], &[("b", "3")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let mount = rootfs_of(&bench, "c", "x:1").await;
    assert_eq!(listing(&within(&mount, "")), ["a = 1", "b = 3"]);
}

#[tokio::test]
async fn root_that_hides_everything_hides_lower_layers() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1"), ("d/x", "1")], &[(".wh..wh..opq", ""), ("b", "2"), ("d/y", "2")], &[("c", "3")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let mount = rootfs_of(&bench, "c", "x:1").await;
    assert_eq!(listing(&within(&mount, "")), ["b = 2", "c = 3", "d/", "d/y = 2"]);
}

/// An archive that names files without the folders they are in, as some build tools write them.
fn bare(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn folders_keep_their_look_when_an_upper_layer_does_not_describe_them() {
    let bench = Bench::new();
    let mut base = tar::Builder::new(Vec::new());
    for (path, mode, uid) in [("./", 0o711, 5), ("tmp/", 0o1777, 0), ("home/", 0o755, 0), ("home/user/", 0o700, 1000)] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(uid);
        header.set_mtime(77);
        header.set_size(0);
        base.append_data(&mut header, path, &b""[..]).unwrap();
    }
    let built = ImageBuilder::new()
        .tar_layer(base.into_inner().unwrap())
        .tar_layer(bare(&[("tmp/a", "1"), ("home/user/b", "2"), ("own/c", "3")]))
        .build();
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let mount = rootfs_of(&bench, "c", "x:1").await;
    let look = |path: &str| {
        let meta = within(&mount, path).metadata().unwrap();
        (meta.mode() & 0o7777, meta.uid())
    };
    for (path, expected) in [
        ("tmp", (0o1777, 0)),
        ("home", (0o755, 0)),
        ("home/user", (0o700, 1000)),
        ("own", (0o755, 0)),
        (".", (0o711, 5)),
    ] {
        assert_eq!(look(path), expected, "{path}");
    }
    assert_eq!(within(&mount, "tmp").metadata().unwrap().mtime(), 77);
    assert_eq!(fs::read_to_string(within(&mount, "home/user/b")).unwrap(), "2");
    drop(mount);
    bench.store.drop_rootfs(&container("c")).await.unwrap();
    remove(&bench.store, &built.id()).await.unwrap();
    assert!(bench.inside("layers").is_empty());
}

#[tokio::test]
async fn layers_stay_while_a_container_needs_them() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")], &[("b", "2")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let mount = rootfs_of(&bench, "c", "x:1").await;
    drop(mount);
    remove(&bench.store, &built.id()).await.unwrap();
    assert_eq!(bench.find(&built.id()).await, None);
    assert_eq!(bench.inside("layers").len(), 2);
    assert!(bench.store.config_of(&container("c")).await.is_ok());
    // Also over a restart, which sweeps.
    let bench = bench.reopen();
    let mount = bench.store.rootfs(&container("c"), None).await.unwrap();
    assert_eq!(listing(&within(&mount, "")), ["a = 1", "b = 2"]);
    drop(mount);
    // Pulled again meanwhile, they are still needed when the container goes.
    bench.pull("x:1").await.unwrap();
    bench.store.drop_rootfs(&container("c")).await.unwrap();
    assert_eq!(bench.inside("layers").len(), 2);
    remove(&bench.store, &built.id()).await.unwrap();
    assert!(bench.inside("layers").is_empty());
    bench.settled();
}

#[tokio::test]
async fn last_container_of_a_removed_image_takes_the_layers_with_it() {
    let bench = Bench::new();
    let built = image(&[&[("a", "1")]]);
    built.push(&bench.registry, "x", &["1"]).unwrap();
    for name in ["c", "d"] {
        drop(rootfs_of(&bench, name, "x:1").await);
    }
    remove(&bench.store, &built.id()).await.unwrap();
    bench.store.drop_rootfs(&container("c")).await.unwrap();
    assert_eq!(bench.inside("layers").len(), 1);
    bench.store.drop_rootfs(&container("d")).await.unwrap();
    assert!(bench.inside("layers").is_empty());
}

#[tokio::test]
async fn everything_about_a_container_may_be_asked_twice() {
    let bench = Bench::new();
    let (first, second) = (image(&[&[("a", "1")]]), image(&[&[("a", "2")]]));
    first.push(&bench.registry, "x", &["1"]).unwrap();
    second.push(&bench.registry, "x", &["2"]).unwrap();
    let (one, two) = (bench.pull("x:1").await.unwrap(), bench.pull("x:2").await.unwrap());
    let id = container("c");
    bench.store.prepare(&id, &one).await.unwrap();
    bench.store.prepare(&id, &one).await.unwrap();
    refused(bench.store.prepare(&id, &two).await, ErrorKind::AlreadyExists, &["has a writable layer on image"]);
    assert_eq!(bench.store.leftovers().await.unwrap(), std::slice::from_ref(&id));
    for _ in 0..2 {
        bench.store.drop_rootfs(&id).await.unwrap();
    }
    refused(bench.store.rootfs(&id, None).await, ErrorKind::NotFound, &["has no writable layer"]);
    refused(bench.store.config_of(&id).await, ErrorKind::NotFound, &[]);
    assert!(bench.store.leftovers().await.unwrap().is_empty());
    bench.settled();
}

#[tokio::test]
async fn nobody_but_root_reaches_files_of_images() {
    let bench = Bench::new();
    image(&[&[("a", "1")]]).push(&bench.registry, "x", &["1"]).unwrap();
    let mount = rootfs_of(&bench, "c", "x:1").await;
    let root = bench.root();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&root), 0o700);
    for folder in fs::read_dir(&root).unwrap() {
        let path = folder.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{path:?}");
    }
    // The container's own users do pass through its root.
    assert_eq!(mode(&within(&mount, "")), 0o755);
}

#[tokio::test]
async fn what_a_container_wrote_is_counted_until_its_layer_is_dropped() {
    let bench = Bench::new();
    ImageBuilder::new().layer(&Tree::default()).build().push(&bench.registry, "x", &["1"]).unwrap();
    let mount = rootfs_of(&bench, "c", "x:1").await;
    fs::write(within(&mount, "written"), vec![1; 1 << 20]).unwrap();
    let ids = [container("nobody"), container("c")];
    let counted = async {
        loop {
            // A disk that takes its time is not waited for: none is counted yet.
            let usage = bench.store.layer_usage(&ids).await.unwrap();
            if usage[1].is_some() {
                return usage;
            }
            tokio::task::yield_now().await;
        }
    };
    let usage = tokio::time::timeout(SETTLE_LIMIT, counted).await.expect("it is counted in the end");
    let [None, Some(usage)] = usage.as_slice() else { panic!("{usage:?}") };
    assert!(usage.bytes >= 1 << 20 && usage.bytes < 2 << 20, "{usage:?}");
    assert_eq!(usage.inodes, 2);
    assert!(usage.mountpoint.is_dir() && usage.at.0 > 0);
    drop(mount);
    bench.store.drop_rootfs(&container("c")).await.unwrap();
    assert_eq!(bench.store.layer_usage(&ids).await.unwrap(), [None, None]);
}

#[tokio::test]
async fn root_for_users_of_a_user_namespace_shows_all_files_as_theirs() {
    use orlop_model::sandbox::IdMapping;
    use std::os::unix::fs::lchown;
    let bench = Bench::new();
    if let Err(error) = bench.store.try_mapping() {
        eprintln!("skipped: owners can't be mapped here: {error}");
        return;
    }
    let mut base = Tree::default();
    base.file("etc/kept", 0o644, "kept").file("etc/old", 0o644, "old");
    let mut top = Tree::default();
    top.file("etc/.wh.old", 0o644, "");
    ImageBuilder::new().layer(&base).layer(&top).build().push(&bench.registry, "x", &["1"]).unwrap();
    let plain = rootfs_of(&bench, "plain", "x:1").await;
    let id = bench.pull("x:1").await.unwrap();
    bench.store.prepare(&container("c"), &id).await.unwrap();
    let ids = IdMapping { inside: 0, node: 300_000, count: 65_536 };
    // Twice, as check and start do.
    drop(bench.store.rootfs(&container("c"), Some(ids)).await.unwrap());
    let mount = bench.store.rootfs(&container("c"), Some(ids)).await.unwrap();
    for path in ["", "etc", "etc/kept"] {
        let found = within(&mount, path).metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (300_000, 300_000), "{path:?}");
    }
    assert!(!within(&mount, "etc/old").exists());
    // What is changed is copied up with the owner that it shows.
    fs::write(within(&mount, "etc/kept"), "mine").unwrap();
    lchown(within(&mount, "etc/kept"), Some(300_007), None).unwrap();
    fs::remove_file(within(&mount, "etc/kept")).unwrap();
    fs::write(within(&mount, "etc/kept"), "again").unwrap();
    assert_eq!(fs::read_to_string(within(&mount, "etc/kept")).unwrap(), "again");
    // The same layers are still everybody's.
    let found = within(&plain, "etc/kept").metadata().unwrap();
    assert_eq!((found.uid(), fs::read_to_string(within(&plain, "etc/kept")).unwrap().as_str()), (0, "kept"));
}

//! Files of containers: packed, unpacked, with and without what the node has mounted in them.

use crate::bench::{Bench, container, image, refused};
use orlop_model::container::{Mount, MountAccess, RootfsAccess};
use orlop_model::files::{FileKind, Overwrite, Unpack};
use orlop_model::ports::Images;
use orlop_model::{ContainerId, ErrorKind};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A container of an image with a file, and a folder of the node.
struct Ground {
    bench: Bench,
    id: ContainerId,
    outside: tempfile::TempDir,
}

impl Ground {
    async fn new() -> Self {
        let bench = Bench::new();
        image(&[&[("etc/name", "image"), ("data/of-image", "1")]]).push(&bench.registry, "x", &["1"]).unwrap();
        let image = bench.pull("x:1").await.unwrap();
        let id = container("c");
        bench.store.prepare(&id, &image).await.unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("own"), "node").unwrap();
        Self { bench, id, outside }
    }

    fn mount(&self, target: &str, access: MountAccess) -> Mount {
        Mount { access, ..Mount::new(target, self.outside.path()) }
    }

    async fn root(&self, mounts: &[Mount], access: RootfsAccess) -> OwnedFd {
        self.bench.store.root_with_mounts(&self.id, mounts, access).await.unwrap()
    }

    async fn put(&self, root: OwnedFd, to: &str, archive: &[u8]) -> Result<(), orlop_model::Failure> {
        let (source, end) = nix_pipe();
        File::from(end).write_all(archive).unwrap();
        let wanted = Unpack { to: to.into(), archive: source, overwrite: Overwrite::AnyKind, owner: None };
        self.bench.store.unpack_files(root, wanted).await
    }

    async fn get(&self, root: OwnedFd, path: &str) -> Vec<(String, String)> {
        let packing = self.bench.store.pack_files(root, Path::new(path)).await.unwrap();
        let reader = tokio::task::spawn_blocking(move || read_all(packing.archive));
        packing.ended.await.unwrap();
        let bytes = reader.await.unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let content = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (String::from_utf8(entry.path_bytes().to_vec()).unwrap(), text)
        };
        let mut found: Vec<_> = archive.entries().unwrap().map(content).collect();
        found.sort();
        found
    }
}

fn nix_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer.into())
}

/// Reads a pipe that does not block to its end.
fn read_all(archive: OwnedFd) -> Vec<u8> {
    let mut file = File::from(archive);
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn archive(name: &str, text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn container_that_never_ran_takes_files_and_gives_them() {
    let ground = Ground::new().await;
    let root = || ground.root(&[], RootfsAccess::ReadWrite);
    ground.put(root().await, "/etc", &archive("more/deep", "new")).await.unwrap();
    let expected = [("etc/", ""), ("etc/more/", ""), ("etc/more/deep", "new"), ("etc/name", "image")];
    let found = ground.get(root().await, "/etc").await;
    assert_eq!(found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>(), expected);
    let stat = ground.bench.store.stat_file(root().await, Path::new("/etc/name")).await.unwrap();
    assert_eq!((stat.kind, stat.size, stat.name), (FileKind::File, 5, b"name".to_vec()));
    let absent = ground.bench.store.stat_file(root().await, Path::new("/absent")).await;
    refused(absent, ErrorKind::NotFound, &["/absent"]);
    // It is in the writable layer: the image is as it was, and the container will see it.
    let mount = ground.bench.store.rootfs(&ground.id, None).await.unwrap();
    assert_eq!(fs::read_to_string(crate::bench::within(&mount, "etc/more/deep")).unwrap(), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_the_node_are_where_they_will_be_when_it_runs() {
    let ground = Ground::new().await;
    let mounts = [ground.mount("/data", MountAccess::ReadWrite), ground.mount("/new/place", MountAccess::ReadOnly)];
    let root = || ground.root(&mounts, RootfsAccess::ReadOnly);
    let found = ground.get(root().await, "/data").await;
    assert_eq!(found, [("data/".to_owned(), String::new()), ("data/own".to_owned(), "node".to_owned())]);
    ground.put(root().await, "/data", &archive("put", "there")).await.unwrap();
    assert_eq!(fs::read_to_string(ground.outside.path().join("put")).unwrap(), "there");
    // Its own root, and what is mounted so, can't be written.
    for to in ["/etc", "/new/place"] {
        refused(ground.put(root().await, to, &archive("put", "there")).await, ErrorKind::Denied, &["read-only"]);
    }
    assert!(ground.get(root().await, "/new").await.iter().any(|(name, _)| name == "new/place/own"));
    let gone = ground.mount("/data", MountAccess::ReadWrite);
    let gone = Mount { source: "/does/not/exist".into(), ..gone };
    let failed = ground.bench.store.root_with_mounts(&ground.id, &[gone], RootfsAccess::ReadWrite).await;
    refused(failed.map(drop), ErrorKind::Internal, &["/does/not/exist"]);
    // Nothing of it is mounted on the node.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(ground.outside.path().to_str().unwrap()), "{mounts}");
}

/// An image may have a link where its container's volume goes.
#[tokio::test(flavor = "multi_thread")]
async fn links_of_an_image_lead_no_mount_out_of_its_root() {
    let ground = Ground::new().await;
    let target = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "vol", target.path()).unwrap();
    let link = builder.into_inner().unwrap();
    ground.put(ground.root(&[], RootfsAccess::ReadWrite).await, "/", &link).await.unwrap();
    let mounts = [ground.mount("/vol/deep", MountAccess::ReadWrite)];
    let made = ground.bench.store.root_with_mounts(&ground.id, &mounts, RootfsAccess::ReadWrite).await;
    // Refused, or below the root: the link leads to a path that is only there on the node.
    drop(made);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_goes_away_ends_the_work() {
    let ground = Ground::new().await;
    let root = || ground.root(&[], RootfsAccess::ReadWrite);
    let big = "x".repeat(3 << 20);
    fs::write(ground.outside.path().join("big"), &big).unwrap();
    let mounts = [ground.mount("/data", MountAccess::ReadWrite)];
    let packing =
        ground.bench.store.pack_files(ground.root(&mounts, RootfsAccess::ReadWrite).await, Path::new("/data"));
    let packing = packing.await.unwrap();
    drop(packing.archive);
    refused(packing.ended.await, ErrorKind::Cancelled, &["nobody reads it"]);
    // One that sends half an archive.
    let whole = archive("half", &big);
    let (source, end) = nix_pipe();
    let writer = tokio::task::spawn_blocking(move || File::from(end).write_all(&whole[..whole.len() / 2]).unwrap());
    let wanted = Unpack { to: "/etc".into(), archive: source, overwrite: Overwrite::AnyKind, owner: None };
    let cut = ground.bench.store.unpack_files(root().await, wanted).await;
    writer.await.unwrap();
    refused(cut, ErrorKind::InvalidArgument, &["ends in the middle"]);
    // As many as there are places for stand still; one more is refused, and with one gone there is a place again.
    let mut standing = Vec::new();
    let mounted = ground.root(&mounts, RootfsAccess::ReadWrite).await;
    let more = loop {
        match ground.bench.store.pack_files(mounted.try_clone().unwrap(), Path::new("/data")).await {
            Ok(packing) => standing.push(packing),
            Err(failure) => break failure,
        }
    };
    assert_eq!((more.kind, standing.len()), (ErrorKind::Exhausted, 32));
    let one = standing.pop().unwrap();
    drop(one.archive);
    refused(one.ended.await, ErrorKind::Cancelled, &[]);
    ground.bench.store.pack_files(root().await, Path::new("/etc")).await.unwrap();
    for packing in standing {
        drop(packing.archive);
        packing.ended.await.unwrap_err();
    }
}

//! Files in and out of folders that stand for containers' roots.

use super::cleaned::Path;
use super::root::Root;
use super::{pack, stat, unpack};
use crate::error::Error;
use orlop_model::ErrorKind;
use orlop_model::files::{FileKind, Overwrite, Unpack};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

/// A root with a secret beside it.
struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/tmp")).unwrap();
        fs::create_dir_all(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "precious").unwrap();
        Self { folder }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn outside(&self) -> std::path::PathBuf {
        self.folder.path().join("outside")
    }

    fn root(&self) -> Root {
        Root::new(fs::File::open(self.at("")).unwrap().into())
    }

    fn stat(&self, path: &str) -> Result<orlop_model::files::FileStat, Error> {
        stat::stat(&self.root(), &Path::parse(path.as_bytes())?)
    }

    fn pack(&self, path: &str) -> Result<Vec<u8>, Error> {
        let path = Path::parse(path.as_bytes())?;
        let from = self.root().open(&path, super::root::Last::Itself)?;
        let (archive, end) = rustix::pipe::pipe().unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            fs::File::from(archive).read_to_end(&mut bytes).unwrap();
            bytes
        });
        let packed = pack::pack(from, &path, end);
        let bytes = reader.join().unwrap();
        packed.map(|()| bytes)
    }

    fn unpack(&self, to: &str, archive: &[u8]) -> Result<(), Error> {
        self.unpack_with(to, archive, Overwrite::AnyKind, None)
    }

    fn unpack_with(
        &self,
        to: &str,
        archive: &[u8],
        overwrite: Overwrite,
        owner: Option<(u32, u32)>,
    ) -> Result<(), Error> {
        let (source, end) = rustix::pipe::pipe().unwrap();
        let bytes = archive.to_vec();
        // Fails when the other side has refused the rest.
        let writer = std::thread::spawn(move || drop(fs::File::from(end).write_all(&bytes)));
        let result = unpack::unpack(&self.root(), Unpack { to: to.into(), archive: source, overwrite, owner });
        writer.join().unwrap();
        result
    }
}

/// A member of an archive: name, type, link or data.
fn member(builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, text: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o640);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(1_000_000_000);
    let bytes = &mut header.as_old_mut().name;
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let is_link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
    if is_link {
        header.set_link_name_literal(text).unwrap();
    }
    let data = if is_link { "" } else { text };
    header.set_size(data.len() as u64);
    header.set_cksum();
    builder.append(&header, data.as_bytes()).unwrap();
}

fn archive(members: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, text) in members {
        member(&mut builder, name, *kind, text);
    }
    builder.into_inner().unwrap()
}

use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};

fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries =
        archive.entries().unwrap().map(|entry| String::from_utf8(entry.unwrap().path_bytes().to_vec()).unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

#[test]
fn what_is_packed_and_unpacked_elsewhere_is_the_same() {
    let (from, to) = (Ground::new(), Ground::new());
    fs::create_dir_all(from.at("tmp/d/empty")).unwrap();
    fs::write(from.at("tmp/d/file"), "text").unwrap();
    fs::set_permissions(from.at("tmp/d/file"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(from.at("tmp/d/file"), from.at("tmp/d/linked")).unwrap();
    symlink("/etc/x", from.at("tmp/d/link")).unwrap();
    std::os::unix::fs::chown(from.at("tmp/d/empty"), Some(12), Some(34)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, from.at("tmp/d/fifo"), rustix::fs::Mode::RWXU).unwrap();
    let long = "n".repeat(200);
    // Sparse: as large as it says, and of zeros.
    fs::File::create(from.at("tmp/d").join(&long)).unwrap().set_len(3_000_000).unwrap();
    let packed = from.pack("/tmp/d").unwrap();
    let expected = ["d/", "d/empty/", "d/fifo", "d/file", "d/link", "d/linked", &format!("d/{long}")];
    assert_eq!(names(&packed), expected);
    to.unpack("/tmp", &packed).unwrap();
    let look = |path: &str| fs::symlink_metadata(to.at(path)).unwrap();
    assert_eq!(fs::read_to_string(to.at("tmp/d/file")).unwrap(), "text");
    assert_eq!((look("tmp/d/file").mode() & 0o7777, look("tmp/d/file").nlink()), (0o4755, 2));
    assert_eq!(look("tmp/d/file").mtime(), fs::metadata(from.at("tmp/d/file")).unwrap().mtime());
    assert_eq!((look("tmp/d/empty").uid(), look("tmp/d/empty").gid()), (12, 34));
    assert_eq!(fs::read_link(to.at("tmp/d/link")).unwrap().to_str(), Some("/etc/x"));
    assert!(look("tmp/d/fifo").file_type().is_fifo());
    assert_eq!(fs::read(to.at("tmp/d").join(&long)).unwrap(), vec![0; 3_000_000]);
}

#[test]
fn names_in_an_archive_begin_with_what_was_asked_for() {
    let ground = Ground::new();
    fs::write(ground.at("tmp/a"), "1").unwrap();
    symlink("a", ground.at("tmp/l")).unwrap();
    symlink("tmp", ground.at("t")).unwrap();
    for (path, expected) in [
        ("/tmp", vec!["tmp/", "tmp/a", "tmp/l"]),
        ("/tmp/", vec!["tmp/", "tmp/a", "tmp/l"]),
        ("/tmp/.", vec!["./", "./a", "./l"]),
        ("/", vec!["/", "/t", "/tmp/", "/tmp/a", "/tmp/l"]),
        ("/tmp/a", vec!["a"]),
        ("t", vec!["t"]),
        ("t/", vec!["t/", "t/a", "t/l"]),
        ("t/a", vec!["a"]),
    ] {
        assert_eq!(names(&ground.pack(path).unwrap()), expected, "{path}");
    }
    assert_eq!(ground.pack("/absent").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(ground.pack("/tmp/a/b").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn links_lead_nowhere_but_below_the_root() {
    let ground = Ground::new();
    symlink(ground.outside(), ground.at("out")).unwrap();
    symlink("../../outside", ground.at("tmp/up")).unwrap();
    symlink("/tmp", ground.at("in")).unwrap();
    symlink("dangling", ground.at("tmp/nowhere")).unwrap();
    for path in ["/out/secret", "/tmp/up/secret", "/../outside/secret", "/out/"] {
        assert_eq!(ground.pack(path).unwrap_err().kind(), ErrorKind::NotFound, "{path}");
        assert_eq!(ground.stat(path).unwrap_err().kind(), ErrorKind::NotFound, "{path}");
    }
    let found = ground.stat("/in").unwrap();
    assert_eq!((found.kind, found.name), (FileKind::Symlink, b"in".to_vec()));
    assert_eq!(ground.stat("/in/").unwrap().kind, FileKind::Folder);
    assert_eq!(ground.stat("/tmp/nowhere").unwrap().link_target, b"/tmp/dangling");
    let file = archive(&[("secret", Regular, "other")]);
    for to in ["/out", "/tmp/up"] {
        assert_eq!(ground.unpack(to, &file).unwrap_err().kind(), ErrorKind::NotFound, "{to}");
    }
    ground.unpack("/in", &file).unwrap();
    assert_eq!(fs::read_to_string(ground.at("tmp/secret")).unwrap(), "other");
    assert_eq!(fs::read_to_string(ground.outside().join("secret")).unwrap(), "precious");
}

#[test]
fn archives_that_try_to_leave_the_root_do_not() {
    let outside = |ground: &Ground| ground.outside().join("secret").to_str().unwrap().to_owned();
    let probe = Ground::new();
    let out = probe.outside().to_str().unwrap().to_owned();
    let secret = outside(&probe);
    let attempts: [Vec<(&str, tar::EntryType, &str)>; 6] = [
        vec![("../../outside/secret", Regular, "changed")],
        vec![("l", Symlink, &out), ("l/secret", Regular, "changed")],
        vec![("l", Symlink, &secret), ("l", Regular, "changed")],
        vec![("l", Symlink, "../../outside"), ("l/secret", Regular, "changed")],
        vec![("h", Link, "../../outside/secret"), ("h", Regular, "changed")],
        vec![("l", Symlink, &out), ("h", Link, "l/secret")],
    ];
    for members in attempts {
        // Refused, or done below the root: what counts is what is outside.
        let _ = probe.unpack("/tmp", &archive(&members));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "precious", "{members:?}");
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1, "{members:?}");
        assert_eq!(fs::read_dir(probe.outside()).unwrap().count(), 1, "{members:?}");
    }
}

#[test]
fn members_of_a_kind_take_the_place_of_others_only_where_that_is_allowed() {
    let ground = Ground::new();
    fs::create_dir_all(ground.at("tmp/d/inner")).unwrap();
    fs::write(ground.at("tmp/f"), "1").unwrap();
    for (members, words) in [
        (archive(&[("d", Regular, "x")]), "cannot overwrite directory"),
        (archive(&[("f", Directory, "")]), "cannot overwrite non-directory"),
    ] {
        let error = ground.unpack_with("/tmp", &members, Overwrite::SameKind, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(words), "{error}");
        ground.unpack("/tmp", &members).unwrap();
    }
    assert!(ground.at("tmp/d").is_file() && ground.at("tmp/f").is_dir());
    fs::write(ground.at("tmp/f/kept"), "2").unwrap();
    let again = archive(&[("./", Directory, ""), ("f/", Directory, ""), ("d", Regular, "y"), ("n/m/o", Regular, "z")]);
    ground.unpack_with("/tmp", &again, Overwrite::SameKind, Some((100, 200))).unwrap();
    assert_eq!(fs::read_to_string(ground.at("tmp/f/kept")).unwrap(), "2");
    assert_eq!(fs::read_to_string(ground.at("tmp/n/m/o")).unwrap(), "z");
    let made = fs::metadata(ground.at("tmp/d")).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mtime()), (100, 200, 1_000_000_000));
    assert_eq!(fs::metadata(ground.at("tmp/f")).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn archives_that_are_none_are_refused_with_what_is_wrong() {
    let ground = Ground::new();
    fs::write(ground.at("tmp/file"), "1").unwrap();
    let good = archive(&[("a", Regular, "text"), ("p", Fifo, "")]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&good).unwrap();
    ground.unpack("/tmp", &encoder.finish().unwrap()).unwrap();
    assert_eq!(fs::read_to_string(ground.at("tmp/a")).unwrap(), "text");
    ground.unpack("/tmp", b"").unwrap();
    for (to, bytes, kind, words) in [
        ("/tmp", &b"no archive at all, of more than one block".repeat(50)[..], ErrorKind::InvalidArgument, "malformed"),
        ("/tmp", &good[..514], ErrorKind::InvalidArgument, "ends in the middle"),
        ("/tmp", b"BZh91AY", ErrorKind::Unsupported, "bzip2"),
        ("/tmp/file", &good, ErrorKind::InvalidArgument, "extraction point is not a directory"),
        ("/absent", &good, ErrorKind::NotFound, "absent"),
        ("", &good, ErrorKind::InvalidArgument, "empty"),
    ] {
        let error = ground.unpack(to, bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A container can have the kernel's file systems mounted anywhere, and lead a link there.
#[test]
fn file_systems_of_the_kernel_are_neither_written_nor_read() {
    let root = Root::new(fs::File::open("/").unwrap().into());
    let (source, end) = rustix::pipe::pipe().unwrap();
    fs::File::from(end).write_all(&archive(&[("core_pattern", Regular, "x")])).unwrap();
    let to = "/proc/sys/kernel".into();
    let wanted = Unpack { to, archive: source, overwrite: Overwrite::AnyKind, owner: None };
    let error = unpack::unpack(&root, wanted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let path = Path::parse(b"/proc/version").unwrap();
    let from = root.open(&path, super::root::Last::Itself).unwrap();
    let (_archive, end): (OwnedFd, OwnedFd) = rustix::pipe::pipe().unwrap();
    assert_eq!(pack::pack(from, &path, end).unwrap_err().kind(), ErrorKind::Denied);
    let folder = Path::parse(b"/proc").unwrap();
    let from = root.open(&folder, super::root::Last::Itself).unwrap();
    let (archive, end) = rustix::pipe::pipe().unwrap();
    pack::pack(from, &folder, end).unwrap();
    let mut bytes = Vec::new();
    fs::File::from(archive).read_to_end(&mut bytes).unwrap();
    assert_eq!(names(&bytes), ["proc/"], "the folder is told, not what the kernel shows in it");
}

/// A process of the container that swaps a folder for a link as fast as it can.
#[test]
fn whoever_swaps_folders_for_links_meanwhile_gains_nothing() {
    let ground = Ground::new();
    let stop = AtomicBool::new(false);
    fs::create_dir(ground.at("tmp/d")).unwrap();
    symlink(ground.outside(), ground.at("tmp/l")).unwrap();
    fs::write(ground.at("tmp/f"), "own").unwrap();
    symlink(ground.outside().join("secret"), ground.at("tmp/g")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let folder = fs::File::open(ground.at("tmp")).unwrap();
            while !stop.load(Ordering::Relaxed) {
                for (one, other) in [("d", "l"), ("f", "g")] {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    // What is being unpacked may have taken one of them away for a moment.
                    let _ = rustix::fs::renameat_with(&folder, one, &folder, other, flags);
                }
            }
        });
        let members = archive(&[("d/secret", Regular, "changed"), ("d/x/y", Regular, "changed"), ("h", Link, "f")]);
        for _ in 0..300 {
            let _ = ground.unpack("/tmp", &members);
            let _ = ground.unpack("/tmp/d", &archive(&[("secret", Regular, "changed")]));
            if let Ok(packed) = ground.pack("/tmp") {
                assert!(!packed.windows(8).any(|bytes| bytes == b"precious"));
            }
            if let Ok(packed) = ground.pack("/tmp/d/secret") {
                assert!(!packed.windows(8).any(|bytes| bytes == b"precious"));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(ground.outside().join("secret")).unwrap(), "precious");
    assert_eq!(fs::read_dir(ground.outside()).unwrap().count(), 1);
    assert_eq!(fs::metadata(ground.outside().join("secret")).unwrap().nlink(), 1);
}

/// Returns the members of a writable layer as it would travel.
fn layer_of(upper: &std::path::Path) -> Result<Vec<(String, crate::tar::Kind)>, Error> {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let mut bytes = Vec::new();
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| super::pack_layer(upper, write));
        fs::File::from(read).read_to_end(&mut bytes).unwrap();
        packing.join().unwrap()
    })?;
    let mut input = &bytes[..];
    let mut archive = crate::tar::Archive::new(&mut input);
    let mut members = Vec::new();
    while let Some(entry) = archive.next().unwrap() {
        members.push((String::from_utf8(entry.path.clone()).unwrap(), entry.kind));
    }
    members.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(members)
}

#[test]
fn a_writable_layer_tells_what_it_hides_by_names() {
    use crate::tar::Kind::{Directory, File};
    use rustix::fs::{FileType, XattrFlags, mknodat};
    let temp = tempfile::tempdir().unwrap();
    let upper = temp.path();
    for folder in ["dir", "anew"] {
        fs::create_dir(upper.join(folder)).unwrap();
    }
    fs::write(upper.join("anew/file"), "x").unwrap();
    for gone in ["gone", "dir/gone"] {
        mknodat(rustix::fs::CWD, upper.join(gone), FileType::CharacterDevice, rustix::fs::Mode::empty(), 0).unwrap();
    }
    let anew = upper.join("anew");
    rustix::fs::setxattr(&anew, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    let members = layer_of(upper).unwrap();
    let expected = [
        ("./", Directory),
        ("./.wh.gone", File),
        ("./anew/", Directory),
        ("./anew/.wh..wh..opq", File),
        ("./anew/file", File),
        ("./dir/", Directory),
        ("./dir/.wh.gone", File),
    ];
    assert_eq!(members, expected.map(|(path, kind)| (path.to_owned(), kind)));
    // What a program called so would delete something of the image below.
    fs::write(upper.join("dir/.wh.other"), "").unwrap();
    assert!(layer_of(upper).unwrap_err().to_string().contains(".wh."));
}

//! Layers applied to a real folder, the hostile ones above all.

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// A member in short: type, path, link target or data.
type Member<'a> = (char, &'a str, &'a str);

fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (kind, path, text) in members {
        let mut header = ::tar::Header::new_ustar();
        let (entry_type, mode, size) = match kind {
            'f' => (::tar::EntryType::Regular, 0o644, text.len()),
            'x' => (::tar::EntryType::Regular, 0o4755, text.len()),
            'd' => (::tar::EntryType::Directory, 0o750, 0),
            's' => (::tar::EntryType::Symlink, 0o777, 0),
            'h' => (::tar::EntryType::Link, 0o600, 0),
            'c' => (::tar::EntryType::Char, 0o666, 0),
            'p' => (::tar::EntryType::Fifo, 0o622, 0),
            other => panic!("{other}"),
        };
        header.set_entry_type(entry_type);
        header.set_mode(mode);
        header.set_size(size as u64);
        header.set_mtime(1_000_000_000);
        header.set_uid(11);
        header.set_gid(12);
        // Set by hand: the crate refuses the very names that must be tested.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if matches!(kind, 's' | 'h') {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        if *kind == 'c' {
            let (major, minor) = text.split_once(':').unwrap();
            header.set_device_major(major.parse().unwrap()).unwrap();
            header.set_device_minor(minor.parse().unwrap()).unwrap();
        }
        header.set_cksum();
        builder.append(&header, if size > 0 { text.as_bytes() } else { b"" }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn apply_to(root: &Path, bytes: &[u8]) -> Result<Applied, String> {
    let root = fs::File::open(root).unwrap();
    let mut input = bytes;
    apply(&mut input, root.as_fd()).map_err(|error| {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text += &format!(": {source}");
        }
        text
    })
}

/// Lists a tree: path, and what stands there.
fn listing(root: &Path) -> Vec<String> {
    fn go(base: &Path, folder: &Path, found: &mut Vec<String>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let meta = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(base).unwrap().display().to_string();
            let kind = meta.file_type();
            found.push(if kind.is_dir() {
                let opaque = if is_opaque(fs::File::open(&path).unwrap().as_fd()).unwrap() { " opaque" } else { "" };
                format!("{name}/{opaque}")
            } else if kind.is_symlink() {
                format!("{name} -> {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_file() {
                format!("{name} = {}", fs::read_to_string(&path).unwrap())
            } else if meta.rdev() == 0 && meta.mode() & libc_s_ifmt() == 0o020_000 {
                format!("{name} gone")
            } else {
                format!("{name} special")
            });
            if kind.is_dir() {
                go(base, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    go(root, root, &mut found);
    found
}

const fn libc_s_ifmt() -> u32 {
    0o170_000
}

#[track_caller]
fn check(members: &[Member<'_>], expected: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    apply_to(root.path(), &archive(members)).unwrap();
    assert_eq!(listing(root.path()), expected, "{members:?}");
}

#[test]
fn ordinary_members_come_out_as_they_went_in() {
    let root = tempfile::tempdir().unwrap();
    let applied = apply_to(
        root.path(),
        &archive(&[
            ('d', "./", ""),
            ('d', "bin/", ""),
            ('x', "bin/su", "program"),
            ('h', "bin/sudo", "bin/su"),
            ('s', "sh", "/bin/su"),
            ('c', "null", "1:3"),
            ('p', "pipe", ""),
            ('f', "deep/er/file", "text"),
        ]),
    )
    .unwrap();
    let meta = |name: &str| root.path().join(name).symlink_metadata().unwrap();
    assert_eq!(meta("bin/su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!((meta("bin/su").uid(), meta("bin/su").gid()), (11, 12));
    assert_eq!(meta("bin/su").ino(), meta("bin/sudo").ino());
    assert_eq!(meta("bin").permissions().mode() & 0o7777, 0o750);
    assert_eq!((meta("sh").uid(), meta("sh").mtime()), (11, 1_000_000_000));
    assert_eq!((meta("null").rdev(), meta("null").mode() & 0o7777), (rustix::fs::makedev(1, 3), 0o666));
    for name in ["bin", "bin/su", "pipe", "."] {
        assert_eq!(meta(name).mtime(), 1_000_000_000, "{name}");
    }
    assert_eq!(applied.implicit, [b"deep".to_vec(), b"deep/er".to_vec()]);
    assert_eq!(meta("deep").permissions().mode() & 0o7777, 0o755);
    assert!(applied.describes_root);
    assert_eq!(applied.inodes, 9);
}

#[test]
fn no_member_leads_out_of_the_layer() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), "untouched").unwrap();
    let out = outside.path().to_str().unwrap();
    let victim = format!("{out}/victim");
    let new = format!("{out}/new");
    let up = "../".repeat(20);
    let up_out = format!("{up}{}", &out[1..]);
    let up_victim = format!("{up_out}/victim");
    let link_victim = "link/victim".to_owned();
    for members in [
        vec![('f', "../new", "x")],
        vec![('f', up_victim.as_str(), "x")],
        vec![('f', new.as_str(), "x")],
        vec![('s', "link", out), ('f', "link/new", "x")],
        vec![('s', "link", up_out.as_str()), ('f', "link/new", "x")],
        vec![('s', "link", out), ('d', "link/new/", "")],
        vec![('s', "link", out), ('d', "link/", ""), ('f', "link/new", "x")],
        vec![('s', "link", victim.as_str()), ('f', "link", "x")],
        vec![('s', "link", victim.as_str()), ('h', "hard", "link"), ('f', "hard", "x")],
        vec![('h', "hard", victim.as_str()), ('f', "hard", "x")],
        vec![('h', "hard", up_victim.as_str())],
        vec![('s', "link", out), ('h', "hard", link_victim.as_str()), ('x', "hard", "x")],
        vec![('s', "a", "b"), ('s', "b", out), ('f', "a/victim", "x")],
        vec![('s', "a", ".."), ('s', "a/a", out), ('f', "a/a/new", "x")],
        vec![('s', "link", out), ('f', "link/.wh.victim", "")],
        vec![('s', "link", out), ('f', "link/.wh..wh..opq", "")],
        vec![('f', ".wh...", "")],
        vec![('f', ".wh..", "")],
        vec![('f', ".wh.", "")],
        vec![('f', "a/.wh.../x", "")],
        vec![('s', ".", out), ('f', "new", "x")],
        vec![('s', "/", out), ('f', "new", "x")],
        vec![('f', "/", "x")],
        vec![('s', "proc", "/proc/self/root"), ('f', "proc/tmp/new", "x")],
        vec![('s', "fd", "/proc/self/cwd"), ('f', "fd/new", "x")],
    ] {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b/c");
        fs::create_dir_all(&inner).unwrap();
        // Whether it is refused or lands inside does not matter here, only that nothing outside changes.
        let _ = apply_to(&inner, &archive(&members));
        assert_eq!(listing(outside.path()), ["victim = untouched"], "{members:?}");
        assert_eq!(fs::metadata(outside.path().join("victim")).unwrap().mode() & 0o7777, 0o644, "{members:?}");
        for folder in ["", "a", "a/b"] {
            assert_eq!(fs::read_dir(root.path().join(folder)).unwrap().count(), 1, "{members:?} in {folder:?}");
        }
    }
}

#[test]
fn hostile_members_are_refused_with_the_reason() {
    for (members, word) in [
        (vec![('f', "a/../../b", "")], ".."),
        (vec![('h', "a", "../../etc/shadow")], ".."),
        (vec![('h', "a", "not/there")], "does not have"),
        (vec![('h', "a", "there")], "does not have"),
        (vec![('f', ".wh.there", ""), ('h', "a", "there")], "does not have"),
        (vec![('d', "b", ""), ('h', "a", "b")], "to a folder"),
        (vec![('h', "a", "/")], "to the root"),
        (vec![('s', "a", "")], "to nothing"),
        (vec![('f', "a", ""), ('f', "a/b", "")], "not a folder"),
        (vec![('s', "a", "a"), ('f', "a/b", "")], "too many links"),
        (vec![('c', "a", "0:0")], "whiteout"),
        (vec![('f', "/", "x")], "must be a folder"),
        (vec![('f', ".wh.a/b", "x")], "whiteout stands"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let error = apply_to(root.path(), &archive(&members)).unwrap_err();
        assert!(error.contains(word), "{members:?}: {error}");
    }
}

#[test]
fn links_inside_the_layer_are_followed_inside_the_layer() {
    check(
        &[('d', "usr/lib", ""), ('s', "lib", "usr/lib"), ('f', "lib/x", "1")],
        &["lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/x = 1"],
    );
    check(&[('s', "lib", "/usr/lib"), ('f', "lib/x", "1")], &["lib -> /usr/lib", "usr/", "usr/lib/", "usr/lib/x = 1"]);
    check(&[('s', "up", "../../.."), ('f', "up/x", "1")], &["up -> ../../..", "x = 1"]);
}

#[test]
fn later_member_of_a_name_wins() {
    check(&[('f', "a", "1"), ('f', "a", "2")], &["a = 2"]);
    check(&[('d', "a", ""), ('f', "a/b", "1"), ('f', "a", "2")], &["a = 2"]);
    check(&[('f', "a", "1"), ('d', "a", ""), ('f', "a/b", "2")], &["a/", "a/b = 2"]);
    check(&[('d', "a", ""), ('f', "a/b", "1"), ('d', "a", "")], &["a/", "a/b = 1"]);
    check(&[('s', "a", "x"), ('f', "a", "1")], &["a = 1"]);
    check(&[('f', "a", "1"), ('h', "b", "a"), ('f', "a", "2")], &["a = 2", "b = 1"]);
    check(&[('f', "a", "1"), ('h', "a", "a")], &["a = 1"]);
    check(&[('f', "a", "1"), ('h', "b", "a"), ('h', "a", "b")], &["a = 1", "b = 1"]);
    check(
        &[('d', "a", ""), ('s', "l", "a"), ('f', "l/x", "1"), ('d', "l", ""), ('f', "l/x", "2")],
        &["a/", "a/x = 1", "l/", "l/x = 2"],
    );
}

#[test]
fn whiteouts_take_overlayfs_form_in_any_order() {
    check(&[('f', "a/.wh.b", "")], &["a/", "a/b gone"]);
    check(&[('f', ".wh.b", ""), ('f', ".wh.b", "")], &["b gone"]);
    check(&[('f', ".wh.b", ""), ('f', "b", "1")], &["b = 1"]);
    check(&[('f', "b", "1"), ('f', ".wh.b", "")], &["b = 1"]);
    check(&[('f', ".wh.b", ""), ('d', "b", ""), ('f', "b/c", "1")], &["b/ opaque", "b/c = 1"]);
    check(&[('d', "b", ""), ('f', "b/c", "1"), ('f', ".wh.b", "")], &["b/ opaque", "b/c = 1"]);
    check(&[('f', ".wh.b", ""), ('f', "b/c", "1")], &["b/ opaque", "b/c = 1"]);
    check(&[('f', "a/.wh..wh..opq", ""), ('f', "a/b", "1")], &["a/ opaque", "a/b = 1"]);
    check(&[('f', "a/b", "1"), ('f', "a/.wh..wh..opq", "")], &["a/ opaque", "a/b = 1"]);
    // Both ways at once: the single whiteouts have nothing left to hide.
    check(&[('f', "a/.wh.x", ""), ('f', "a/.wh..wh..opq", ""), ('f', "a/.wh.y", "")], &["a/ opaque"]);
    check(&[('f', ".wh..wh.plnk/1.2", "x"), ('f', ".wh..wh.aufs", "x")], &[]);
}

#[test]
fn attributes_of_files_are_kept_and_those_of_overlayfs_are_not() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    builder
        .append_pax_extensions([
            ("SCHILY.xattr.user.note", &b"kept"[..]),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("mtime", b"-1.5"),
        ])
        .unwrap();
    let mut header = ::tar::Header::new_ustar();
    header.set_path("a").unwrap();
    header.set_mode(0o755);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let root = tempfile::tempdir().unwrap();
    apply_to(root.path(), &builder.into_inner().unwrap()).unwrap();
    let path = root.path().join("a");
    let get = |name: &str| {
        let mut value = [0; 64];
        rustix::fs::getxattr(&path, name, &mut value).map(|length| value[..length].to_vec())
    };
    assert_eq!(get("user.note").unwrap(), b"kept");
    assert_eq!(get("security.capability").unwrap(), capability);
    assert!(get("trusted.overlay.redirect").is_err());
    assert!(get("trusted.overlay.opaque").is_err());
    let meta = path.symlink_metadata().unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (-2, 500_000_000));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Random archives over few names, so that members meet each other: whatever they do stays inside.
    #[test]
    fn random_layers_stay_inside(members in proptest::collection::vec(
        (proptest::sample::select(vec!['f', 'd', 's', 'h']),
         "(a|b|\\.wh\\.a|\\.\\.|\\.wh\\.\\.wh\\.\\.opq)(/(a|b|c|\\.wh\\.b|\\.\\.)){0,2}",
         "(/|\\.\\./|)(a|b|\\.\\.|\\.)(/(a|b|c|\\.\\.)){0,2}"), 1..12)) {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("b/c");
        fs::create_dir_all(&inner).unwrap();
        let members: Vec<Member<'_>> = members.iter().map(|(k, p, t)| (*k, p.as_str(), t.as_str())).collect();
        let _ = apply_to(&inner, &archive(&members));
        proptest::prop_assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
        proptest::prop_assert_eq!(fs::read_dir(top.path().join("b")).unwrap().count(), 1);
    }
}

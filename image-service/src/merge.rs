//! What layers that are stored apart say together, where stacking alone would say it wrong.
//!
//! A layer may hold `tmp/x` without describing `tmp`. Unpacked over the layer below, `tmp` would stay as that one made it;
//! stored apart, the folder had to be made up and would hide the real one's owner and mode. So an image with such folders
//! gets one more layer on top, made here, which holds only those folders as the layers below describe them.

use crate::error::Error;
use crate::record::{LayerRecord, Look};
use orlop_model::Digest;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a folder is like that nobody describes.
const MADE_UP: Look = Look { mode: 0o755, uid: 0, gid: 0 };

/// How folders are opened: read, and never through a link.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// One stored layer.
pub(crate) struct Stacked {
    diff_id: Digest,
    /// Opened when needed: few of many layers are.
    fs: PathBuf,
    implicit: BTreeSet<Vec<u8>>,
    describes_root: bool,
}

/// What has to be added to a stack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    /// What the root folder is like.
    pub(crate) root: Look,
    /// Folders of the layer to add, parents first, with their time; empty when none is needed.
    pub(crate) folders: BTreeMap<Vec<u8>, (Look, i64)>,
}

/// What one layer has at a path.
enum Here {
    /// Nothing, and lower layers show.
    Nothing,
    /// Nothing, and lower layers don't show.
    Hidden,
    /// A folder; the flag says whether lower layers still show in it.
    Folder { look: Look, modified: i64, open: bool },
    /// A symbolic link.
    Link,
}

// === impl Stacked ===

impl Stacked {
    /// Takes a layer's folder and its record.
    pub(crate) fn new(fs: PathBuf, record: &LayerRecord) -> Result<Self, Error> {
        let implicit = record.implicit.iter().map(hex::decode).collect::<Result<_, _>>();
        let implicit = implicit.map_err(|_| Error::corrupt(&record.diff_id, "its record names a folder not in hex"))?;
        Ok(Self { diff_id: record.diff_id.clone(), fs, implicit, describes_root: record.describes_root })
    }

    fn root(&self) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(CWD, &self.fs, FOLDER, Mode::empty())
    }

    fn here(&self, path: &[u8]) -> Result<Here, Errno> {
        let mut folder = self.root()?;
        let mut open = !crate::apply::is_opaque(folder.as_fd())?;
        let mut parts = path.split(|byte| *byte == b'/').peekable();
        while let Some(part) = parts.next() {
            let stat = match rustix::fs::statat(&folder, part, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => return Ok(if open { Here::Nothing } else { Here::Hidden }),
                Err(error) => return Err(error),
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::Symlink && parts.peek().is_none() {
                return Ok(Here::Link);
            }
            if kind != FileType::Directory {
                return Ok(Here::Hidden);
            }
            folder = rustix::fs::openat(&folder, part, FOLDER, Mode::empty())?;
            open &= !crate::apply::is_opaque(folder.as_fd())?;
            if parts.peek().is_none() {
                let look = Look { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid };
                return Ok(Here::Folder { look, modified: stat.st_mtime, open });
            }
        }
        Ok(Here::Hidden)
    }
}

/// Says what has to be added to a stack of layers, lowest first.
pub(crate) fn plan(stack: &[Stacked]) -> Result<Merge, Error> {
    let mut folders = BTreeMap::new();
    let candidates: BTreeSet<&Vec<u8>> = stack.iter().skip(1).flat_map(|layer| &layer.implicit).collect();
    for path in candidates {
        let Some(found) = described(stack, path)? else { continue };
        // What is above it must be there too, as it would be seen anyway.
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if !folders.contains_key(&path[..at]) {
                let above = seen(stack, &path[..at])?;
                folders.insert(path[..at].to_vec(), above);
            }
        }
        folders.insert(path.clone(), found);
    }
    Ok(Merge { root: root_look(stack)?, folders })
}

/// Returns what a folder should be like, if that is not what stacking shows.
fn described(stack: &[Stacked], path: &[u8]) -> Result<Option<(Look, i64)>, Error> {
    let mut made_up = None;
    for layer in stack.iter().rev() {
        match layer.here(path).map_err(failed(path))? {
            Here::Nothing => {}
            Here::Hidden => return Ok(None),
            Here::Folder { open, .. } if layer.implicit.contains(path) => {
                made_up = Some(&layer.diff_id);
                if !open {
                    return Ok(None);
                }
            }
            Here::Folder { look, modified, .. } => return Ok(made_up.map(|_| (look, modified))),
            Here::Link => {
                let Some(above) = made_up else { return Ok(None) };
                let why = format!(
                    "it puts files below {:?}, which is a symbolic link in layer {}; such images are not supported yet",
                    String::from_utf8_lossy(path),
                    layer.diff_id
                );
                return Err(Error::unsupported(above, why));
            }
        }
    }
    Ok(None)
}

/// Returns what a folder will be like: as described, or else as made up by the layers.
fn seen(stack: &[Stacked], path: &[u8]) -> Result<(Look, i64), Error> {
    let mut first = None;
    for layer in stack.iter().rev() {
        match layer.here(path).map_err(failed(path))? {
            Here::Nothing => {}
            Here::Hidden | Here::Link => break,
            Here::Folder { look, modified, open } => {
                if !layer.implicit.contains(path) {
                    return Ok((look, modified));
                }
                first.get_or_insert((look, modified));
                if !open {
                    break;
                }
            }
        }
    }
    Ok(first.unwrap_or((MADE_UP, 0)))
}

fn root_look(stack: &[Stacked]) -> Result<Look, Error> {
    for layer in stack.iter().rev() {
        let root = layer.root().map_err(failed(b"/"))?;
        if layer.describes_root {
            let stat = rustix::fs::fstat(&root).map_err(failed(b"/"))?;
            return Ok(Look { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid });
        }
        if crate::apply::is_opaque(root.as_fd()).map_err(failed(b"/"))? {
            break;
        }
    }
    Ok(MADE_UP)
}

/// Makes the layer's folders in an empty folder.
pub(crate) fn build(merge: &Merge, fs: &Path) -> Result<(), Error> {
    for (path, (look, _)) in &merge.folders {
        let to = fs.join(OsStr::from_bytes(path));
        let made = rustix::fs::mkdirat(CWD, &to, Mode::RWXU).and_then(|()| describe(&to, *look));
        made.map_err(failed(path))?;
    }
    // Afterwards, and inner ones first: making a folder changes the time of the one around it.
    for (path, (_, modified)) in merge.folders.iter().rev() {
        let time = Timespec { tv_sec: *modified, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        let to = fs.join(OsStr::from_bytes(path));
        rustix::fs::utimensat(CWD, &to, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed(path))?;
    }
    Ok(())
}

/// Gives a folder of the store an owner and a mode.
pub(crate) fn describe(folder: &Path, look: Look) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(look.uid), Gid::from_raw(look.gid));
    rustix::fs::chownat(CWD, folder, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::chmodat(CWD, folder, Mode::from_raw_mode(look.mode), AtFlags::empty())
}

/// Returns the name of the layer made for a stack.
pub(crate) fn name_of(stack: &[Digest]) -> Digest {
    let mut text = String::from("orlop merged folders 1\n");
    for diff_id in stack {
        text.push_str(diff_id.as_str());
        text.push('\n');
    }
    crate::remote::digest_of(text.as_bytes())
}

fn failed(path: &[u8]) -> impl FnOnce(Errno) -> Error {
    Error::errno(format!("merge folder {:?} of the layers", String::from_utf8_lossy(path)))
}

/// Returns the layers of a stack without repetitions, lowest first: of a layer that comes twice the upper one counts, since
/// it says everything the lower one says, and overlayfs refuses to see a folder twice.
pub(crate) fn without_repetitions(layers: &[Digest]) -> Vec<Digest> {
    let mut seen = BTreeSet::new();
    let mut stack: Vec<_> = layers.iter().rev().filter(|layer| seen.insert(*layer)).cloned().collect();
    stack.reverse();
    stack
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    /// Makes layers of lines: `path mode` for folders, `path @` made up, `path ->` a link, `path !` opaque, `path -` a
    /// whiteout.
    fn stack(temp: &Path, layers: &[&[&str]]) -> Vec<Stacked> {
        let make = |(at, lines): (usize, &&[&str])| {
            let fs = temp.join(at.to_string());
            fs::create_dir(&fs).unwrap();
            let mut implicit = Vec::new();
            for line in *lines {
                let (path, what) = line.split_once(' ').unwrap();
                let to = fs.join(path);
                match what {
                    "->" => std::os::unix::fs::symlink("x", &to).unwrap(),
                    "-" => rustix::fs::mknodat(CWD, &to, FileType::CharacterDevice, Mode::empty(), 0).unwrap(),
                    "@" => {
                        fs::create_dir(&to).unwrap();
                        implicit.push(hex::encode(path));
                    }
                    "!" => {
                        rustix::fs::setxattr(&to, "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty())
                            .unwrap();
                    }
                    mode => {
                        fs::create_dir(&to).unwrap();
                        let mode = u32::from_str_radix(mode, 8).unwrap();
                        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
                    }
                }
            }
            let diff_id = crate::remote::digest_of(&[u8::try_from(at).unwrap()]);
            let record = LayerRecord { diff_id, bytes: 0, inodes: 0, implicit, describes_root: at == 0 };
            Stacked::new(fs, &record).unwrap()
        };
        layers.iter().enumerate().map(make).collect()
    }

    #[track_caller]
    fn check(layers: &[&[&str]], expected: &[&str]) {
        let temp = tempfile::tempdir().unwrap();
        let merge = plan(&stack(temp.path(), layers)).unwrap();
        let found: Vec<_> = merge
            .folders
            .iter()
            .map(|(path, (look, _))| format!("{} {:o}", String::from_utf8_lossy(path), look.mode))
            .collect();
        assert_eq!(found, expected, "{layers:?}");
    }

    #[test]
    fn folder_keeps_what_a_lower_layer_says_of_it() {
        check(&[&["tmp 1777"], &["tmp @"]], &["tmp 1777"]);
        check(&[&["tmp 1777"], &["other 700"], &["tmp @"]], &["tmp 1777"]);
        check(&[&["a 700", "a/b 1777"], &["a @", "a/b @"]], &["a 700", "a/b 1777"]);
        check(&[&["a 700", "a/b 1777"], &["a 750", "a/b @"]], &["a 750", "a/b 1777"]);
        check(&[&["a @", "a/b 711"], &["a @", "a/b @"]], &["a 755", "a/b 711"]);
    }

    #[test]
    fn nothing_is_added_where_stacking_is_right() {
        check(&[&["tmp @"]], &[]);
        check(&[&["tmp 1777"], &["tmp 700"]], &[]);
        check(&[&["tmp 1777"], &["tmp @"], &["tmp 711"]], &[]);
        check(&[&["other 1777"], &["tmp @"]], &[]);
        check(&[&["tmp 1777"], &["tmp -"], &["tmp @"]], &[]);
        check(&[&["tmp 1777"], &["tmp @", "tmp !"]], &[]);
        check(&[&["a 700", "a/b 1777"], &["a -"], &["a @", "a/b @"]], &[]);
        check(&[&["a 700", "a/b 1777"], &["a 711", "a !"], &["a @", "a/b @"]], &["a 711"]);
    }

    #[test]
    fn folder_over_a_link_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let error = plan(&stack(temp.path(), &[&["lib ->"], &["lib @"]])).unwrap_err().to_string();
        assert!(error.contains("\"lib\", which is a symbolic link"), "{error}");
        check(&[&["lib ->"], &["lib 755"]], &[]);
    }

    #[test]
    fn built_layer_has_the_folders_as_planned() {
        let temp = tempfile::tempdir().unwrap();
        let merge = plan(&stack(temp.path(), &[&["a 700", "a/b 1777"], &["a @", "a/b @"]])).unwrap();
        let fs = temp.path().join("built");
        fs::create_dir(&fs).unwrap();
        build(&merge, &fs).unwrap();
        let meta = fs.join("a/b").metadata().unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o1777);
        assert_eq!(meta.mtime(), merge.folders[&b"a/b".to_vec()].1);
        assert_eq!(merge.root.mode, temp.path().join("0").metadata().unwrap().mode() & 0o7777);
    }

    #[test]
    fn upper_one_of_two_equal_layers_counts() {
        let layer = |digit: u8| crate::remote::digest_of(&[digit]);
        assert_eq!(
            without_repetitions(&[layer(1), layer(2), layer(1), layer(3), layer(2)]),
            [layer(1), layer(3), layer(2)]
        );
    }
}

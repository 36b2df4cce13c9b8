//! Volumes on disk: a folder each, with what containers see and a record beside it.
//!
//! A folder is a volume once its record is there, and none any more once it is gone; so neither a making nor a removal that was
//! cut off leaves half of one.

use super::{DATA, Volume};
use orlop_sys::remove_tree::remove_tree;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tracing::warn;

/// Name of the record.
const RECORD: &str = "volume.json";
/// Begins the names of folders on their way out; no volume's name does.
const THROWN: &str = ".thrown-";
/// Only root looks at volumes from outside.
const FOLDER_MODE: u32 = 0o700;
/// What containers see, until an image says otherwise.
const DATA_MODE: u32 = 0o755;

/// Deepest level whose bytes are counted: each takes a descriptor.
const DEPTH_MAX: usize = 256;
/// The unit of `st_blocks`; stat(2).
const BLOCK_BYTES: u64 = 512;
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Reads all volumes; returns beside them the folders that are none, to be deleted.
pub(super) fn load(folder: &Path) -> (BTreeMap<String, Volume>, Vec<PathBuf>) {
    let (mut volumes, mut left) = (BTreeMap::new(), Vec::new());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match read(&path.join(RECORD)) {
            Ok(volume) if entry.file_name().to_str() == Some(&volume.name) => {
                volumes.insert(volume.name.clone(), volume);
            }
            Ok(volume) => {
                warn!(folder = %path.display(), name = volume.name, "the folder of a volume has another name")
            }
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => left.push(path),
            // Never thrown away: what is in it may be all there is.
            Err(wrong) => warn!(folder = %path.display(), error = %wrong, "the record of a volume can't be read"),
        }
    }
    (volumes, left)
}

fn read(record: &Path) -> io::Result<Volume> {
    serde_json::from_slice(&fs::read(record)?).map_err(io::Error::other)
}

/// Makes a volume's folders and its record.
pub(super) fn create(folder: &Path, volume: &Volume) -> io::Result<()> {
    let own = folder.join(&volume.name);
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    DirBuilder::new().mode(FOLDER_MODE).create(&own)?;
    let made = DirBuilder::new().create(own.join(DATA)).and_then(|()| {
        // Whatever the daemon's mask.
        fs::set_permissions(own.join(DATA), std::os::unix::fs::PermissionsExt::from_mode(DATA_MODE))?;
        write(folder, volume)?;
        File::open(folder)?.sync_all()
    });
    if made.is_err() {
        delete(folder, &own);
    }
    made
}

/// Writes a volume's record, so that it outlasts a power cut.
pub(super) fn write(folder: &Path, volume: &Volume) -> io::Result<()> {
    let own = folder.join(&volume.name);
    let fresh = own.join(format!("{RECORD}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(volume).map_err(io::Error::other)?)?;
    file.sync_all()?;
    fs::rename(&fresh, own.join(RECORD))?;
    File::open(&own)?.sync_all()
}

/// Makes a folder no volume any more, and returns where it is until it is deleted.
pub(super) fn forget(folder: &Path, name: &str, number: u64) -> io::Result<PathBuf> {
    let (own, thrown) = (folder.join(name), folder.join(format!("{THROWN}{number}")));
    fs::remove_file(own.join(RECORD))?;
    fs::rename(&own, &thrown)?;
    Ok(thrown)
}

/// Deletes a folder that is no volume, however deep programs have made it, by way of the folder of all volumes. What can't be
/// deleted is told, and tried again at the next start.
pub(super) fn delete(volumes: &Path, folder: &Path) {
    if let Err(wrong) = try_delete(volumes, folder) {
        warn!(folder = %folder.display(), error = %wrong, "what is left of a volume stays behind");
    }
}

fn try_delete(volumes: &Path, folder: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let open = |path: &Path| rustix::fs::open(path, FOLDER, Mode::empty());
    let (parent, scratch) = match (open(parent), open(volumes)) {
        (Err(Errno::NOENT), _) | (_, Err(Errno::NOENT)) => return Ok(()),
        (parent, scratch) => (parent?, scratch?),
    };
    let name = CString::new(name.as_bytes())?;
    Ok(remove_tree(parent.as_fd(), &name, scratch.as_fd(), &mut || Ok(()))?)
}

/// Returns the bytes that a folder takes with all below it, as far as it can be read. Programs may change it meanwhile: no
/// link is followed.
pub(super) fn bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut open: Vec<Dir> = rustix::fs::open(folder, FOLDER, Mode::empty()).and_then(Dir::new).into_iter().collect();
    while let Some(here) = open.last_mut() {
        let Some(Ok(entry)) = here.read() else {
            open.pop();
            continue;
        };
        let name = entry.file_name();
        let Ok(parent) = here.fd() else { continue };
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        bytes += u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK_BYTES;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && open.len() < DEPTH_MAX {
            let below = open
                .last()
                .and_then(|here| here.fd().ok())
                .map(|parent| rustix::fs::openat(parent, name, FOLDER, Mode::empty()).and_then(Dir::new));
            open.extend(below.and_then(Result::ok));
        }
    }
    bytes
}

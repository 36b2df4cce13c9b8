//! What an image has where a volume is mounted, copied into a volume that is empty.

use super::{DATA, VolumeUse, Volumes};
use orlop_model::container::RootfsAccess;
use orlop_model::error::{Failure, Result};
use orlop_model::files::{FileKind, Overwrite, Unpack};
use orlop_model::ports::{Images, internal};
use orlop_model::{ContainerId, ErrorKind};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

/// Where files are on their way into a volume, beside what containers see.
const FILLING: &str = "filling";

impl Volumes {
    /// Fills those of a container's volumes that are empty and may be. Its root must be prepared.
    pub(crate) async fn fill(&self, images: &dyn Images, id: &ContainerId, uses: &[VolumeUse]) -> Result<()> {
        for one in uses.iter().filter(|one| one.copies) {
            let lock = self.filling.of(&one.name);
            let _alone = lock.lock().await;
            let own = self.folder.join(&one.name);
            if is_empty(&own.join(DATA)).map_err(|wrong| failed(&one.name, &wrong))? {
                fill_one(images, id, one, &self.folder).await?;
            }
        }
        Ok(())
    }
}

async fn fill_one(images: &dyn Images, id: &ContainerId, one: &VolumeUse, volumes: &Path) -> Result<()> {
    // Without its mounts: of the image alone.
    let root = images.root_with_mounts(id, &[], RootfsAccess::ReadOnly).await?;
    let copy = || root.try_clone().map_err(|wrong| failed(&one.name, &wrong));
    let stat = match images.stat_file(copy()?, &one.target).await {
        Ok(stat) if stat.kind == FileKind::Folder => stat,
        Ok(_) => return Ok(()),
        Err(failure) if failure.kind == ErrorKind::NotFound => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let own = volumes.join(&one.name);
    let (filling, all) = (own.join(FILLING), volumes.to_owned());
    let begun = aside({
        let filling = filling.clone();
        move || begin(&all, &filling)
    })
    .await;
    let to = begun.map_err(|wrong| failed(&one.name, &wrong))?;
    let packing = images.pack_files(copy()?, &one.target).await?;
    let unpack =
        Unpack { to: PathBuf::from("/"), archive: packing.archive, overwrite: Overwrite::AnyKind, owner: None };
    let unpacked = images.unpack_files(to, unpack).await;
    let packed = packing.ended.await;
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&stat.name).to_owned();
    let whole = unpacked.and(packed);
    let (all, is_whole) = (volumes.to_owned(), whole.is_ok());
    let moved = aside(move || {
        let moved = if is_whole { move_in(&filling.join(name), &own.join(DATA)) } else { Ok(()) };
        super::disk::delete(&all, &filling);
        moved
    });
    let moved = moved.await.map_err(|wrong| failed(&one.name, &wrong));
    whole.and(moved)
}

/// Works on files where nobody waits for it: there may be millions.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

/// Makes the folder for what is on its way, empty, and returns it as a root that nothing leaves.
fn begin(volumes: &Path, filling: &Path) -> io::Result<OwnedFd> {
    super::disk::delete(volumes, filling);
    DirBuilder::new().mode(0o700).create(filling)?;
    Ok(rustix::fs::open(filling, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Moves what came into the folder that containers see, which becomes like the image's.
fn move_in(from: &Path, data: &Path) -> io::Result<()> {
    let like = fs::symlink_metadata(from)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), data.join(entry.file_name()))?;
    }
    chown(data, Some(like.uid()), Some(like.gid()))?;
    fs::set_permissions(data, like.permissions())
}

fn failed(name: &str, wrong: &io::Error) -> Failure {
    internal(format!("copy what the image has into volume {name}: {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_came_is_moved_in_and_the_folder_becomes_like_the_images() {
        let temp = tempfile::tempdir().unwrap();
        let (from, data) = (temp.path().join("from"), temp.path().join("data"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/file"), "x").unwrap();
        fs::set_permissions(&from, PermissionsExt::from_mode(0o1777)).unwrap();
        fs::create_dir(&data).unwrap();
        assert!(is_empty(&data).unwrap());
        move_in(&from, &data).unwrap();
        assert_eq!(fs::read_to_string(data.join("deep/file")).unwrap(), "x");
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert!(!is_empty(&data).unwrap());
    }
}

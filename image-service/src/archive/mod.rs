//! Files in and out of a container, as tar archives, beneath its root.
//!
//! The root is a descriptor: of a running container's own view, or of an assembled root file system. Whatever runs in there
//! is hostile, and may swap folders for links at any moment. So a path is only ever resolved by the kernel, within the root
//! (openat2(2), `RESOLVE_IN_ROOT`); what was found is held by its descriptor and looked at before it is opened; and names
//! are made, changed and removed in folders that are held.
//!
//! Invariants: nothing outside of the root is opened, changed or told; nothing is written to or read from the kernel's own
//! file systems (proc, sysfs, cgroup and the like), which a container can have mounted in the way.
//!
//! Bytes travel by pipes, the work is done on threads for it, few at once.

mod cleaned;
mod mounted;
mod pack;
mod pipe;
mod root;
mod stat;
#[cfg(test)]
mod tests;
mod unpack;

use crate::error::Error;
use crate::store::Shared;
use orlop_model::container::{Mount, RootfsAccess};
use orlop_model::files::{FileStat, Packing, Unpack};
use orlop_model::{ContainerId, Failure};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Archives under way at once: each has a thread and a few descriptors, and its client may be slow. One more is refused
/// rather than left waiting for clients that may never go on.
pub(crate) const ARCHIVES_AT_ONCE: usize = 32;

/// Looks at a path.
pub(crate) async fn stat(shared: &Arc<Shared>, root: OwnedFd, path: &Path) -> Result<FileStat, Error> {
    let path = path.as_os_str().as_bytes().to_vec();
    aside(place(&shared.archive_places)?, move || stat::stat(&root::Root::new(root), &cleaned::Path::parse(&path)?))
        .await
}

/// Assembles the root of a container that does not run, with the mounts it would have.
pub(crate) async fn root_with_mounts(
    shared: &Arc<Shared>,
    container: ContainerId,
    mounts: Vec<Mount>,
    access: RootfsAccess,
) -> Result<OwnedFd, Error> {
    let place = place(&shared.archive_places)?;
    let shared = Arc::clone(shared);
    aside(place, move || mounted::root(shared.rootfs(&container, None)?, &shared.disk.empty(), &mounts, access)).await
}

/// Begins to pack what a path names.
pub(crate) async fn pack(shared: &Arc<Shared>, root: OwnedFd, path: &Path) -> Result<Packing, Error> {
    let place = place(&shared.archive_places)?;
    let bytes = path.as_os_str().as_bytes().to_vec();
    let look = move || {
        let (root, path) = (root::Root::new(root), cleaned::Path::parse(&bytes)?);
        let stat = stat::stat(&root, &path)?;
        let from = root.open(&path, root::Last::Itself)?;
        Ok((place, stat, path, from))
    };
    let (place, stat, path, from) = aside((), look).await?;
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (archive, end) = rustix::pipe::pipe_with(flags).map_err(Error::errno("make a pipe for an archive"))?;
    // Begun here and now: whoever reads the archive need not wait for its end meanwhile.
    let work = tokio::spawn(aside(place, move || pack::pack(from, &path, end)));
    let ended = Box::pin(async move {
        let done = work.await.unwrap_or_else(|error| Err(died(error)));
        done.map_err(|error| Failure::from(error).while_trying("pack an archive"))
    });
    Ok(Packing { stat, archive, ended })
}

/// Packs a writable layer as it would travel. Blocks.
pub(crate) fn pack_layer(upper: &Path, end: OwnedFd) -> Result<(), Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::open(upper, flags, Mode::empty()).map_err(Error::errno(format!("open {upper:?}")))?;
    pack::pack_layer(from, end)
}

/// Unpacks an archive.
pub(crate) async fn unpack(shared: &Arc<Shared>, root: OwnedFd, wanted: Unpack) -> Result<(), Error> {
    aside(place(&shared.archive_places)?, move || unpack::unpack(&root::Root::new(root), wanted)).await
}

/// Does blocking work on a thread for it, apart from all other work of the store: what a container has mounted may hang, and
/// must then hold up nobody's start. `place` is kept as long.
async fn aside<P: Send + 'static, T: Send + 'static>(
    place: P,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    });
    done.await.unwrap_or_else(|error| Err(died(error)))
}

fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    Arc::clone(places).try_acquire_owned().map_err(|_full| Error::TooLarge {
        what: "the number of archives under way".to_owned(),
        why: format!("at most {ARCHIVES_AT_ONCE} are packed and unpacked at once; retry later"),
    })
}

fn died(error: tokio::task::JoinError) -> Error {
    Error::io("finish an archive")(std::io::Error::other(error))
}

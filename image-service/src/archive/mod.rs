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
mod pack;
mod pipe;
mod root;
mod stat;
#[cfg(test)]
mod tests;
mod unpack;

use crate::error::Error;
use crate::store::Shared;
use orlop_model::Failure;
use orlop_model::files::{FileStat, Packing, Unpack};
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
    shared.blocking(move |_| stat::stat(&root::Root::new(root), &cleaned::Path::parse(&path)?)).await
}

/// Begins to pack what a path names.
pub(crate) async fn pack(shared: &Arc<Shared>, root: OwnedFd, path: &Path) -> Result<Packing, Error> {
    let place = place(&shared.archive_places)?;
    let bytes = path.as_os_str().as_bytes().to_vec();
    let looked = shared.blocking(move |_| {
        let (root, path) = (root::Root::new(root), cleaned::Path::parse(&bytes)?);
        let stat = stat::stat(&root, &path)?;
        let from = root.open(&path, root::Last::Itself)?;
        Ok((stat, path, from))
    });
    let (stat, path, from) = looked.await?;
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (archive, end) = rustix::pipe::pipe_with(flags).map_err(Error::errno("make a pipe for an archive"))?;
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        pack::pack(from, &path, end)
    });
    let ended = Box::pin(async move {
        let done = work.await.unwrap_or_else(|error| Err(died(error)));
        done.map_err(|error| Failure::from(error).while_trying("pack an archive"))
    });
    Ok(Packing { stat, archive, ended })
}

/// Unpacks an archive.
pub(crate) async fn unpack(shared: &Arc<Shared>, root: OwnedFd, wanted: Unpack) -> Result<(), Error> {
    let place = place(&shared.archive_places)?;
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        unpack::unpack(&root::Root::new(root), wanted)
    });
    work.await.unwrap_or_else(|error| Err(died(error)))
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

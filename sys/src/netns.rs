//! Network namespaces: made, entered and left on scratch threads, so that the caller's own never changes.

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Makes a fresh network namespace and returns its descriptor. It lives as long as the descriptor or a process in it does.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`, or where no thread can be made.
pub fn create() -> io::Result<OwnedFd> {
    on_scratch_thread("orlop-netns", || {
        unshare(UnshareFlags::NEWNET)?;
        current()
    })?
}

/// Returns a descriptor of the calling thread's network namespace.
///
/// # Errors
/// Where `/proc` is not mounted.
pub fn current() -> io::Result<OwnedFd> {
    Ok(std::fs::File::open("/proc/thread-self/ns/net")?.into())
}

/// Runs `work` on a scratch thread inside the namespace; sockets it makes stay in there.
///
/// # Errors
/// When `ns` can't be entered, or where no thread can be made. A panic of `work` goes on in the caller.
pub fn inside<T: Send>(ns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_scratch_thread("orlop-netns", || {
        move_into_link_name_space(ns, Some(LinkNameSpaceType::Network))?;
        Ok(work())
    })?
}

/// Makes new namespaces for the calling thread.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: only namespaces are unshared here, never the descriptor table, so that no owned descriptor changes meaning.
    // WHY: rustix's safe `unshare` is deprecated for the case of the descriptor table.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Runs `work` on a thread that ends with it, since a thread can't forget what it entered.
pub(crate) fn on_scratch_thread<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    fn inode(ns: impl AsFd) -> u64 {
        let file: std::fs::File = ns.as_fd().try_clone_to_owned().unwrap().into();
        file.metadata().unwrap().ino()
    }

    #[test]
    fn fresh_namespace_is_not_ours_and_leaves_ours_alone() {
        let before = inode(current().unwrap());
        let fresh = create().unwrap();
        assert_ne!(inode(&fresh), before);
        assert_eq!(inode(current().unwrap()), before);
    }

    #[test]
    fn work_inside_sees_the_namespace() {
        let fresh = create().unwrap();
        let seen = inside(fresh.as_fd(), || inode(current().unwrap())).unwrap();
        assert_eq!(seen, inode(&fresh));
    }

    #[test]
    fn descriptor_that_is_no_namespace_is_refused() {
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        assert!(inside(file.as_fd(), || ()).is_err());
    }
}

//! A mount namespace for a moment: for what only mount(2) can do, which needs a place in a tree.

use crate::netns::{on_scratch_thread, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;
use std::io;

/// Runs `work` on a scratch thread in a mount namespace of its own, from which nothing is seen outside. The thread has a
/// working folder of its own too. What `work` mounts goes with the thread, but for copies held by descriptors.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`, or where no thread can be made. A panic of `work` goes on in the caller.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_scratch_thread("orlop-mountns", || {
        // Takes the working folder apart as well; see unshare(2).
        unshare(UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        Ok(work())
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_working_folder_of_the_thread_are_its_own() {
        let folder = std::env::temp_dir();
        let mounts = || std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let (cwd, mark) = (std::env::current_dir().unwrap(), format!("apart-{}", std::process::id()));
        apart(|| {
            rustix::mount::mount(mark.as_str(), &folder, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
            std::env::set_current_dir(&folder).unwrap();
            assert!(mounts().contains(&mark));
        })
        .unwrap();
        assert!(!mounts().contains(&mark));
        assert_eq!(std::env::current_dir().unwrap(), cwd);
    }
}

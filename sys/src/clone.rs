//! New processes without `fork`: clone3(2) with a pidfd, namespaces and a cgroup from the start.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What a new process is born with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Birth<'a> {
    /// `CLONE_NEW*` flags.
    pub namespaces: u64,
    /// A cgroup of the unified hierarchy to be born into (`CLONE_INTO_CGROUP`).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A process that was made.
#[derive(Debug)]
pub struct Child {
    /// Its number, as this process sees it.
    pub pid: u32,
    /// Its pidfd: names this process for ever, also when the number is used again.
    pub pidfd: OwnedFd,
}

/// The flag's number; that of libc has the wrong type and is deprecated for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Status of a child whose work panicked; nobody else uses it.
pub const PANICKED: i32 = 121;

/// Makes a process that runs `work` and ends with the status that it returns.
///
/// The child is a copy of this process, so `work` sees everything by reference and changes only its own copy. Its parent
/// gets `SIGCHLD`. `work` should allocate nothing where it must not fail half-way; it may, since there are no other threads.
///
/// # Errors
/// `EBUSY` when this process has other threads: a lock that one of them holds would stay locked in the child for ever.
/// What clone3(2) says otherwise.
pub fn spawn(birth: &Birth<'_>, work: impl FnOnce() -> u8) -> io::Result<Child> {
    if !single_threaded()? {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut pidfd: libc::c_int = -1;
    let into_cgroup = if birth.cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let mut args = libc::clone_args {
        flags: birth.namespaces | libc::CLONE_PIDFD as u64 | into_cgroup,
        pidfd: (&raw mut pidfd).addr() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: birth.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: `args` is a whole clone_args of the size said, and its pidfd points to an int that lives; without CLONE_VM and
    // without a stack of its own the child is a copy of this process, as after fork. No other thread exists, so that no lock
    // is held and no structure is half changed in the copy.
    // WHY: neither nix nor rustix has a clone3.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        0 => end(work),
        1.. => {
            // SAFETY: the kernel stored a fresh descriptor there that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: u32::try_from(pid).expect("a process number fits 22 bits"), pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs the child's work and ends the child, whatever happens: it must never return into its parent's code.
fn end(work: impl FnOnce() -> u8) -> ! {
    struct EndOnUnwind;
    impl Drop for EndOnUnwind {
        fn drop(&mut self) {
            exit(PANICKED);
        }
    }
    let _guard = EndOnUnwind;
    exit(i32::from(work()))
}

/// Ends the calling process at once: no destructors, no buffers flushed, they are its parent's.
fn exit(status: i32) -> ! {
    // SAFETY: `_exit` takes any status and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// Says whether the calling process has one thread. unshare(2): taking a lone thread out of its process is nothing to do,
/// any other can't be. Not by `/proc`, which in a container is anybody's.
fn single_threaded() -> io::Result<bool> {
    // SAFETY: with this flag alone nothing is unshared.
    // WHY: neither nix nor rustix lets this be asked.
    match unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_THREAD) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_with_threads_is_not_copied() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let refused = spawn(&Birth::default(), || 0).unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
            });
        });
    }
}

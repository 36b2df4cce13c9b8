//! New processes without `fork`: clone3(2) with a pidfd, namespaces and a cgroup from the start.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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
    clone(birth, Parent::Caller, work)
}

/// Whose child a process becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    /// The calling process's.
    Caller,
    /// Its parent's (`CLONE_PARENT`).
    Above,
}

/// Where a process of [`spawn_under`] is born.
#[derive(Clone, Copy, Debug)]
pub struct Under<'a> {
    /// The user namespace that owns every namespace it is born with.
    pub users: BorrowedFd<'a>,
    /// Its PID namespace, or a pidfd that names it; `None` is the caller's or, by its flag, a new one.
    pub pid: Option<BorrowedFd<'a>>,
}

/// Makes a process as [`spawn`] does, in a user namespace, which owns the namespaces that it is born with: by a process
/// between, that enters the user namespace and ends once it has made it. It has every capability there and none elsewhere,
/// and is still the node's user that the caller is.
///
/// `before` runs in the process between, with the caller's rights, and `work` gets what it returned.
///
/// # Errors
/// As [`spawn`]; what setns(2) says.
pub fn spawn_under<T>(
    under: Under<'_>,
    birth: &Birth<'_>,
    before: impl FnOnce() -> T,
    work: impl FnOnce(T) -> u8,
) -> io::Result<Child> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let between = spawn(&Birth::default(), || {
        let done = before();
        // The user namespace last: what a pidfd names may be hidden from everybody but the node's root.
        let entered = under.pid.map_or(Ok(()), |pid| crate::child::enter(pid, libc::CLONE_NEWPID as u64));
        let entered = entered.and_then(|()| crate::child::enter(under.users, libc::CLONE_NEWUSER as u64));
        let made = entered.and_then(|()| clone(birth, Parent::Above, || work(done)));
        let said = match made {
            Ok(child) => i64::from(child.pid),
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        // Nobody to tell of a failure; who reads finds the end.
        let _ = rustix::io::write(&write, &said.to_ne_bytes());
        0
    })?;
    drop(write);
    let mut said = [0; 8];
    let heard = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut said));
    let ended = rustix::process::WaitIdOptions::EXITED;
    let _ = rustix::process::waitid(rustix::process::WaitId::PidFd(between.pidfd.as_fd()), ended);
    if heard? != said.len() {
        return Err(io::Error::from_raw_os_error(libc::ECHILD));
    }
    match i64::from_ne_bytes(said) {
        // It is a child of ours that nobody has reaped, so the number is its own.
        pid @ 1.. => {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
            let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
            Ok(Child { pid: pid.as_raw_nonzero().get().unsigned_abs(), pidfd })
        }
        errno => Err(io::Error::from_raw_os_error(i32::try_from(-errno).unwrap_or(libc::EIO))),
    }
}

/// The call itself. The caller has one thread.
fn clone(birth: &Birth<'_>, parent: Parent, work: impl FnOnce() -> u8) -> io::Result<Child> {
    let mut pidfd: libc::c_int = -1;
    let into_cgroup = if birth.cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    // With the flag the signal is the one that the calling process itself has.
    let (of_parent, exit_signal) = match parent {
        Parent::Caller => (0, libc::SIGCHLD as u64),
        Parent::Above => (libc::CLONE_PARENT as u64, 0),
    };
    let mut args = libc::clone_args {
        flags: birth.namespaces | libc::CLONE_PIDFD as u64 | into_cgroup | of_parent,
        pidfd: (&raw mut pidfd).addr() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal,
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

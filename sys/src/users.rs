//! User namespaces of which only the mapping matters.

use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// Ids in a row, inside and outside; user_namespaces(7), "/proc/pid/uid_map".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl Mapping {
    /// Returns it as the kernel's files take it.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {} {}", self.inside, self.outside, self.count)
    }
}

/// Makes a user namespace with one mapping, of users and groups alike, in which nobody lives. It may be made where a process
/// has many threads.
///
/// # Errors
/// `EPERM` without the right to map these ids; what clone3(2) says.
pub fn create(mapping: Mapping) -> io::Result<OwnedFd> {
    let (pid, pidfd) = clone_idle()?;
    let made = (|| {
        for file in ["uid_map", "gid_map"] {
            // All of it at once: the kernel takes one write.
            File::options().write(true).open(format!("/proc/{pid}/{file}"))?.write_all(mapping.line().as_bytes())?;
        }
        File::open(format!("/proc/{pid}/ns/user")).map(OwnedFd::from)
    })();
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    // Its end is signalled to nobody, so that it is found by this wait alone.
    let options = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), options))?;
    made
}

/// Makes a process in a user namespace of its own, which waits to be killed.
fn clone_idle() -> io::Result<(i64, OwnedFd)> {
    let mut pidfd: libc::c_int = -1;
    let mut args = libc::clone_args {
        flags: (libc::CLONE_NEWUSER | libc::CLONE_PIDFD) as u64,
        pidfd: (&raw mut pidfd).addr() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: `args` is a whole clone_args of the size said, and its pidfd points to an int that lives; without CLONE_VM the
    // child is a copy of this thread alone. Locks that other threads held stay locked in it, and it takes none: it only makes
    // two raw calls that touch no memory of ours, and never returns from them.
    // WHY: unshare(2) of users is refused to a process with threads, and neither nix nor rustix has a clone3.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        0 => loop {
            // SAFETY: numbers only. A child whose parent dies is killed.
            unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
            // SAFETY: a whole mask of the size said, only read. It waits for the signal that ends it.
            unsafe { libc::syscall(libc::SYS_rt_sigsuspend, &raw const NO_SIGNAL, size_of::<u64>()) };
        },
        1.. => {
            // SAFETY: the kernel stored a fresh descriptor there that nobody else owns.
            Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// A mask under which every signal is blocked that can be.
static NO_SIGNAL: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_has_its_mapping_and_no_process() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mapping ids needs root");
            return;
        }
        let users = create(Mapping { inside: 0, outside: 100_000, count: 10 }).unwrap();
        let own = File::open("/proc/self/ns/user").unwrap();
        let inode = |fd: &dyn AsFd| rustix::fs::fstat(fd.as_fd()).unwrap().st_ino;
        assert_ne!(inode(&users), inode(&own));
        assert!(create(Mapping { inside: 0, outside: 0, count: 0 }).is_err());
    }
}

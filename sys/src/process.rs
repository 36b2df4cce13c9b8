//! Processes: what a [`std::process::Command`] becomes before it runs, and signals by pidfd.

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the command start inside a network namespace.
pub fn in_netns(command: &mut Command, ns: OwnedFd) -> &mut Command {
    // SAFETY: the closure makes one raw call on a descriptor that it owns: no allocation, no lock, nothing that a fork of a
    // threaded process forbids.
    unsafe {
        command.pre_exec(move || Ok(move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network))?));
    }
    command
}

/// Lets the command be killed when the thread that starts it ends.
///
/// The thread, not the process: prctl(2), `PR_SET_PDEATHSIG`. A parent that died before the call is noticed too.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = rustix::process::getpid();
    // SAFETY: the closure makes two raw calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() == Some(parent) {
                return Ok(());
            }
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        });
    }
    command
}

/// Sends a signal to the process that a pidfd names; 0 only asks whether it is there.
///
/// # Errors
/// `ESRCH` (no [`std::io::ErrorKind`] of its own) when it was reaped, `EINVAL` for a number that is no signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: u8) -> io::Result<()> {
    // SAFETY: numbers only; no siginfo is passed.
    // WHY: rustix and nix name the signals by enums, which lack the real-time ones.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::c_int::from(signal), 0_usize, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_starts_inside_the_namespace() {
        let ns = crate::netns::create().unwrap();
        let mut command = Command::new("cat");
        command.arg("/proc/net/dev");
        let output = in_netns(&mut command, ns).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().skip(2).count(), 1, "only lo is there: {text}");
    }

    #[test]
    fn command_that_dies_with_its_parent_runs() {
        let mut command = Command::new("true");
        assert!(die_with_parent(&mut command).status().unwrap().success());
    }
}

//! A first process of ours above a container's program: passes signals on, reaps orphans, ends as the program does.
//!
//! It stays the copy of the shim that it was born as, with nothing of it: no descriptor, no capability but `CAP_KILL`, and no
//! system call but those of its work. So there is no program of ours in the container that could be replaced, and whoever
//! may trace it gains the right to send signals. Runs in the child.

use crate::hollow::{Calls, lock_down};
use crate::kernel::raw;
use orlop_sys::child as own;
use orlop_sys::clone::{Birth, spawn};
use orlop_sys::title;
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, WaitStatus, wait};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};

/// What `ps` shows.
const NAME: &std::ffi::CStr = c"orlop-init";

/// Bit of `CAP_KILL`: the program may become another user.
const KILL: u64 = 1 << 5;

/// What it may call.
const CALLS: &[libc::c_long] = &[
    libc::SYS_wait4,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_kill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The last things it does as what it was: it lets its program go, and gives up what it says so by.
    libc::SYS_write,
    libc::SYS_close_range,
];

/// Where what holds its program back is kept while everything else is closed.
const HOLD: i32 = rustix::stdio::raw_stdin();

/// Status of an init that can't go on; its program ends with it where it is the first process of a namespace.
const LOST: u8 = 255;

/// Starts `program` in a child, and serves as its init. Returns the status to end with.
///
/// The program is held back until nothing of the shim is left in its init: it may be one that traces others.
pub(crate) fn be_above(program: impl FnOnce() -> u8) -> Result<u8, Errno> {
    // Before the clone, so that none is lost; the program's mask is emptied before it runs.
    raw(own::block_signals())?;
    // Where it is not the first process of a namespace, orphans come to it all the same.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (held, hold) = pipe_with(PipeFlags::CLOEXEC)?;
    // All are closed by number, and not again.
    let (held, mut hold) = (ManuallyDrop::new(held), ManuallyDrop::new(Some(hold)));
    let child = spawn(&Birth::default(), || {
        // Its own copy: else it would hold itself back.
        *hold = None;
        // The end alone says that there is no init any more.
        match retry_on_intr(|| rustix::io::read(&*held, &mut [0; 1])) {
            Ok(1..) => program(),
            _ => LOST,
        }
    });
    let program = ManuallyDrop::new(raw(child)?).pid;
    give_up_all(hold.as_ref())?;
    Ok(serve(program))
}

/// Gives up everything of the shim's, and tells the program by `hold`, which is closed last.
fn give_up_all(hold: Option<&OwnedFd>) -> Result<(), Errno> {
    let _ = rustix::thread::set_name(NAME);
    // The shim's words name folders of the node.
    title::replace(NAME);
    let hold = hold.ok_or(Errno::BADF)?;
    raw(own::place(hold.as_fd(), HOLD))?;
    raw(own::close_from(HOLD as u32 + 1))?;
    raw(lock_down(KILL, &Calls::new(CALLS)))?;
    // Quiet when it has ended meanwhile: that is heard of next.
    let _ = rustix::io::write(rustix::stdio::stdin(), b"1");
    raw(own::close_from(HOLD as u32))
}

fn serve(program: u32) -> u8 {
    loop {
        match own::wait_for_signal() {
            Ok(signal) if i32::from(signal) == libc::SIGCHLD => {
                if let Some(status) = reap(program) {
                    return status;
                }
            }
            // Quiet when it has ended meanwhile: that is heard of next.
            Ok(signal) => drop(own::send_signal(program, signal)),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(_) => return LOST,
        }
    }
}

/// Reaps everything that has ended; returns how the program ended, once it has.
fn reap(program: u32) -> Option<u8> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get().unsigned_abs() == program {
            ended = Some(code(status));
        }
    }
    ended
}

fn code(status: WaitStatus) -> u8 {
    let byte = |number: i32| u8::try_from(number).unwrap_or(LOST);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => byte(code),
        (None, Some(signal)) => byte(128 + signal),
        (None, None) => LOST,
    }
}

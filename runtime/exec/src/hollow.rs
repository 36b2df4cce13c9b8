//! A process that only waits: an empty root, no capability, no descriptor, no system call but those of waiting.
//!
//! For the first process of a pod. It is never a program of the pod's, and what traces it (a container may be given
//! `CAP_SYS_PTRACE`, and shares its processes) must find nothing in it: neither the node's files nor its namespaces nor
//! rights. Runs in the child.

use crate::kernel::raw;
use crate::mounts;
use orlop_sys::child::{self as own, CapabilitySets, Instruction};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// What such a process may call: wait for children and for a signal, and end.
const CALLS: &[libc::c_long] = &[
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The last thing it does as what it was: see `Hollow::done`.
    libc::SYS_close_range,
];

/// `AUDIT_ARCH_*` of this build, include/uapi/linux/audit.h.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };
/// Offsets in `seccomp_data`.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;

/// What is made of the calling process.
#[derive(Clone, Copy, Debug)]
pub struct Hollow<'a> {
    /// Namespaces it goes into, and the `CLONE_NEW*` flag of each.
    pub joins: &'a [(BorrowedFd<'a>, u64)],
    /// Its standard input, output and error.
    pub null: BorrowedFd<'a>,
    /// The writing end of a pipe, closed when all is done: until then what may trace the process finds the node's files in it,
    /// and must not be there yet.
    pub done: BorrowedFd<'a>,
}

/// Where [`Hollow::done`] is kept while everything else is closed.
const DONE: i32 = 3;

impl Hollow<'_> {
    /// Becomes it. There is no way back.
    ///
    /// # Errors
    /// The kernel's reason; the process must end then.
    pub fn become_it(&self) -> Result<(), Errno> {
        for number in 0..3 {
            raw(own::place(self.null, number))?;
        }
        for (namespace, kind) in self.joins {
            raw(own::enter(*namespace, *kind))?;
        }
        // First: in a user namespace, only who has mounts of its own may make any.
        raw(own::unshare(libc::CLONE_NEWNS as u64))?;
        leave_all_but(mounts::empty()?.as_fd())?;
        raw(own::place(self.done, DONE))?;
        raw(own::close_from(DONE as u32 + 1))?;
        raw(lock_down(0, &Calls::new(CALLS)))?;
        raw(own::close_from(DONE as u32))
    }
}

/// Leaves the calling process `capabilities`, one bit each, and a few system calls. There is no way back.
///
/// # Errors
/// The kernel's reason; the process must end then.
pub(crate) fn lock_down(capabilities: u64, calls: &Calls) -> std::io::Result<()> {
    own::limit_bounding(0)?;
    own::set_ambient(0)?;
    own::set_capabilities(CapabilitySets { effective: capabilities, permitted: capabilities, inheritable: 0 })?;
    own::no_new_privileges()?;
    own::install_filter(calls.filter(), 0)
}

/// Gives the calling process a mount namespace of its own that holds nothing but one mount, so far mounted nowhere.
///
/// # Errors
/// The kernel's reason; the process must end then.
pub fn be_alone_in(root: BorrowedFd<'_>) -> Result<(), Errno> {
    raw(own::unshare(libc::CLONE_NEWNS as u64))?;
    leave_all_but(root)
}

/// Makes one mount the only one of a mount namespace, the calling process's own.
fn leave_all_but(root: BorrowedFd<'_>) -> Result<(), Errno> {
    mounts::set_all_propagation(libc::MS_SLAVE as u32 | libc::MS_REC as u32)?;
    mounts::attach_root(root, 0)?;
    mounts::pivot(root)
}

/// A filter that allows some calls, answers EPERM to everything else, and ends who calls by another architecture's numbers.
/// On the stack: it is made where nothing may be allocated.
pub(crate) struct Calls {
    program: [Instruction; INSTRUCTIONS_MAX],
    len: usize,
}

/// Calls that a filter can allow.
const CALLS_MAX: usize = 8;
/// Instructions around those of the calls.
const AROUND: usize = 6;
const INSTRUCTIONS_MAX: usize = CALLS_MAX + AROUND;

impl Calls {
    /// Makes it of at most [`CALLS_MAX`] calls.
    pub(crate) fn new(calls: &[libc::c_long]) -> Self {
        let calls = &calls[..calls.len().min(CALLS_MAX)];
        let load =
            |offset| Instruction { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: offset };
        let equal = |k, jt, jf| Instruction { code: code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), jt, jf, k };
        let answer = |k| Instruction { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k };
        let mut program = [answer(libc::SECCOMP_RET_KILL_PROCESS); INSTRUCTIONS_MAX];
        program[0] = load(OFFSET_ARCHITECTURE);
        program[1] = equal(ARCHITECTURE, 1, 0);
        // 2 ends the process.
        program[3] = load(OFFSET_NUMBER);
        for (at, call) in calls.iter().enumerate() {
            let left = (calls.len() - at) as u8;
            program[4 + at] = equal(*call as u32, left, 0);
        }
        program[4 + calls.len()] = answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
        program[5 + calls.len()] = answer(libc::SECCOMP_RET_ALLOW);
        Self { program, len: calls.len() + AROUND }
    }

    fn filter(&self) -> &[Instruction] {
        &self.program[..self.len]
    }
}

/// Codes of instructions fit 16 bits; the C library declares them wider.
const fn code(bits: u32) -> u16 {
    bits as u16
}

//! What a fresh process does to itself before it becomes a program: raw calls, no allocation, no lock.
//!
//! Never through the C library where that would tell other threads (`setxid` broadcast) or keep state.
//! Invariant: each function is one kernel call, or one kernel call in a loop.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Highest capability number the interface can carry: two words of 32 bits.
const CAPABILITIES_MAX: u32 = 64;
/// Version of capset(2) with two words; `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// Signals that the kernel has; `_NSIG`.
const SIGNALS: i32 = 64;

/// Strings of execve(2): a list of pointers that ends with a null one.
#[derive(Debug)]
pub struct Words {
    /// Keeps what `pointers` points to; never changed.
    _texts: Vec<std::ffi::CString>,
    pointers: Vec<*const c_char>,
}

/// One instruction of a filter.
pub type Instruction = libc::sock_filter;

/// Sets of capset(2); bit n is capability n.
#[derive(Clone, Copy, Debug)]
pub struct CapabilitySets {
    /// In force.
    pub effective: u64,
    /// May be in force.
    pub permitted: u64,
    /// Kept over execve(2) by programs that ask for it.
    pub inheritable: u64,
}

// === impl Words ===

impl Words {
    /// Prepares words. Allocates: call it before the clone.
    #[must_use]
    pub fn new(texts: Vec<std::ffi::CString>) -> Self {
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _texts: texts, pointers }
    }
}

/// Turns the result of a raw call into a result.
fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// prctl(2) with numbers only.
fn prctl(option: libc::c_int, two: u64, three: u64) -> io::Result<()> {
    // SAFETY: the options used in this file take numbers, no pointers; unused arguments are 0, as the kernel asks.
    check(unsafe { libc::syscall(libc::SYS_prctl, option, two, three, 0_u64, 0_u64) })
}

/// Becomes the program; returns only an error.
#[must_use]
pub fn execute(program: &CStr, argv: &Words, env: &Words) -> io::Error {
    // SAFETY: `program` ends with a null byte; both lists end with a null pointer, and what they point to is owned by the
    // `Words`, which outlive the call.
    // WHY: nix's execve builds the lists on each call, which allocates.
    unsafe { libc::syscall(libc::SYS_execve, program.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Becomes the program that a descriptor is open on; returns only an error. execveat(2) with `AT_EMPTY_PATH`.
#[must_use]
pub fn execute_fd(program: BorrowedFd<'_>, argv: &Words, env: &Words) -> io::Error {
    // SAFETY: as in `execute`; the path is the empty string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Makes `number` mean what `fd` means, also after execve(2).
///
/// # Errors
/// What dup3(2) says.
pub fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: two numbers. What `number` meant before is closed; callers use it only for the lowest numbers of a child that is
    // about to become another program or to close all others, and that drops no `OwnedFd` of its parent's.
    // WHY: rustix's dup2 wants an owned descriptor at the new number.
    let result = unsafe { libc::syscall(libc::SYS_dup3, fd.as_raw_fd(), number, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets every descriptor from `first` up be closed by execve(2).
///
/// # Errors
/// What close_range(2) says; Linux 5.11 has the flag.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: marks descriptors, closes none.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
}

/// Lets every signal do what it does by default, and blocks none. Ignored ones would stay ignored in the program.
///
/// # Errors
/// What rt_sigprocmask(2) says.
pub fn reset_signals() -> io::Result<()> {
    /// The kernel's form of a sigaction; only zeroes are needed: `SIG_DFL`, no flags, no restorer, empty mask.
    static DEFAULT: [u64; 4] = [0; 4];
    static NONE: u64 = 0;
    for signal in 1..=SIGNALS {
        // SAFETY: `DEFAULT` is a whole kernel sigaction (handler, flags, restorer, mask) for a mask of 8 bytes; nothing is
        // written back. SIGKILL and SIGSTOP are refused, which changes nothing.
        // WHY: the C library refuses signals 32 and 33, which it uses itself.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const DEFAULT, 0_usize, size_of::<u64>()) };
    }
    // SAFETY: `NONE` is a whole mask of the size said; nothing is written back.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const NONE, 0_usize, size_of::<u64>())
    })
}

/// Blocks every signal that can be blocked.
///
/// # Errors
/// What rt_sigprocmask(2) says.
pub fn block_signals() -> io::Result<()> {
    // SAFETY: `EVERY` is a whole mask of the size said; nothing is written back.
    // WHY: the C library leaves signals 32 and 33 out, which it uses itself.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const EVERY, 0_usize, size_of::<u64>())
    })
}

/// Every signal, one bit each.
static EVERY: u64 = u64::MAX;

/// Waits for any signal, all of which are blocked, and returns its number.
///
/// # Errors
/// `EINTR` after a stop; what rt_sigtimedwait(2) says.
pub fn wait_for_signal() -> io::Result<u8> {
    // SAFETY: `EVERY` is a whole mask of the size said; neither what is known of the signal nor a time is asked for.
    // WHY: nix names signals by an enum, which lacks the real-time ones.
    let signal =
        unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const EVERY, 0_usize, 0_usize, size_of::<u64>()) };
    u8::try_from(signal).map_err(|_| io::Error::last_os_error())
}

/// Sends a signal to a child that was not reaped yet, so that its number is still its own.
///
/// # Errors
/// What kill(2) says.
pub fn send_signal(child: u32, signal: u8) -> io::Result<()> {
    // SAFETY: numbers only.
    // WHY: as in `wait_for_signal`.
    check(unsafe { libc::syscall(libc::SYS_kill, child, libc::c_int::from(signal)) })
}

/// Sets a resource limit of the calling process; `u64::MAX` is unlimited.
///
/// # Errors
/// `EPERM` when `hard` is above the present one and `CAP_SYS_RESOURCE` is missing.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is a whole rlimit64 that lives; nothing is written back.
    // WHY: rustix and nix name the resources by enums, a plan by number.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, 0_usize) })
}

/// Returns the soft and the hard limit of a resource.
///
/// # Errors
/// `EINVAL` for a resource the kernel does not have.
pub fn limit(resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole rlimit64 that the kernel fills.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, 0_usize, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Drops every capability that `keep` does not name from the bounding set.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn limit_bounding(keep: u64) -> io::Result<()> {
    for capability in (0..CAPABILITIES_MAX).filter(|bit| keep >> bit & 1 == 0) {
        match prctl(libc::PR_CAPBSET_DROP, u64::from(capability), 0) {
            // The kernel knows no capability of this number, nor any above.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// Sets the capabilities of the calling thread. capset(2)
///
/// # Errors
/// `EPERM` where a set asks for more than there is.
pub fn set_capabilities(sets: CapabilitySets) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let word = |set: u64, shift: u32| (set >> shift & u64::from(u32::MAX)) as u32;
    let data =
        [0, 32].map(|shift| [word(sets.effective, shift), word(sets.permitted, shift), word(sets.inheritable, shift)]);
    let header = Header { version: CAPABILITY_VERSION, pid: 0 };
    // SAFETY: version 3 has a header of two words and two records of three words; both live and are only read.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
}

/// Makes the ambient set exactly `set`; its members must be permitted and inheritable.
///
/// # Errors
/// `EPERM` where one is not.
pub fn set_ambient(set: u64) -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for capability in (0..CAPABILITIES_MAX).filter(|bit| set >> bit & 1 == 1) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, u64::from(capability))?;
    }
    Ok(())
}

/// Keeps permitted capabilities when the user changes from root.
///
/// # Errors
/// What prctl(2) says.
pub fn keep_capabilities() -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)
}

/// `PR_SET_NO_NEW_PRIVS`.
///
/// # Errors
/// What prctl(2) says.
pub fn no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Hides memory and descriptors of this process from others of its user, until it becomes another program.
///
/// # Errors
/// What prctl(2) says.
pub fn undumpable() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0)
}

/// Sets the groups, group and user of the calling thread, each as real, effective and saved one.
///
/// # Errors
/// `EPERM` without the capabilities, `EINVAL` for a number that a user namespace does not map.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the list has the length said and is only read.
    // WHY: the C library's wrappers tell every thread of the process by signal; here there is one, fresh from clone.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: three numbers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: three numbers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// Installs a seccomp filter on the calling thread. It cannot be taken off again; see seccomp(2).
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` and no-new-privileges, `EINVAL` for a bad program or flag.
pub fn install_filter(program: &[Instruction], flags: u64) -> io::Result<()> {
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` describes `len` instructions of `program`, which outlives the call; the kernel copies them and does
    // not write through the pointer.
    // WHY: no safe wrapper covers this call; libseccomp would put a C library into every child.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    // With a listener asked for, the result is its descriptor; it is closed on exec, as nobody takes it yet.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Says whether the working folder is reachable from the root: its path is absolute. getcwd(2)
///
/// # Errors
/// What the kernel says: a folder that was removed is `ENOENT`.
pub fn stands_inside_root() -> io::Result<bool> {
    let mut path = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer has the length said, and the kernel writes no more.
    // WHY: the wrappers of nix and rustix allocate, and the C library's hides a path that starts with `(unreachable)`.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    if length < 0 { Err(io::Error::last_os_error()) } else { Ok(path[0] == b'/') }
}

/// Makes new namespaces for the calling process: `CLONE_NEW*` flags.
///
/// # Errors
/// `EINVAL` for any other flag; what unshare(2) says.
pub fn unshare(namespaces: u64) -> io::Result<()> {
    const ALLOWED: u64 = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u64;
    let refused = || io::Error::from_raw_os_error(libc::EINVAL);
    let flags = u32::try_from(namespaces & ALLOWED).map_err(|_| refused())?;
    if namespaces & !ALLOWED != 0 {
        return Err(refused());
    }
    crate::netns::unshare(rustix::thread::UnshareFlags::from_bits_retain(flags))
}

/// Enters namespaces; `fd` is a namespace or a pidfd, `kind` one `CLONE_NEW*` flag, of a pidfd several, checked by the kernel.
///
/// # Errors
/// What setns(2) says.
pub fn enter(fd: BorrowedFd<'_>, kind: u64) -> io::Result<()> {
    // SAFETY: a descriptor and a number; entering a namespace changes no memory and no descriptor.
    // WHY: rustix wants an enum per kind of descriptor; a plan's join may be either.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), kind) })
}

/// Closes every descriptor from `first` up, of a child that runs on in this program and needs none of its parent's.
///
/// # Errors
/// What close_range(2) says.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller is a child whose work never returns to code that owns a descriptor: `clone::spawn` ends it without
    // running destructors of its parent's values.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
}

//! The profile that a container gets when nobody says otherwise.
//!
//! An allow-list: what a program needs that administers nothing. What reaches the node as a whole (mounting, modules, the
//! clock, swapping, tracing of the kernel) is let through with the capability that the kernel asks for too, so that giving
//! a capability is enough. Refused whatever the capabilities: `add_key`, `keyctl`, `request_key` (keyrings are not
//! namespaced), `io_uring_*` and `userfaultfd` (a long list of exploits; programs fall back), `kexec_*`, `swapon`, `swapoff`,
//! `nfsservctl`, `_sysctl`, `uselib`, `ustat`, `sysfs`, `get_kernel_syms`, `create_module`, `query_module`, `migrate_pages`,
//! `move_pages`, `pivot_root`, sockets of AF_ALG and AF_VSOCK.

use crate::capability;
use crate::oci::{LinuxSeccomp, LinuxSyscall, SeccompArg};

/// Always let through.
const ALWAYS: &[&str] = &[
    // Files and folders.
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "file_getattr",
    "file_setattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listmount",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "name_to_handle_at",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "readlink",
    "readlinkat",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "setxattr",
    "setxattrat",
    "stat",
    "statfs",
    "statmount",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    // Reading and writing.
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "pread64",
    "preadv",
    "preadv2",
    "pselect6",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readv",
    "select",
    "sendfile",
    "signalfd",
    "signalfd4",
    "splice",
    "tee",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "vmsplice",
    "write",
    "writev",
    // Memory.
    "brk",
    "cachestat",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_mrelease",
    "remap_file_pages",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    // Processes, threads and signals.
    "arch_prctl",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "modify_ldt",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setpgid",
    "setpriority",
    "setrlimit",
    "setsid",
    "sigaltstack",
    "tgkill",
    "tkill",
    "uprobe",
    "uretprobe",
    "vfork",
    "wait4",
    "waitid",
    // Users, capabilities, confinement.
    "capget",
    "capset",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getresgid",
    "getresuid",
    "getuid",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "seccomp",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
    // Sockets but for `socket` itself, messages and semaphores.
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socketpair",
    // Time. The kernel asks for CAP_SYS_TIME where the two adjust.
    "adjtimex",
    "alarm",
    "clock_adjtime",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "times",
    // The rest.
    "getrandom",
    "sysinfo",
    "uname",
];

/// Let through with a capability.
const WITH: &[(&str, &[&str])] = &[
    ("BPF", &["bpf"]),
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("PERFMON", &["perf_event_open"]),
    (
        "SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "lsm_get_self_attr",
            "lsm_list_modules",
            "lsm_set_self_attr",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount2",
            "unshare",
        ],
    ),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    ("SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("SYS_RAWIO", &["ioperm", "iopl"]),
    ("SYS_TIME", &["clock_settime", "settimeofday"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    ("SYSLOG", &["syslog"]),
];

/// `CLONE_NEW*` of clone(2) and unshare(2). CLONE_NEWTIME is unshare's alone: in clone's flags its bit belongs to the signal.
const NEW_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;
const NEW_TIME: u64 = libc::CLONE_NEWTIME as u64;

/// Personalities without effect on security: Linux, 32-bit Linux, either with UNAME26, and asking. personality(2).
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// Sockets that reach past the sandbox: the hypervisor (CID addressing knows no network namespace), and the kernel's crypto
/// (CVE-2026-31431 and before).
const AF_ALG: u64 = libc::AF_ALG as u64;
const AF_VSOCK: u64 = libc::AF_VSOCK as u64;

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";

/// Returns the default profile for a process whose bounding set is `capabilities`, one bit each.
#[must_use]
pub fn profile(capabilities: u64) -> LinuxSeccomp {
    let has = |name: &str| capability::bit(name).is_some_and(|bit| capabilities & (1 << bit) != 0);
    let mut syscalls = vec![rule(ALWAYS, ALLOW, None)];
    for (needed, calls) in WITH {
        if has(needed) {
            syscalls.push(rule(calls, ALLOW, None));
        }
    }
    syscalls.extend(PERSONALITIES.map(|value| rule(&["personality"], ALLOW, Some(arg(0, "SCMP_CMP_EQ", value, 0)))));
    syscalls.extend(sockets());
    if !has("SYS_ADMIN") {
        syscalls.push(rule(&["clone"], ALLOW, Some(arg(0, "SCMP_CMP_MASKED_EQ", NEW_NAMESPACES, 0))));
        syscalls.push(rule(&["unshare"], ALLOW, Some(arg(0, "SCMP_CMP_MASKED_EQ", NEW_NAMESPACES | NEW_TIME, 0))));
        // Its flags are in memory, where a filter can't look; the C library then takes clone.
        syscalls.push(LinuxSyscall { errno_ret: Some(libc::ENOSYS as u32), ..rule(&["clone3"], ERRNO, None) });
    }
    LinuxSeccomp {
        default_action: ERRNO.to_owned(),
        default_errno_ret: Some(libc::EPERM as u32),
        syscalls,
        ..LinuxSeccomp::default()
    }
}

/// The two first, then every other: the first rule that matches decides. The kernel cuts a family to 32 bits, so the high
/// ones must not hide it.
fn sockets() -> Vec<LinuxSyscall> {
    let refuse = |family| {
        let refused = rule(&["socket"], ERRNO, Some(arg(0, "SCMP_CMP_MASKED_EQ", 0xFFFF_FFFF, family)));
        LinuxSyscall { errno_ret: Some(libc::EPERM as u32), ..refused }
    };
    vec![refuse(AF_ALG), refuse(AF_VSOCK), rule(&["socket"], ALLOW, None)]
}

fn rule(names: &[&str], action: &str, arg: Option<SeccompArg>) -> LinuxSyscall {
    LinuxSyscall {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: action.to_owned(),
        errno_ret: None,
        args: arg.into_iter().collect(),
    }
}

fn arg(index: u32, op: &str, value: u64, value_two: u64) -> SeccompArg {
    SeccompArg { index, value, value_two, op: op.to_owned() }
}

//! What the adapter is told, and the bounds it keeps.

use std::path::PathBuf;
use std::time::Duration;

/// What the adapter is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of sockets and sandboxes, absolute; made with mode 0700.
    pub run_dir: PathBuf,
    /// The shim binary, absolute.
    pub shim_path: PathBuf,
    /// Cgroup below which everything of this daemon lives, in every hierarchy, starting with `/`.
    pub cgroup_root: String,
    /// The file that a sandbox without DNS settings gets a copy of.
    pub resolv_conf: PathBuf,
    /// What the spawner and the shims write to standard error; `None` is `/dev/null`.
    pub shim_log: Option<PathBuf>,
    /// Bytes of output in one log line; a longer one is written in parts.
    pub log_line_bytes_max: u32,
}

impl Config {
    /// Makes a configuration with the defaults of all that can have one.
    #[must_use]
    pub fn new(run_dir: impl Into<PathBuf>, shim_path: impl Into<PathBuf>, cgroup_root: impl Into<String>) -> Self {
        Self {
            run_dir: run_dir.into(),
            shim_path: shim_path.into(),
            cgroup_root: cgroup_root.into(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            shim_log: None,
            log_line_bytes_max: LOG_LINE_BYTES_MAX,
        }
    }
}

/// What the kubelet and other runtimes take for a log line.
pub const LOG_LINE_BYTES_MAX: u32 = 16 * 1024;

// === bounds on waiting: every one is far above what is measured and below the kubelet's two minutes ===

/// The first datagrams of a connection.
pub(crate) const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// A started spawner listening.
pub(crate) const SPAWNER_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks for the spawner's socket.
pub(crate) const SPAWNER_PAUSE: Duration = Duration::from_millis(2);
/// A spawner that was asked to end being gone.
pub(crate) const SPAWNER_END_WITHIN: Duration = Duration::from_secs(5);
/// A fork and a socket.
pub(crate) const SPAWN_WITHIN: Duration = Duration::from_secs(10);
/// Namespaces, a tmpfs, cgroups in every hierarchy; slow on a host that frees thousands of network namespaces.
pub(crate) const SET_UP_WITHIN: Duration = Duration::from_secs(20);
/// Cgroup, clone, some fifty mounts, exec; a mount source may be slow.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(60);
/// Clone into existing namespaces, exec.
pub(crate) const EXEC_START_WITHIN: Duration = Duration::from_secs(20);
/// What the shim does without waiting.
pub(crate) const ASK_WITHIN: Duration = Duration::from_secs(10);
/// Killing and reaping every process of a container; one in uninterruptible sleep takes longer, and is tried again.
pub(crate) const DROP_TASK_WITHIN: Duration = Duration::from_secs(20);
/// Killing every process of a container: the shim itself gives up after 10 s, and says who is left.
pub(crate) const KILL_WITHIN: Duration = Duration::from_secs(15);
/// Killing and reaping every process of a sandbox by its shim, before it is done without the shim.
pub(crate) const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(15);
/// A process that was killed, or said it exits, being gone.
pub(crate) const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Files of our own run folder.
pub(crate) const FILES_WITHIN: Duration = Duration::from_secs(30);
/// A look at a mount source, a device or a log folder: somebody else's file system, perhaps a dead server's.
pub(crate) const FOREIGN_WITHIN: Duration = Duration::from_secs(10);
/// An exec that was killed being reaped.
pub(crate) const EXEC_KILLED_WITHIN: Duration = Duration::from_secs(5);
/// One address of a sandbox's loopback taking a connection.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Output of an exec that ended, while something it started still holds its pipes.
pub(crate) const DRAIN_WITHIN: Duration = Duration::from_millis(250);

// === bounds on number and size ===

/// Requests waiting to be sent to one shim.
pub(crate) const QUEUE_MAX: usize = 64;
/// Requests sent to one shim and not answered.
pub(crate) const UNANSWERED_MAX: usize = 256;
/// Threads that may hang in somebody else's file system at once; of tokio's 512.
pub(crate) const FOREIGN_MAX: usize = 64;
/// Threads working on the run folder and on cgroups.
pub(crate) const OWN_MAX: usize = 16;
/// Bytes of an image's `/etc/passwd` or `/etc/group`. CVE-2024-40635 and others: a hostile one must not fill memory.
pub(crate) const USER_FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Bytes of the node's `/etc/resolv.conf`.
pub(crate) const RESOLV_CONF_BYTES_MAX: u64 = 64 * 1024;
/// Lines of `/etc/hosts` that a sandbox may bring; Docker's command line fits some ten thousand.
pub(crate) const HOSTS_MAX: usize = 65_536;

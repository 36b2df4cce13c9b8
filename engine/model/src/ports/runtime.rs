//! Sandboxes and processes, and what a caller says and hears of them.

use super::{Answer, not_built};
use crate::container::{ContainerSpec, LogPath, Resources};
use crate::container_state::{Checked, Ended};
use crate::error::Result;
use crate::id::{ContainerId, SandboxId};
use crate::image::ImageConfig;
use crate::sandbox::SandboxSpec;
use crate::sandbox_state::Attachment;
use crate::streams::{Attached, Streams, TerminalSize, WantedStreams};
use crate::time::Timestamp;
use crate::usage::{Usage, UsageOf};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Sandboxes and processes: spawner, shims and what they run.
pub trait Runtime: Send + Sync {
    /// Says who hears of ends that nobody is waiting for. Called once, before anything else.
    fn report_to(&self, listener: Arc<dyn RuntimeListener>);

    /// Starts the shim of a sandbox, which makes its cgroup and namespaces, sysctls and host name included.
    fn raise<'a>(&'a self, id: &'a SandboxId, spec: &'a SandboxSpec) -> Answer<'a, Result<()>>;

    /// Returns descriptors for work on the sandbox's network namespace, made by the shim: the daemon never enters it.
    fn network_namespace<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<NetworkNamespace>>;

    /// Writes the `/etc/hosts` that a sandbox's containers see anew, now that its addresses are known. Only asked for where
    /// the sandbox names its networks: a pod's is the kubelet's business.
    fn write_hosts<'a>(
        &'a self,
        _id: &'a SandboxId,
        _spec: &'a SandboxSpec,
        _attachments: &'a [Attachment],
    ) -> Answer<'a, Result<()>> {
        not_built("writing /etc/hosts after an attach")
    }

    /// Kills every process of the sandbox, ends its shim, drops its namespaces and cgroup.
    ///
    /// Returns the ends of containers that its shim knew, seen or unseen by the daemon. Works without a shim: by cgroup.
    fn drop_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<Vec<(ContainerId, Ended)>>>;

    /// Says what is left of a sandbox, for recovery. Connects to its shim when there is one, and from then on reports.
    fn observe<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<Observed>>;

    /// Lists every sandbox of which shim, cgroup or files are left, for recovery.
    fn leftovers(&self) -> Answer<'_, Result<Vec<SandboxId>>>;

    /// Checks all that can be checked before a process exists: user, command, mount sources, profiles, limits.
    /// `rootfs` is the assembled root as a detached mount.
    fn check<'a>(&'a self, start: Start<'a>) -> Answer<'a, Result<Checked>>;

    /// Starts the process of a container. A program that can't run is no failure but an end that never started.
    fn start<'a>(&'a self, start: Start<'a>) -> Answer<'a, Result<Launched>>;

    /// Sends a signal to the first process of a container. Quiet when it has ended.
    fn signal<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId, signal: u8) -> Answer<'a, Result<()>>;

    /// Kills every process of a container, forked ones included. Quiet when it has ended.
    fn kill<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>>;

    /// Freezes every process of a container.
    fn freeze<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>>;

    /// Thaws every process of a container.
    fn thaw<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>>;

    /// Kills what is left of a container, lets the shim forget it, drops its cgroup. Quiet when all is gone.
    fn drop_task<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>>;

    /// Runs a program in a running container, collects its output and waits for its end.
    fn exec<'a>(&'a self, exec: Exec<'a>) -> Answer<'a, Result<ExecOutput>>;

    /// Runs a program in a running container, its streams in the caller's hands; `output_bytes_max` has no meaning here.
    /// A program that can't run is no failure but an end.
    fn exec_open<'a>(&'a self, exec: Exec<'a>, io: ExecIo) -> Answer<'a, Result<OpenExec>>;

    /// Checks what would keep a program from being run now, such as a user who is not there. Runs nothing.
    fn check_exec<'a>(&'a self, exec: Exec<'a>) -> Answer<'a, Result<()>>;

    /// Gives a client its share in the streams of a running container. Taking standard input needs a container that was
    /// created with it.
    fn attach<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        wanted: WantedStreams,
    ) -> Answer<'a, Result<Attached>>;

    /// Closes the standard input of a container for good: no client gets it any more, and its process reads the end once
    /// those that have it have dropped it. A terminal has no such end. Quiet when that has happened.
    fn close_stdin<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>>;

    /// Sets the size of a running container's terminal; `InvalidArgument` when it has none.
    fn resize<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId, size: TerminalSize) -> Answer<'a, Result<()>>;

    /// Connects to a TCP port of a sandbox, on its own loopback: 127.0.0.1 first, then ::1. The socket does not block.
    fn connect<'a>(&'a self, sandbox: &'a SandboxId, port: u16) -> Answer<'a, Result<OwnedFd>>;

    /// Lists the processes of a running container, by their ids on the node.
    fn processes<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<Vec<u32>>>;

    /// Opens the root folder of a running container as its processes see it, mounts included. `O_PATH`: paths below it
    /// are opened with openat2(2) and `RESOLVE_IN_ROOT`.
    fn root_of<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<OwnedFd>>;

    /// Lets a running container's log go on in a fresh file at its path, which is there when this returns: whoever keeps
    /// logs has moved the old one away. Leaves no file behind when the container does not run.
    fn reopen_log<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        log: &'a LogPath,
    ) -> Answer<'a, Result<()>>;

    /// Changes what a running container may use: all of it or, with a failure, nothing.
    fn update<'a>(&'a self, update: Update<'a>) -> Answer<'a, Result<()>>;

    /// Says whether this node can express such limits at all; for a container that has no cgroup yet. Does no IO.
    fn check_limits(&self, limits: &Resources) -> Result<()>;

    /// Reads what sandboxes and containers use, in this order; `None` for one that has no cgroup any more.
    fn usage<'a>(&'a self, of: &'a [UsageOf<'a>]) -> Answer<'a, Result<Vec<Option<Usage>>>>;

    /// Says whether sandboxes can be run now; a failure says what is missing.
    fn ready(&self) -> Answer<'_, Result<()>>;
}

/// Who hears of ends that nobody is waiting for. Called from any task; must not block.
pub trait RuntimeListener: Send + Sync {
    /// A container ended.
    fn ended(&self, sandbox: &SandboxId, container: &ContainerId, ended: Ended);
    /// A shim died by itself.
    fn shim_gone(&self, sandbox: &SandboxId);
}

/// Descriptors for work on a network namespace.
#[derive(Debug)]
pub struct NetworkNamespace {
    /// The namespace itself (`/proc/…/ns/net`), for `IFLA_NET_NS_FD`.
    pub namespace: OwnedFd,
    /// A `NETLINK_ROUTE` socket made inside.
    pub route_socket: OwnedFd,
}

/// What is left of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// No shim; processes may be left, by cgroup.
    NoShim {
        /// Ends that its shim wrote down before it died.
        ended: Vec<(ContainerId, Ended)>,
    },
    /// A shim that answers.
    Shim {
        /// Its tasks.
        tasks: Vec<(ContainerId, ObservedTask)>,
    },
}

/// What a shim says of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedTask {
    /// Its process runs.
    Running {
        /// Process id on the node.
        pid: u32,
        /// When it was started.
        started: Timestamp,
        /// Whether its processes are frozen.
        frozen: bool,
    },
    /// It ended.
    Ended(Ended),
}

/// All that a container's start depends on.
#[derive(Debug)]
pub struct Start<'a> {
    /// The sandbox.
    pub sandbox_id: &'a SandboxId,
    /// Its spec.
    pub sandbox: &'a SandboxSpec,
    /// The container.
    pub id: &'a ContainerId,
    /// Its spec.
    pub container: &'a ContainerSpec,
    /// What it may use.
    pub resources: &'a Resources,
    /// Its image's settings.
    pub image: &'a ImageConfig,
    /// The assembled root, a detached mount.
    pub rootfs: OwnedFd,
}

/// What came of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launched {
    /// The program runs.
    Running {
        /// Process id on the node.
        pid: u32,
        /// When it was started.
        at: Timestamp,
    },
    /// The program could not be run.
    Failed(Ended),
}

/// A change of what a running container may use.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The sandbox.
    pub sandbox_id: &'a SandboxId,
    /// Its spec.
    pub sandbox: &'a SandboxSpec,
    /// The container.
    pub id: &'a ContainerId,
    /// What it may use now.
    pub old: &'a Resources,
    /// What it may use from now on.
    pub new: &'a Resources,
}

/// A program to run in a running container.
#[derive(Clone, Debug)]
pub struct Exec<'a> {
    /// The sandbox.
    pub sandbox_id: &'a SandboxId,
    /// Its spec.
    pub sandbox: &'a SandboxSpec,
    /// The container.
    pub id: &'a ContainerId,
    /// Its spec: user, environment, capabilities and profile are the container's.
    pub container: &'a ContainerSpec,
    /// What it may use.
    pub resources: &'a Resources,
    /// Its image's settings.
    pub image: &'a ImageConfig,
    /// Who it runs as, as found at creation.
    pub checked: &'a Checked,
    /// In what it differs from the container's own.
    pub overrides: &'a ExecOverrides,
    /// Program and arguments; not empty.
    pub command: &'a [String],
    /// Killed, with all it started, when it takes longer; `None` waits as long as it takes.
    pub timeout: Option<Duration>,
    /// Bytes kept of each output; what follows is read and dropped.
    pub output_bytes_max: usize,
}

/// In what a program run in a container differs from the container's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOverrides {
    /// `user`, `uid`, `user:group` or `uid:gid`, names looked up in the container as it is now; empty keeps the container's.
    pub user: String,
    /// Added to the container's environment; a name that is there is replaced.
    pub env: Vec<(String, Vec<u8>)>,
    /// Working folder, absolute; empty keeps the container's.
    pub working_dir: String,
    /// All capabilities; the container's filter stays.
    pub privileged: bool,
}

/// What a program wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit status; 128 + signal when a signal ended it.
    pub exit_code: i32,
}

/// What a program run with streams is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecIo {
    /// Streams wanted; the others are `/dev/null`.
    pub streams: WantedStreams,
    /// A terminal of this size, or pipes. With a terminal, output is one stream.
    pub terminal: Option<TerminalSize>,
}

/// A program that runs, or could not be run. Dropped before its end, it is killed with all it started: who wants to let it
/// run without a client keeps `ended` until it is.
pub struct OpenExec {
    /// Process id on the node; 0 when it could not be run.
    pub pid: u32,
    /// Its streams. With a terminal, `stdout` is that terminal, wanted or not: its size is set on it, by `TIOCSWINSZ`. What it
    /// reads is the end when `EIO` is: no process has the terminal open.
    pub streams: Streams,
    /// Waits for its end and returns the exit status, 128 + signal when a signal ended it; 126 or 127 when it could not be
    /// run, with the reason. To be dropped before the end is to be killed.
    pub ended: Answer<'static, Result<ExecEnded>>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecEnded {
    /// Exit status; 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// Why it could not be run, when it could not.
    pub never_started: Option<String>,
}

impl std::fmt::Debug for OpenExec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenExec").field("pid", &self.pid).field("streams", &self.streams).finish_non_exhaustive()
    }
}

//! What the core needs of the world. Each port has two real implementations, the adapter and the simulator.
//!
//! Every method may be called again after a crash between two steps, and must then be quiet. All answer in bounded time:
//! the adapter owns the bound and its name. Methods return boxed futures, so that ports can be trait objects.

use crate::container::{ContainerSpec, LogPath, Mount, Resources, RootfsAccess};
use crate::container_state::{Checked, ContainerState, Ended};
use crate::effect::{Effect, Moment};
use crate::error::{Failure, Result};
use crate::files::{FileChange, FileStat, Packing, Unpack};
use crate::id::{ContainerId, ImageId, Namespace, SandboxId};
use crate::image::{Commit, FsUsage, Image, ImageConfig};
use crate::image_removal::{Removal, Removed};
use crate::pull::{PullProgress, PullRequest, Pulled};
use crate::record::{ContainerAsked, Loaded, SandboxAsked};
use crate::sandbox::{IdMapping, SandboxSpec};
use crate::sandbox_state::{Attachment, SandboxState};
use crate::streams::{Attached, Streams, TerminalSize, WantedStreams};
use crate::time::Timestamp;
use crate::usage::{InterfaceUsage, LayerUsage, Usage, UsageOf};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A future that a port returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

// === Runtime ===

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

// === Images ===

/// Images and root file systems.
pub trait Images: Send + Sync {
    /// Pulls an image; joins a pull of the same under way. The listener hears how far it is, joined or not. A pull whose
    /// callers have all dropped this future is given up, and leaves nothing behind.
    fn pull<'a>(&'a self, request: &'a PullRequest, listener: &'a dyn PullListener) -> Answer<'a, Result<Pulled>>;

    /// Gives an image, found as in [`Images::find`], one more name, which `owner` holds; takes that name from the image that
    /// has it. A name without a tag is that of the tag `latest`. `NotFound` when there is no such image.
    fn tag<'a>(&'a self, image: &'a str, name: &'a str, owner: &'a Namespace) -> Answer<'a, Result<ImageId>>;

    /// Makes an image of what a container's image has and what the container wrote. `NotFound` when either is gone.
    fn commit<'a>(&'a self, _commit: &'a Commit) -> Answer<'a, Result<ImageId>> {
        not_built("making an image of a container")
    }

    /// Finds an image by id, by unique part of an id, tag, digest or short name; `None` when it is not there.
    fn find<'a>(&'a self, reference: &'a str) -> Answer<'a, Result<Option<Image>>>;

    /// Lists every image, by id.
    fn list(&self) -> Answer<'_, Result<Vec<Image>>>;

    /// Takes names from an image, found as in [`Images::find`], and the image with them: see
    /// [`crate::image_removal::decide`]. Quiet when it is not there.
    fn remove<'a>(&'a self, removal: &'a Removal) -> Answer<'a, Result<Removed>>;

    /// Says what images use.
    fn usage(&self) -> Answer<'_, Result<FsUsage>>;

    /// Makes the writable layer of a container on an image. The image's layers stay until it is dropped.
    fn prepare<'a>(&'a self, container: &'a ContainerId, image: &'a ImageId) -> Answer<'a, Result<()>>;

    /// Assembles the root file system of a prepared container: a detached mount, at no path of the node. With `ids`, which
    /// must be the same each time, its files belong to users as that mapping shows them, and what is written to users of it.
    fn rootfs<'a>(&'a self, container: &'a ContainerId, ids: Option<IdMapping>) -> Answer<'a, Result<OwnedFd>>;

    /// Returns the settings of the image that a prepared container was made from, also when its names are gone.
    fn config_of<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<ImageConfig>>;

    /// Says what the writable layers of containers take, in this order; `None` where that is not known yet. Counting goes
    /// on beside it, so that a layer with millions of files holds up nobody: a figure may be some seconds old.
    fn layer_usage<'a>(&'a self, containers: &'a [ContainerId]) -> Answer<'a, Result<Vec<Option<LayerUsage>>>>;

    /// Lists what a container has changed of its image's files, in the order of paths.
    fn changes<'a>(&'a self, _container: &'a ContainerId) -> Answer<'a, Result<Vec<FileChange>>> {
        not_built("comparing a container's files with its image")
    }

    /// Deletes the writable layer of a container. Quiet when it is not there.
    fn drop_rootfs<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<()>>;

    /// Lists every container that has a writable layer, for recovery.
    fn leftovers(&self) -> Answer<'_, Result<Vec<ContainerId>>>;

    /// Assembles what the processes of a prepared container that does not run would see, as far as it holds files: its root
    /// with the folders and files of the node that are mounted in it, read-only where they would be. At no path of the node.
    fn root_with_mounts<'a>(
        &'a self,
        _container: &'a ContainerId,
        _mounts: &'a [Mount],
        _access: RootfsAccess,
    ) -> Answer<'a, Result<OwnedFd>> {
        not_built("assembling a root with its mounts")
    }

    /// Looks at a path below a root. `NotFound` when there is nothing.
    fn stat_file<'a>(&'a self, _root: OwnedFd, _path: &'a Path) -> Answer<'a, Result<FileStat>> {
        not_built("looking at a container's files")
    }

    /// Packs what a path below a root names into a tar archive: a folder with all below it, file systems of the kernel left
    /// out. The names in it begin with [`FileStat::name`].
    fn pack_files<'a>(&'a self, _root: OwnedFd, _path: &'a Path) -> Answer<'a, Result<Packing>> {
        not_built("packing a container's files")
    }

    /// Unpacks an archive into a folder below a root. Nothing ever leaves the root, whoever changes it meanwhile.
    /// `Denied` where it is read-only, `InvalidArgument` for an archive or a place that can't be right.
    fn unpack_files<'a>(&'a self, _root: OwnedFd, _unpack: Unpack) -> Answer<'a, Result<()>> {
        not_built("unpacking files into a container")
    }
}

/// Who hears how far a pull is. Called from the task that waits for it, each time with the whole, no more often than
/// [`crate::pull::TELL_PAUSE`] and once more before its end; must not block.
pub trait PullListener: Send + Sync {
    /// Says how far the pull is.
    fn hear(&self, progress: &PullProgress);
}

/// The listener of those who only want the image.
#[derive(Clone, Copy, Debug)]
pub struct Unheard;

impl PullListener for Unheard {
    fn hear(&self, _progress: &PullProgress) {}
}

// === Network ===

/// Networks of sandboxes.
pub trait Network: Send + Sync {
    /// Attaches a sandbox to its networks. Detaches what was attached when one fails.
    fn attach<'a>(
        &'a self,
        id: &'a SandboxId,
        spec: &'a SandboxSpec,
        namespace: NetworkNamespace,
    ) -> Answer<'a, Result<Vec<Attachment>>>;

    /// Detaches a sandbox from its networks and gives its addresses back. Works when the namespace is gone.
    fn detach<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<()>>;

    /// Says what passed over the interfaces of sandboxes, in this order, that of the default network first. One that is not
    /// attached has none.
    fn usage<'a>(&'a self, ids: &'a [SandboxId]) -> Answer<'a, Result<Vec<Vec<InterfaceUsage>>>>;

    /// Lists every sandbox that holds an address, for recovery.
    fn leftovers(&self) -> Answer<'_, Result<Vec<SandboxId>>>;

    /// Says whether sandboxes can be attached now; a failure says what is missing.
    fn ready(&self) -> Answer<'_, Result<()>>;
}

// === Records ===

/// Records on disk, two for each object.
pub trait Records: Send + Sync {
    /// Loads everything. A record that can't be read is set aside and named, never fatal.
    fn load(&self) -> Answer<'_, Result<Loaded>>;

    /// Writes what was asked for, before anything is done.
    fn put_sandbox<'a>(&'a self, asked: &'a SandboxAsked) -> Answer<'a, Result<()>>;

    /// Writes what is.
    fn put_sandbox_state<'a>(&'a self, id: &'a SandboxId, state: &'a SandboxState) -> Answer<'a, Result<()>>;

    /// Deletes both records. Quiet when they are not there.
    fn forget_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<()>>;

    /// Writes what was asked for, before anything is done.
    fn put_container<'a>(&'a self, asked: &'a ContainerAsked) -> Answer<'a, Result<()>>;

    /// Writes what is.
    fn put_container_state<'a>(&'a self, id: &'a ContainerId, state: &'a ContainerState) -> Answer<'a, Result<()>>;

    /// Deletes both records. Quiet when they are not there.
    fn forget_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, Result<()>>;
}

// === Clock ===

/// Time, randomness and tasks: all that would make a run unrepeatable.
pub trait Clock: Send + Sync {
    /// Returns the wall clock.
    fn now(&self) -> Timestamp;
    /// Waits until the wall clock reaches `at`.
    fn sleep_until(&self, at: Timestamp) -> Answer<'static, ()>;
    /// Returns 32 random bytes.
    fn random(&self) -> [u8; 32];
    /// Runs a named task beside this one. Its owner learns of its end through what it sends.
    fn spawn(&self, name: &'static str, task: Answer<'static, ()>);
}

// === Failpoints ===

/// Where tests interfere: told of every effect before and after it. Called from any task or thread.
pub trait Failpoints: Send + Sync {
    /// Decides what happens at this moment. The daemon's may end the process: that is what it is for.
    fn reach(&self, effect: Effect, moment: Moment) -> Verdict;
}

/// What happens at a moment around an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All goes on.
    Pass,
    /// All goes on, later.
    Hold(Duration),
    /// The effect counts as failed; after it, though it is done.
    Fail(Failure),
    /// The daemon has died, as far as a simulation goes: who asked never goes on.
    Dead,
}

/// The failpoints of service: there are none.
#[derive(Clone, Copy, Debug)]
pub struct Unhindered;

impl Failpoints for Unhindered {
    fn reach(&self, _effect: Effect, _moment: Moment) -> Verdict {
        Verdict::Pass
    }
}

/// All ports, as the use cases hold them.
#[derive(Clone)]
pub struct Ports {
    /// Sandboxes and processes.
    pub runtime: Arc<dyn Runtime>,
    /// Images and root file systems.
    pub images: Arc<dyn Images>,
    /// Networks.
    pub network: Arc<dyn Network>,
    /// Records.
    pub records: Arc<dyn Records>,
    /// Time, randomness, tasks.
    pub clock: Arc<dyn Clock>,
    /// Where tests interfere.
    pub failpoints: Arc<dyn Failpoints>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

/// What a part answers that does not have this yet.
fn not_built<T>(what: &'static str) -> Answer<'static, Result<T>> {
    let failure = Failure::new(crate::error::ErrorKind::Unsupported, format!("{what} is not built yet in orlop"));
    Box::pin(async move { Err(failure) })
}

/// A failure that a port's caller can't be blamed for.
#[must_use]
pub fn internal(message: impl Into<String>) -> Failure {
    Failure::new(crate::error::ErrorKind::Internal, message)
}

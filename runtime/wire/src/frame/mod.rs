//! Messages: what a client asks, what a server answers, and what it reports by itself.
//!
//! ```text
//! client → server   Hello{min, max, features}           the first datagram each way, of a form that never changes
//! server → client   Hello{min, max, features} + pidfd   slot 0 is the server's own pidfd
//! client → server   number, Request (+ slots)
//! server → client   Reply number, Reply (+ slots)       replies may come in any order
//! server → client   Event                               unnumbered, to every connection
//! ```
//!
//! The spawner listens on `<run>/spawner.sock`, a shim on `<dir>/shim.sock`. Such a path may be longer than the 107 bytes
//! of a socket address: both sides open the folder (`O_PATH`) and name the socket `/proc/self/fd/<n>/shim.sock`.
//!
//! What always holds: a shim sends [`Reply::Started`] before the [`Event::Exited`] of the same container, and writes an end
//! to `<dir>/exits/<container>` before it sends it. A connection that does not read its events is closed by the shim:
//! the daemon connects again and asks by [`Request::List`]. Every request may come twice and is then quiet.

mod codec;
mod hello;

pub use codec::{decode_heard, decode_request, encode_event, encode_reply, encode_request};
pub use hello::{FEATURES, Hello, STREAMS, VERSION_MAX, VERSION_MIN};

use crate::exit::{ExitRecord, ExitStatus};
use crate::plan::{IdMap, Plan, Slot};
use serde::{Deserialize, Serialize};

/// Name of the spawner's socket in the run folder.
pub const SPAWNER_SOCKET: &str = "spawner.sock";
/// Name of a shim's socket in its sandbox's folder.
pub const SHIM_SOCKET: &str = "shim.sock";
/// Name of the folder of exit records in a sandbox's folder.
pub const EXITS_DIR: &str = "exits";

/// Bytes of an encoded message, wherever it travels. execve(2) takes about 2 MiB of arguments and environment here;
/// mounts and a seccomp program come on top.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of a container or sandbox id; the model allows 128.
pub const ID_BYTES_MAX: usize = 128;
/// Descriptors in one datagram: the kernel's `SCM_MAX_FD` is 253, and one is kept for a body in a memfd.
pub const SLOTS_MAX: usize = 252;
/// Execs of one container at once; the shim answers `EAGAIN` beyond it. A probe storm must not fill the process table.
pub const EXECS_MAX: usize = 64;
/// Clients attached to one container at once; the shim answers `EAGAIN` beyond it.
pub const CLIENTS_MAX: usize = 32;

/// Why bytes are not a message, or a message can't be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More than [`BODY_BYTES_MAX`].
    #[error("a message of {0} bytes is larger than {BODY_BYTES_MAX}")]
    TooLarge(usize),
    /// Not a message of this protocol.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// The first datagram is not a `Hello`.
    #[error("the peer does not speak this protocol")]
    NotHello,
    /// No version both sides speak.
    #[error("no common version: the peer speaks {min} to {max}, we speak {VERSION_MIN} to {VERSION_MAX}")]
    NoCommonVersion {
        /// The peer's oldest.
        min: u32,
        /// The peer's newest.
        max: u32,
    },
    /// Postcard could not encode; a fault of ours.
    #[error("a message can't be encoded")]
    Unencodable,
}

/// What a client asks of the spawner or of a shim. New ones go to the end; a server answers [`Reply::Unsupported`] to
/// those it does not know or that are not its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    // === to the spawner ===
    /// Starts a shim; answered by [`Reply::Spawned`] once its socket can be connected to. One that lives is returned.
    Spawn {
        /// Id of its sandbox.
        sandbox: String,
        /// Its folder, absolute: holds the socket and the exit records.
        dir: String,
    },
    /// Asks the spawner whether it has shims: [`Reply::Shims`].
    Shims,
    /// Ends the spawner once the reply is sent: [`Reply::Done`]. Refused with `EBUSY` while a shim lives.
    End,

    // === to a shim ===
    /// Makes namespaces, sysctls, host name, `/dev/shm` and cgroup of the sandbox: [`Reply::Done`]. Quiet when done already.
    SetUp(SetUp),
    /// Asks for the network namespace: [`Reply::NetworkNamespace`]; `EINVAL` when the sandbox has the node's.
    NetworkNamespace,
    /// Starts a container: [`Reply::Started`] or [`Reply::Failed`]. One that runs or has run is reported, not started again.
    Start(Start),
    /// Sends a signal to the first process: [`Reply::Done`]. Quiet when it has ended.
    Signal {
        /// Which container.
        container: String,
        /// Signal number.
        signal: u8,
    },
    /// Kills every process of a container, by cgroup: [`Reply::Done`]. Quiet when it has ended.
    Kill {
        /// Which container.
        container: String,
    },
    /// Freezes every process of a container: [`Reply::Done`].
    Freeze {
        /// Which container.
        container: String,
    },
    /// Thaws every process of a container: [`Reply::Done`].
    Thaw {
        /// Which container.
        container: String,
    },
    /// Kills what is left of a container, removes its cgroup, forgets it with its exit record: [`Reply::Done`].
    /// Quiet when it is not known.
    DropTask {
        /// Which container.
        container: String,
    },
    /// Runs a program in a container: [`Reply::ExecStarted`] or [`Reply::Failed`], later [`Event::ExecExited`]. With a terminal
    /// in its plan, no stream is sent along.
    Exec(Exec),
    /// Kills an exec with all it started: [`Reply::Done`]. Quiet when it has ended.
    KillExec {
        /// Which container.
        container: String,
        /// Number given by [`Exec`].
        exec: u64,
    },
    /// Asks for every task, ended ones included until they are dropped: [`Reply::Tasks`].
    List,
    /// Replaces the log file of a container: [`Reply::Done`].
    ReopenLog {
        /// Which container.
        container: String,
        /// The new file, open for appending.
        log: Slot,
    },
    /// Kills every process of the sandbox, removes its cgroups, answers [`Reply::Down`] with every end, and exits.
    ShutDown,
    /// Asks for the sandbox's `/dev/shm`, for a container of another one: [`Reply::Shm`].
    Shm,
    /// Asks for TCP sockets made in the sandbox's network namespace, which is the node's for some: [`Reply::TcpSockets`].
    TcpSockets,
    /// Gives a client its share in the streams of a running container: [`Reply::Attached`].
    Attach(Attach),
    /// Closes the shim's end of a container's standard input: [`Reply::Done`]. Quiet when it is closed, or its process gone.
    /// A terminal has no such end; of one, only later clients are kept away.
    CloseStdin {
        /// Which container.
        container: String,
    },
    /// Sets the size of a running container's terminal: [`Reply::Done`]; `EINVAL` when it has none.
    Resize {
        /// Which container.
        container: String,
        /// Lines.
        rows: u16,
        /// Characters of a line.
        columns: u16,
    },
    /// Asks for the pidfd of a running container's first process: [`Reply::FirstProcess`].
    FirstProcess {
        /// Which container.
        container: String,
    },
}

/// Number of requests known; a tag beyond it comes from a newer client.
const REQUESTS: u32 = 22;

/// What a sandbox consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetUp {
    /// Host name; `None` keeps the node's.
    pub hostname: Option<String>,
    /// Network namespace.
    pub network: Scope,
    /// IPC namespace.
    pub ipc: Scope,
    /// UTS namespace.
    pub uts: Scope,
    /// Sysctls, path below `/proc/sys` with slashes and value, written inside the new namespaces.
    pub sysctls: Vec<(String, String)>,
    /// Cgroup of the sandbox, below the root of every hierarchy, starting with `/`. Containers are leaves below it.
    pub cgroup: String,
    /// Size of `/dev/shm`.
    pub shm_bytes: u64,
    /// Ids of a new user namespace that owns the new ones; `None` is the node's.
    pub users: Option<IdMap>,
}

/// Whose namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// A new one, the sandbox's own.
    New,
    /// The node's.
    Host,
}

/// How a container is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Its id.
    pub container: String,
    /// What its process does.
    pub plan: Plan,
    /// What standard input is. A terminal is always that; here it says whether clients may send to it.
    pub stdin: Stdin,
    /// Pipes or a terminal, as its plan says.
    pub console: Console,
    /// The log file, open for appending; `None` drops the output.
    pub log: Option<Slot>,
    /// Bytes of output in one log line; a longer one is written in parts tagged `P`.
    pub line_bytes_max: u32,
}

/// What standard input of a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// Open until the container ends.
    Open,
    /// Open until the first attached client closes it.
    Once,
}

/// What standard input and output of a container are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Console {
    /// Three pipes.
    Pipes,
    /// A pseudo-terminal.
    Terminal,
}

/// What a client gets of a container's streams.
///
/// Output is written to its pipes as it comes, by the shim, which never waits: a client whose pipe has no room is cut off
/// there, and reads the end once it has read what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The container.
    pub container: String,
    /// Whether it sends standard input.
    pub stdin: bool,
    /// The writing end of a pipe that does not block, for standard output or all output of a terminal.
    pub stdout: Option<Slot>,
    /// Likewise for standard error; closed at once when there is a terminal.
    pub stderr: Option<Slot>,
}

/// How a program is run in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The container.
    pub container: String,
    /// Chosen by the daemon, never used again for this shim.
    pub exec: u64,
    /// What its process does; joins namespaces of the task, makes none.
    pub plan: Plan,
    /// Its standard input; `None` is `/dev/null`.
    pub stdin: Option<Slot>,
    /// Its standard output; `None` is `/dev/null`.
    pub stdout: Option<Slot>,
    /// Its standard error; `None` is `/dev/null`.
    pub stderr: Option<Slot>,
}

/// What a server answers. New ones go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is so, now or since before.
    Done,
    /// The request is not known here.
    Unsupported,
    /// It could not be done.
    Error {
        /// The kernel's reason, or `EIO`.
        errno: i32,
        /// What was tried and what was wrong.
        message: String,
    },
    /// The shim lives. Slot 0 is its pidfd.
    Spawned {
        /// Process id on the node.
        pid: u32,
    },
    /// Ids of sandboxes whose shims the spawner started and has not seen end.
    Shims(Vec<String>),
    /// Slot 0 is the namespace, slot 1 a `NETLINK_ROUTE` socket made inside.
    NetworkNamespace,
    /// The program runs.
    Started {
        /// Process id on the node.
        pid: u32,
        /// When, nanoseconds since the epoch.
        at_ns: i64,
    },
    /// The process was made but could not become the program; nothing of it is left.
    Failed(Failed),
    /// The program runs. With a terminal in its plan, slot 0 is the terminal's master.
    ExecStarted {
        /// Process id on the node.
        pid: u32,
    },
    /// Tasks by container id.
    Tasks(Vec<(String, TaskState)>),
    /// Ends by container id; the shim exits.
    Down(Vec<(String, ExitRecord)>),
    /// Slot 0 is a detached mount.
    Shm,
    /// Slot 0 is an IPv4 socket, slot 1 one of IPv6 where the kernel has it. Neither blocks.
    TcpSockets,
    /// The client is attached. When it sends standard input, slot 0 is where to: the writing end of the container's pipe, or
    /// its terminal's master, which is not to be read from.
    Attached(Attached),
    /// Slot 0 is the pidfd.
    FirstProcess {
        /// Process id on the node.
        pid: u32,
    },
}

const REPLIES: u32 = 15;

/// Where a client's share in the streams begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Pipes or a terminal.
    pub console: Console,
    /// Bytes of standard output written to the log so far; what comes by the client's pipe begins right after them.
    pub stdout_from: u64,
    /// Likewise of standard error.
    pub stderr_from: u64,
    /// Bytes of standard output that came so far: those beyond `stdout_from` are a line that has not ended.
    pub stdout_now: u64,
    /// Likewise of standard error.
    pub stderr_now: u64,
}

/// Why a process could not become its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What was tried: [`crate::plan::Op::describe`], or `run "/bin/x"`.
    pub what: String,
    /// Why.
    pub errno: i32,
    /// How far it came.
    pub phase: Phase,
}

/// How far a process came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Cgroup, clone, namespaces or an operation failed.
    Setup,
    /// Everything was done; no candidate could be executed.
    Exec,
}

/// What a shim says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// Its first process runs.
    Running {
        /// Process id on the node.
        pid: u32,
        /// When it was started, nanoseconds since the epoch.
        started_ns: i64,
    },
    /// It ended.
    Ended(ExitRecord),
}

/// What a shim reports by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first process of a container ended, its log is complete and its exit record written.
    Exited {
        /// Which container.
        container: String,
        /// How.
        record: ExitRecord,
    },
    /// An exec ended.
    ExecExited {
        /// Which container.
        container: String,
        /// Number given by [`Exec`].
        exec: u64,
        /// How.
        status: ExitStatus,
    },
}

const EVENTS: u32 = 2;

/// A request as its server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// One that is known.
    Known(Request),
    /// One that is not, or can't be read: answer [`Reply::Unsupported`].
    Unknown,
}

/// A message as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to the request of this number.
    Reply {
        /// Number of the request.
        number: u64,
        /// The answer; `None` is one of a newer server.
        reply: Option<Reply>,
    },
    /// A report; `None` is one of a newer server.
    Event(Option<Event>),
}

//! Tasks: the running side of containers.
//!
//! ```text
//! Starting ── report empty ──► Running ── reaped ──► Draining ── pipes ended ──► Ended ── dropped
//!     └────── report: failed, reaped ──► gone, as if it never was
//! ```

use crate::error::{Failed, Result, Tried};
use crate::exec::ExecProcess;
use crate::log::{Output, WriteEnds};
use crate::nodes::Node;
use crate::peers::Caller;
use crate::poll::{Poll, Token};
use crate::sandbox::Sandbox;
use orlop_cgroups::{CgroupPath, Hierarchies, Killing, Leaf};
use orlop_exec::{Failure, Launched, Master, Prepared, Refused, Report, Surroundings};
use orlop_sys::clone::Child;
use orlop_wire::exit::ExitRecord;
use orlop_wire::frame::{Console, Failed as NotStarted, Phase as HowFar, Start, Stdin};
use orlop_wire::plan::{BindSource, DeviceAccess, JoinFrom, NamespaceKind, Op, Plan};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// A container's processes and all that belongs to them.
#[derive(Debug)]
pub(crate) struct Task {
    /// Names it in events.
    pub(crate) number: u32,
    pub(crate) child: Child,
    /// `None` when its plan has no cgroup.
    pub(crate) leaf: Option<Leaf>,
    /// Its first process is that of a PID namespace: all others go with it.
    pub(crate) has_own_pids: bool,
    pub(crate) phase: Phase,
    pub(crate) output: Output,
    pub(crate) stdin: Input,
    pub(crate) execs: BTreeMap<u64, ExecProcess>,
}

/// Standard input, as far as clients can have it.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nobody can.
    Null,
    /// The writing end of its pipe, kept open. It does not block.
    Pipe(OwnedFd),
    /// Its terminal, which is [`Task::output`]'s.
    Terminal,
    /// Nobody can any more.
    Closed,
}

/// How far a task is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its process is on the way to its program.
    Starting(Box<Starting>),
    /// Its program runs.
    Running { started_ns: i64 },
    /// Its first process was reaped; its pipes are read to their end, or until the deadline.
    Draining { record: ExitRecord, until: Instant },
    /// It ended, its log is complete, its record is on disk.
    Ended(ExitRecord),
}

/// A process on the way to its program.
#[derive(Debug)]
pub(crate) struct Starting {
    pub(crate) report: Report,
    /// To say in words what failed.
    pub(crate) plan: Plan,
    pub(crate) waiting: Vec<Caller>,
    pub(crate) failure: Option<Failure>,
    /// Its terminal, when its plan has one.
    pub(crate) terminal: Option<Master>,
}

/// Why a task does not start.
pub(crate) enum NoStart {
    /// The request makes no sense.
    Refused(Failed),
    /// It was tried.
    Failed(NotStarted),
}

/// What starting takes, of the shim.
pub(crate) struct Place<'a> {
    pub(crate) node: &'a Node,
    pub(crate) hierarchies: &'a Hierarchies,
    pub(crate) sandbox: Option<&'a Sandbox>,
    pub(crate) tasks: &'a BTreeMap<String, Task>,
    pub(crate) poll: &'a Poll,
}

// === impl Task ===

impl Task {
    /// Makes the cgroup, the pipes and the process.
    pub(crate) fn start(
        number: u32,
        asked: Start,
        slots: &[OwnedFd],
        caller: Caller,
        place: &Place<'_>,
    ) -> std::result::Result<Self, NoStart> {
        let refused = NoStart::Refused;
        let has_terminal = asked.plan.ops.iter().any(|op| matches!(op, Op::Terminal { .. }));
        if (asked.console == Console::Terminal) != has_terminal {
            let reason = "its plan and its console differ about a terminal";
            return Err(refused(Failed::refused("start a container", reason, libc::EINVAL)));
        }
        let log = match asked.log {
            Some(slot) => Some(take_slot(slots, slot).map_err(refused)?),
            None => None,
        };
        let (stdin, kept) = open_stdin(asked.stdin, asked.console, place.node).map_err(refused)?;
        let leaf = make_leaf(&asked.plan, place.hierarchies).map_err(failed)?;
        let mut output = Output::new(asked.console, log, asked.line_bytes_max);
        let ends = match asked.console {
            Console::Pipes => output.open_pipes(number, place.poll).map(Some),
            // It takes the place of all three.
            Console::Terminal => Ok(None),
        };
        let null = place.node.null.as_fd();
        let launched = ends.map_err(failed).and_then(|ends| {
            let of = |end: fn(&WriteEnds) -> &OwnedFd| ends.as_ref().map_or(null, |ends| end(ends).as_fd());
            let stdio = [stdin.as_fd(), of(|ends| &ends.stdout), of(|ends| &ends.stderr)];
            let launched = launch(&asked.plan, slots, leaf.as_ref(), None, stdio, place)?;
            place.poll.add(&launched.report, Token::Report(number)).map_err(failed)?;
            Ok(launched)
        });
        let launched = match launched {
            Ok(launched) => launched,
            Err(error) => {
                remove_quietly(leaf);
                return Err(error);
            }
        };
        let has_own_pids = asked.plan.clone_flags & libc::CLONE_NEWPID as u64 != 0;
        let starting = Starting::new(launched.report, launched.terminal, asked.plan, caller);
        Ok(Self {
            number,
            child: launched.child,
            leaf,
            has_own_pids,
            phase: Phase::Starting(Box::new(starting)),
            output,
            stdin: kept,
            execs: BTreeMap::new(),
        })
    }

    /// Says whether its first process lives.
    pub(crate) fn lives(&self) -> bool {
        match self.phase {
            Phase::Starting(_) | Phase::Running { .. } => true,
            Phase::Draining { .. } | Phase::Ended(_) => false,
        }
    }

    /// Returns how it ended, once that is known.
    pub(crate) fn ended(&self) -> Option<ExitRecord> {
        match self.phase {
            Phase::Ended(record) => Some(record),
            Phase::Starting(_) | Phase::Running { .. } | Phase::Draining { .. } => None,
        }
    }

    /// Kills all its processes that are there now; says whether none was. Without a cgroup only its first is known.
    pub(crate) fn kill(&self, killing: &mut Killing) -> Result<bool> {
        match &self.leaf {
            Some(leaf) => killing.go_on(leaf).tried("kill the processes of a container"),
            None => self.signal(libc::SIGKILL as u8).map(|()| true),
        }
    }

    /// Sends a signal to its first process. Quiet when it has ended.
    pub(crate) fn signal(&self, signal: u8) -> Result<()> {
        signal_quietly(self.child.pidfd.as_fd(), signal)
    }
}

impl Starting {
    pub(crate) fn new(report: Report, terminal: Option<Master>, plan: Plan, caller: Caller) -> Self {
        Self { report, plan, waiting: vec![caller], failure: None, terminal }
    }

    /// Takes the master of its terminal, once its program runs; `None` when it has none.
    pub(crate) fn take_terminal(&mut self) -> Option<OwnedFd> {
        let taken = self.terminal.take()?.take();
        taken.inspect_err(|error| crate::journal::write(&format!("a terminal did not arrive: {error}"))).ok()
    }
}

/// Sends a signal. Quiet when the process has ended.
pub(crate) fn signal_quietly(pidfd: BorrowedFd<'_>, signal: u8) -> Result<()> {
    match orlop_sys::process::send_signal(pidfd, signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.tried(format_args!("send signal {signal}")),
    }
}

/// Prepares a plan and clones its process. `stdio` and the cgroup are decided by the caller.
pub(crate) fn launch(
    plan: &Plan,
    slots: &[OwnedFd],
    leaf: Option<&Leaf>,
    below: Option<BorrowedFd<'_>>,
    stdio: [BorrowedFd<'_>; 3],
    place: &Place<'_>,
) -> std::result::Result<Launched, NoStart> {
    let entries = match leaf {
        Some(leaf) => leaf.entry_fds().tried("open the cgroup of a process").map_err(failed)?,
        None => Vec::new(),
    };
    let unified = leaf.and_then(Leaf::unified_dir_fd);
    let shm = match place.sandbox.filter(|_| binds_shm(plan)) {
        Some(sandbox) => Some(sandbox.shm().for_container().map_err(failed)?),
        None => None,
    };
    let around = Surroundings {
        slots,
        joins: joins(plan, slots, place).map_err(NoStart::Refused)?,
        shm: shm.as_ref().map(AsFd::as_fd),
        cgroup: below.or(unified),
        // A process born in a cgroup of the unified hierarchy must not move out of it again.
        cgroup_entries: entries.iter().map(AsFd::as_fd).filter(|fd| !is_unified(*fd)).collect(),
        stdio,
        root_attributes: root_attributes(plan),
        node_proc: place.node.proc.as_fd(),
        own_pid_namespace: place.node.pid_namespace.as_fd(),
    };
    let prepared = Prepared::new(plan, around).map_err(|error: Refused| {
        NoStart::Refused(Failed::refused("read the plan of a process", error, libc::EINVAL))
    })?;
    prepared.launch().tried("clone a process").map_err(failed)
}

fn binds_shm(plan: &Plan) -> bool {
    plan.ops.iter().any(|op| matches!(op, Op::Bind { source: BindSource::SandboxShm, .. }))
}

/// A device that an image brought could be opened where nothing enforces device rules; see the planner's, which takes the
/// right to make others.
fn root_attributes(plan: &Plan) -> u64 {
    match plan.cgroup.as_ref().map(|cgroup| &cgroup.devices) {
        Some(DeviceAccess::Unenforced) => libc::MOUNT_ATTR_NODEV,
        Some(DeviceAccess::AsWritten | DeviceAccess::Program(_)) | None => 0,
    }
}

/// Finds the namespaces to join.
fn joins<'a>(plan: &Plan, slots: &'a [OwnedFd], place: &Place<'a>) -> Result<Vec<BorrowedFd<'a>>> {
    let missing = |what: &str| Failed::refused("find a namespace to join", what, libc::EINVAL);
    let find = |kind: NamespaceKind, from: &JoinFrom| match from {
        JoinFrom::Sandbox => place.sandbox.ok_or_else(|| missing("the sandbox is not set up"))?.namespace(kind),
        JoinFrom::Task(container) => match place.tasks.get(container) {
            Some(task) if task.lives() => Ok(task.child.pidfd.as_fd()),
            Some(_) => Err(missing("the container it belongs to has ended")),
            None => Err(missing("the container it belongs to is not known")),
        },
        JoinFrom::Slot(slot) => {
            let found = usize::try_from(*slot).ok().and_then(|at| slots.get(at));
            found.map(AsFd::as_fd).ok_or_else(|| missing("its descriptor was not sent"))
        }
    };
    plan.join.iter().map(|join| find(join.kind, &join.from)).collect()
}

/// Makes the leaf of a container and writes its limits.
fn make_leaf(plan: &Plan, hierarchies: &Hierarchies) -> Result<Option<Leaf>> {
    let Some(cgroup) = &plan.cgroup else { return Ok(None) };
    let path = CgroupPath::parse(&cgroup.path).tried("make the cgroup of a container")?;
    let leaf = Leaf::create(hierarchies, &path).tried("make the cgroup of a container")?;
    if let Err(error) = leaf.apply(cgroup).tried("limit a container") {
        remove_quietly(Some(leaf));
        return Err(error);
    }
    Ok(Some(leaf))
}

/// Removes the cgroup of a process that never was; the sandbox's removal takes what stays.
pub(crate) fn remove_quietly(leaf: Option<Leaf>) {
    if let Some(Err(error)) = leaf.map(Leaf::remove) {
        crate::journal::write(&Failed::cgroup("remove a cgroup", &error).to_string());
    }
}

/// Opens standard input, and what must stay open with it.
fn open_stdin(stdin: Stdin, console: Console, node: &Node) -> Result<(OwnedFd, Input)> {
    let tried = "open standard input";
    let null = || node.null.try_clone().tried(tried);
    match (stdin, console) {
        (Stdin::Null, _) => Ok((null()?, Input::Null)),
        (Stdin::Open | Stdin::Once, Console::Terminal) => Ok((null()?, Input::Terminal)),
        (Stdin::Open | Stdin::Once, Console::Pipes) => {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).tried(tried)?;
            // Clients get it as it is; the container's end blocks, as programs expect.
            rustix::io::ioctl_fionbio(&write, true).tried(tried)?;
            Ok((read, Input::Pipe(write)))
        }
    }
}

/// Takes the log file out of the slots. The place stays taken, so that other slots keep their numbers.
fn take_slot(slots: &[OwnedFd], slot: u32) -> Result<OwnedFd> {
    let found = usize::try_from(slot).ok().and_then(|at| slots.get(at));
    let found = found.ok_or_else(|| Failed::refused("open the log", "its descriptor was not sent", libc::EINVAL))?;
    found.try_clone().tried("open the log")
}

fn is_unified(file: BorrowedFd<'_>) -> bool {
    const CGROUP2_MAGIC: i64 = libc::CGROUP2_SUPER_MAGIC;
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type == CGROUP2_MAGIC)
}

fn failed(error: Failed) -> NoStart {
    let errno = error.errno();
    NoStart::Failed(NotStarted { what: error.to_string(), errno, phase: HowFar::Setup })
}

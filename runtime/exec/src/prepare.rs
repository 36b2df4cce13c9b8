//! A plan made ready to run: every string ends with a null byte, every slot is a descriptor.

use crate::mounts::{Bind, Device, NewMount};
use crate::resolve::Target;
use crate::terminal::Terminal;
use orlop_sys::child::{CapabilitySets, Instruction, Words};
use orlop_sys::mount::Below;
use orlop_wire::plan::{BindSource, NamespaceKind, Op, Plan, Slot};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Size of one instruction of a seccomp program.
const INSTRUCTION_BYTES: usize = 8;

/// What a plan refers to by slot or by name, and where the child starts from.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Descriptors that came with the plan.
    pub slots: &'a [OwnedFd],
    /// One for each join of the plan, in its order: a namespace or a pidfd.
    pub joins: Vec<BorrowedFd<'a>>,
    /// The sandbox's `/dev/shm`.
    pub shm: Option<BorrowedFd<'a>>,
    /// A cgroup of the unified hierarchy to be born into.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Open `tasks` or `cgroup.procs` files that the child writes itself into.
    pub cgroup_entries: Vec<BorrowedFd<'a>>,
    /// Standard input, output and error.
    pub stdio: [BorrowedFd<'a>; 3],
    /// `MOUNT_ATTR_*` that the root file system gets.
    pub root_attributes: u64,
    /// The node's `/proc`.
    pub node_proc: BorrowedFd<'a>,
    /// The caller's own PID namespace, to come back to.
    pub own_pid_namespace: BorrowedFd<'a>,
}

/// A plan that can't be run as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A string with a null byte, which no kernel call can carry, or a path that names no place.
    #[error("{0:?} can't be passed to the kernel")]
    Text(String),
    /// A slot that did not come with the frame.
    #[error("the plan uses descriptor {0}, which was not sent")]
    Slot(Slot),
    /// As many joins as descriptors for them are needed.
    #[error("the plan's namespaces to join are not all known")]
    Joins,
    /// `/dev/shm` of a sandbox that has none.
    #[error("the plan binds the sandbox's /dev/shm, which was not set up")]
    NoShm,
    /// User namespaces need maps, which a plan does not carry yet.
    #[error("a new user namespace is not supported")]
    UserNamespace,
    /// Flags or a program that have no meaning.
    #[error("the plan's {0} is malformed")]
    Malformed(&'static str),
}

/// A plan made ready.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// Namespaces made by the clone.
    pub(crate) clone_flags: u64,
    /// Namespaces made by the child, after it entered its cgroup: a cgroup namespace shows what it was made in as the root.
    pub(crate) unshare_flags: u64,
    /// Entered by the parent around the clone, as only children come to be in it.
    pub(crate) pid_namespace: Option<BorrowedFd<'a>>,
    pub(crate) users: Option<Users<'a>>,
    pub(crate) joins: Vec<JoinStep<'a>>,
    pub(crate) steps: Vec<Step<'a>>,
    /// For each step, the source that the child opened before the first one. As long as `steps` from the start, since the
    /// child may not allocate.
    pub(crate) sources: Vec<Option<OwnedFd>>,
    pub(crate) dev_null: Target,
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: Words,
    pub(crate) env: Words,
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    pub(crate) cgroup_entries: Vec<BorrowedFd<'a>>,
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    pub(crate) node_proc: BorrowedFd<'a>,
    pub(crate) own_pid_namespace: BorrowedFd<'a>,
    /// Where the child sends the master of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// The user namespace that a process enters, and what must be done before.
#[derive(Debug)]
pub(crate) struct Users<'a> {
    pub(crate) namespace: BorrowedFd<'a>,
    /// Who the program is, on the node: its pipes are made his before, since in there nobody may.
    pub(crate) program: u32,
    /// Whether the process is born in there, so that its other namespaces are the user namespace's own.
    pub(crate) born_inside: bool,
}

/// Namespaces to enter.
#[derive(Debug)]
pub(crate) struct JoinStep<'a> {
    /// Index of the first join of the plan that it does.
    pub(crate) at: u32,
    /// `CLONE_NEW*` flags.
    pub(crate) kinds: u64,
    pub(crate) from: BorrowedFd<'a>,
}

/// An operation made ready; see [`Op`].
#[derive(Debug)]
pub(crate) enum Step<'a> {
    SetPropagation(u32),
    AttachRootfs(BorrowedFd<'a>, u64),
    MountNew(NewMount),
    Bind(Source<'a>, Bind),
    MakeDevice(Device),
    Symlink(CString, Target),
    PivotRoot,
    Mask(Target),
    ReadonlyPath(Target),
    ReadonlyRoot,
    /// By the calls that do it, as its files belong to the node's root also in a user namespace.
    Hostname(Vec<u8>),
    Domainname(Vec<u8>),
    Sysctl(CString, Vec<u8>),
    Rlimit {
        resource: u32,
        soft: u64,
        hard: u64,
    },
    OomScoreAdj(Vec<u8>),
    Umask(u32),
    NewSession,
    CapabilityBounding(u64),
    Identity {
        uid: u32,
        gid: u32,
        groups: Vec<u32>,
    },
    Capabilities(CapabilitySets, u64),
    NoNewPrivileges,
    Seccomp(Vec<Instruction>, u64),
    Chdir {
        target: Target,
        create: bool,
    },
    Init,
    Terminal(Terminal),
}

/// What is bound.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// A path of the node.
    Path(CString),
    /// A descriptor.
    Descriptor(BorrowedFd<'a>),
}

// === impl Prepared ===

impl<'a> Prepared<'a> {
    /// Makes a plan ready to be launched.
    ///
    /// # Errors
    /// What the plan got wrong; nothing was done.
    pub fn new(plan: &Plan, around: Surroundings<'a>) -> Result<Self, Refused> {
        let unshare_flags = plan.clone_flags & libc::CLONE_NEWCGROUP as u64;
        if plan.clone_flags & libc::CLONE_NEWUSER as u64 != 0 {
            return Err(Refused::UserNamespace);
        }
        if around.joins.len() != plan.join.len() {
            return Err(Refused::Joins);
        }
        let of_pid = |kind| kind == NamespaceKind::Pid;
        let joined = || plan.join.iter().zip(&around.joins);
        let pid_namespace = joined().find(|(join, _)| of_pid(join.kind)).map(|(_, fd)| *fd);
        let users = users(plan, &around)?;
        let born_inside = users.as_ref().is_some_and(|users| users.born_inside);
        let entered = |kind| of_pid(kind) || (born_inside && kind == NamespaceKind::User);
        let mut joins: Vec<JoinStep<'_>> = Vec::with_capacity(plan.join.len());
        for (at, (join, from)) in (0..).zip(joined()).filter(|(_, (join, _))| !entered(join.kind)) {
            match joins.last_mut() {
                // All of one process at once: by users who may not look at it, it can be entered no more.
                Some(last) if last.from.as_raw_fd() == from.as_raw_fd() => last.kinds |= flag(join.kind),
                Some(_) | None => joins.push(JoinStep { at, kinds: flag(join.kind), from: *from }),
            }
        }
        let steps = plan.ops.iter().map(|op| step(op, &around)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            clone_flags: plan.clone_flags & !unshare_flags,
            unshare_flags,
            pid_namespace,
            users,
            joins,
            sources: steps.iter().map(|_| None).collect(),
            steps,
            dev_null: target("/dev/null")?,
            candidates: plan.program.candidates.iter().map(|path| text(path)).collect::<Result<_, _>>()?,
            argv: words(&plan.program.argv)?,
            env: words(&plan.program.env)?,
            cgroup: around.cgroup,
            cgroup_entries: around.cgroup_entries,
            stdio: around.stdio,
            node_proc: around.node_proc,
            own_pid_namespace: around.own_pid_namespace,
            terminal: None,
        })
    }

    pub(crate) fn has_terminal(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Terminal(_)))
    }
}

/// Finds the user namespace among the joins: its ids must be known, and belong to a namespace that is entered.
fn users<'a>(plan: &Plan, around: &Surroundings<'a>) -> Result<Option<Users<'a>>, Refused> {
    let mut joined = plan.join.iter().zip(&around.joins).filter(|(join, _)| join.kind == NamespaceKind::User);
    let (map, namespace) = match (plan.users, joined.next()) {
        (None, None) => return Ok(None),
        (Some(map), Some((_, namespace))) => (map, *namespace),
        (Some(_), None) | (None, Some(_)) => return Err(Refused::Malformed("user namespace")),
    };
    let uid = plan.ops.iter().find_map(|op| if let Op::Identity { uid, .. } = op { Some(*uid) } else { None });
    let program = map.to_node(uid.unwrap_or(0)).ok_or(Refused::Malformed("user, who is not one of its namespace"))?;
    Ok(Some(Users { namespace, program, born_inside: plan.clone_flags != 0 }))
}

fn step<'a>(op: &Op, around: &Surroundings<'a>) -> Result<Step<'a>, Refused> {
    Ok(match op {
        Op::SetPropagation { flags } => {
            Step::SetPropagation(u32::try_from(*flags).map_err(|_| Refused::Malformed("mount propagation"))?)
        }
        Op::AttachRootfs { slot } => Step::AttachRootfs(descriptor(around, *slot)?, around.root_attributes),
        Op::MountNew { fstype, source, options, attributes, target: at } => Step::MountNew(NewMount {
            fstype: text(fstype)?,
            source: text(source)?,
            plain: matches!(fstype.as_str(), "proc" | "sysfs") || at == "/dev",
            takes_mode: fstype == "tmpfs" && !options.iter().any(|(name, _)| name == "mode"),
            options: options.iter().map(option).collect::<Result<_, _>>()?,
            attributes: *attributes,
            target: target(at)?,
        }),
        Op::Bind { source: from, recursive, attributes, attributes_recursive, propagation, ids, target: at } => {
            Step::Bind(
                source(from, around)?,
                Bind {
                    ids: *ids,
                    recursive: below(*recursive),
                    attributes: *attributes,
                    attributes_recursive: below(*attributes_recursive),
                    propagation: *propagation,
                    target: target(at)?,
                },
            )
        }
        Op::MakeDevice { target: at, mode, major, minor, uid, gid } => Step::MakeDevice(Device {
            target: target(at)?,
            mode: *mode,
            major: *major,
            minor: *minor,
            uid: *uid,
            gid: *gid,
        }),
        Op::Symlink { to, target: at } => Step::Symlink(text(to)?, target(at)?),
        Op::PivotRoot => Step::PivotRoot,
        Op::Mask { target: at } => Step::Mask(target(at)?),
        Op::ReadonlyPath { target: at } => Step::ReadonlyPath(target(at)?),
        Op::ReadonlyRoot => Step::ReadonlyRoot,
        Op::Sysctl { path, value } if path == "kernel/hostname" => Step::Hostname(value.clone().into_bytes()),
        Op::Sysctl { path, value } if path == "kernel/domainname" => Step::Domainname(value.clone().into_bytes()),
        Op::Sysctl { path, value } => Step::Sysctl(text(&format!("sys/{path}"))?, value.clone().into_bytes()),
        Op::Rlimit { resource, soft, hard } => Step::Rlimit { resource: *resource, soft: *soft, hard: *hard },
        Op::OomScoreAdj { value } => Step::OomScoreAdj(value.to_string().into_bytes()),
        Op::Umask { mask } => Step::Umask(*mask),
        Op::NewSession => Step::NewSession,
        Op::CapabilityBounding { keep } => Step::CapabilityBounding(*keep),
        Op::Identity { uid, gid, groups } => Step::Identity { uid: *uid, gid: *gid, groups: groups.clone() },
        Op::Capabilities { effective, permitted, inheritable, ambient } => Step::Capabilities(
            CapabilitySets { effective: *effective, permitted: *permitted, inheritable: *inheritable },
            *ambient,
        ),
        Op::NoNewPrivileges => Step::NoNewPrivileges,
        Op::Seccomp { program, flags } => Step::Seccomp(instructions(program)?, *flags),
        Op::Chdir { path, create } => Step::Chdir { target: target(path)?, create: *create },
        Op::Init => Step::Init,
        Op::Terminal { rows, columns, console } => Step::Terminal(Terminal {
            rows: *rows,
            columns: *columns,
            console: if *console { Some(target("/dev/console")?) } else { None },
        }),
    })
}

fn source<'a>(from: &BindSource, around: &Surroundings<'a>) -> Result<Source<'a>, Refused> {
    Ok(match from {
        BindSource::Path(path) => Source::Path(text(path)?),
        BindSource::Slot(slot) => Source::Descriptor(descriptor(around, *slot)?),
        BindSource::SandboxShm => Source::Descriptor(around.shm.ok_or(Refused::NoShm)?),
    })
}

fn descriptor<'a>(around: &Surroundings<'a>, slot: Slot) -> Result<BorrowedFd<'a>, Refused> {
    let found = usize::try_from(slot).ok().and_then(|at| around.slots.get(at));
    found.map(AsFd::as_fd).ok_or(Refused::Slot(slot))
}

fn option((name, value): &(String, Option<String>)) -> Result<(CString, Option<CString>), Refused> {
    Ok((text(name)?, value.as_deref().map(text).transpose()?))
}

fn instructions(program: &[u8]) -> Result<Vec<Instruction>, Refused> {
    let (records, []) = program.as_chunks::<INSTRUCTION_BYTES>() else {
        return Err(Refused::Malformed("seccomp program"));
    };
    let instruction = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; INSTRUCTION_BYTES]| Instruction {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    };
    Ok(records.iter().map(instruction).collect())
}

fn words(texts: &[Vec<u8>]) -> Result<Words, Refused> {
    let word = |text: &Vec<u8>| {
        CString::new(text.as_slice()).map_err(|_| Refused::Text(String::from_utf8_lossy(text).into_owned()))
    };
    Ok(Words::new(texts.iter().map(word).collect::<Result<_, _>>()?))
}

fn text(text: &str) -> Result<CString, Refused> {
    CString::new(text).map_err(|_| Refused::Text(text.to_owned()))
}

fn target(path: &str) -> Result<Target, Refused> {
    Target::new(path).ok_or_else(|| Refused::Text(path.to_owned()))
}

fn below(recursive: bool) -> Below {
    if recursive { Below::Included } else { Below::Untouched }
}

fn flag(kind: NamespaceKind) -> u64 {
    let flag = match kind {
        NamespaceKind::Mount => libc::CLONE_NEWNS,
        NamespaceKind::Pid => libc::CLONE_NEWPID,
        NamespaceKind::Network => libc::CLONE_NEWNET,
        NamespaceKind::Ipc => libc::CLONE_NEWIPC,
        NamespaceKind::Uts => libc::CLONE_NEWUTS,
        NamespaceKind::Cgroup => libc::CLONE_NEWCGROUP,
        NamespaceKind::User => libc::CLONE_NEWUSER,
    };
    flag as u64
}

//! The order of it all.

use super::{
    CompileError, Compiled, Facts, INIT, OTHER_PREFIX, SANDBOX, SlotSource, TASK_PREFIX, invalid, process, refuse,
    resources, tree, users,
};
use super::{Spec, process::First, unsupported};
use crate::oci::{Linux, Process};
use crate::path::clean;
use crate::sysctl;
use orlop_wire::plan::{Join, JoinFrom, NamespaceKind, Op, Plan, Slot};
use std::path::PathBuf;

/// Kinds by their names in a spec, in the order in which they are entered: users first, for the right to enter the others;
/// mounts last, since paths mean something else from then on.
const KINDS: [(&str, NamespaceKind, i32); 7] = [
    ("user", NamespaceKind::User, libc::CLONE_NEWUSER),
    ("cgroup", NamespaceKind::Cgroup, libc::CLONE_NEWCGROUP),
    ("ipc", NamespaceKind::Ipc, libc::CLONE_NEWIPC),
    ("uts", NamespaceKind::Uts, libc::CLONE_NEWUTS),
    ("network", NamespaceKind::Network, libc::CLONE_NEWNET),
    ("pid", NamespaceKind::Pid, libc::CLONE_NEWPID),
    ("mount", NamespaceKind::Mount, libc::CLONE_NEWNS),
];

/// Slot of the root file system.
const ROOTFS: Slot = 0;

pub(super) fn container(spec: &Spec, facts: &Facts<'_>) -> Result<Compiled, CompileError> {
    let mut warnings = refuse::check(spec)?;
    let process = process::of(spec)?;
    let linux = spec.linux.as_ref().ok_or_else(|| invalid("linux", "it is missing"))?;
    let mut slots = vec![SlotSource::Rootfs];
    let spaces = Spaces::new(linux, &mut slots)?;
    let users = users::of(linux)?;
    if !spaces.has_new(NamespaceKind::Mount) {
        return Err(invalid("linux.namespaces", "a mount namespace of the container's own is needed"));
    }

    let mut ops = vec![propagation(linux)?, Op::AttachRootfs { slot: ROOTFS }];
    ops.extend(tree::ops(spec, linux, &tree::Around { facts, users }, &mut slots, &mut warnings)?);
    ops.push(Op::PivotRoot);
    ops.extend(sysctls(spec, linux, &spaces)?);
    let folder = folder(spec, process)?;
    ops.extend(folder.make.clone());
    ops.extend(tree::covers(spec, linux, facts)?);
    if spec.root.as_ref().is_some_and(|root| root.readonly) {
        ops.push(Op::ReadonlyRoot);
    }
    let init = if asks_for_init(spec) { First::Init } else { First::Program };
    let terminal = process::terminal(process, tree::has_mounted_dev(spec))?;
    ops.extend(process::privileged_ops(process, init, terminal, facts, &mut warnings)?);
    ops.extend(folder.among(process::confining_ops(spec, process, facts, &mut warnings)?));

    let plan = Plan {
        clone_flags: spaces.clone_flags,
        join: spaces.join,
        cgroup: resources::cgroup(linux, facts)?,
        ops,
        program: process::program(process)?,
        users,
    };
    Ok(Compiled { plan, slots, warnings })
}

pub(super) fn exec(spec: &Spec, container: &str, facts: &Facts<'_>) -> Result<Compiled, CompileError> {
    let mut warnings = refuse::check(spec)?;
    let process = process::of(spec)?;
    let linux = spec.linux.as_ref().ok_or_else(|| invalid("linux", "it is missing"))?;
    // Checks the same things, and says which kinds the container does not share with the node.
    let spaces = Spaces::new(linux, &mut Vec::new())?;
    let of_task =
        |(_, kind, _): &(&str, NamespaceKind, i32)| Join { kind: *kind, from: JoinFrom::Task(container.to_owned()) };
    let join = KINDS.iter().filter(|(_, kind, _)| spaces.listed.contains(kind)).map(of_task).collect();

    let folder = folder(spec, process)?;
    let terminal = process::terminal(process, false)?;
    let mut ops = process::privileged_ops(process, First::Program, terminal, facts, &mut warnings)?;
    ops.extend(folder.among(process::confining_ops(spec, process, facts, &mut warnings)?));
    let plan = Plan {
        clone_flags: 0,
        join,
        cgroup: resources::entered(linux)?,
        ops,
        program: process::program(process)?,
        users: users::of(linux)?,
    };
    Ok(Compiled { plan, slots: Vec::new(), warnings })
}

fn asks_for_init(spec: &Spec) -> bool {
    spec.annotations.get(INIT).is_some_and(|value| value == "true")
}

/// Namespaces made and joined.
struct Spaces {
    clone_flags: u64,
    join: Vec<Join>,
    /// Every kind that the spec lists; the others are the node's.
    listed: Vec<NamespaceKind>,
}

impl Spaces {
    fn new(linux: &Linux, slots: &mut Vec<SlotSource>) -> Result<Self, CompileError> {
        let mut spaces = Self { clone_flags: 0, join: Vec::new(), listed: Vec::new() };
        for namespace in &linux.namespaces {
            let name = namespace.kind.as_str();
            if name == "time" {
                return Err(unsupported("linux.namespaces", "time namespaces are not built yet"));
            }
            let found = KINDS.iter().find(|(known, ..)| *known == name);
            let Some((_, kind, flag)) = found else {
                // Not a warning: the container would share with the node what it was told not to.
                return Err(invalid("linux.namespaces", format!("{name:?} is no kind of namespace")));
            };
            if spaces.listed.contains(kind) {
                return Err(invalid("linux.namespaces", format!("{name} is listed twice")));
            }
            spaces.listed.push(*kind);
            match namespace.path.as_deref().filter(|path| !path.is_empty()) {
                Some(path) => spaces.join.push(Join { kind: *kind, from: join_from(path, *kind, *flag, slots)? }),
                None if *kind == NamespaceKind::User => {
                    return Err(unsupported("linux.namespaces", "new user namespaces are not built yet"));
                }
                None => spaces.clone_flags |= bits(*flag),
            }
        }
        spaces.join.sort_by_key(|join| KINDS.iter().position(|(_, kind, _)| *kind == join.kind));
        Ok(spaces)
    }

    fn has_new(&self, kind: NamespaceKind) -> bool {
        self.listed.contains(&kind) && !self.join.iter().any(|join| join.kind == kind)
    }
}

fn join_from(
    path: &str,
    kind: NamespaceKind,
    flag: i32,
    slots: &mut Vec<SlotSource>,
) -> Result<JoinFrom, CompileError> {
    if path == SANDBOX {
        return Ok(JoinFrom::Sandbox);
    }
    if let Some(task) = path.strip_prefix(TASK_PREFIX) {
        return Ok(JoinFrom::Task(task.to_owned()));
    }
    let source = match path.strip_prefix(OTHER_PREFIX).map(|other| other.split_once(':')) {
        Some(Some((sandbox, container))) => {
            SlotSource::OfOther { kind, sandbox: sandbox.to_owned(), container: container.to_owned() }
        }
        None if path.starts_with('/') => SlotSource::Namespace { flag: bits(flag), path: PathBuf::from(path) },
        Some(None) | None => {
            return Err(invalid("linux.namespaces", format!("{path:?} is not an absolute path")));
        }
    };
    add_slot(slots, source).map(JoinFrom::Slot)
}

/// Adds what is to be opened, and returns its slot.
pub(super) fn add_slot(slots: &mut Vec<SlotSource>, source: SlotSource) -> Result<Slot, CompileError> {
    let slot = Slot::try_from(slots.len()).map_err(|_| invalid("linux", "it takes too many descriptors"))?;
    slots.push(source);
    Ok(slot)
}

/// `CLONE_*` flags are bits; the C library declares them signed.
fn bits(flag: i32) -> u64 {
    u64::from(flag.cast_unsigned())
}

/// Mounts of the node must not see the container's. A container that is to share mounts with the node does so by a copy of
/// the source that was made before; see [`orlop_wire::plan::Op::Bind`].
fn propagation(linux: &Linux) -> Result<Op, CompileError> {
    let flags = match linux.rootfs_propagation.as_deref() {
        None | Some("" | "slave" | "rslave" | "shared" | "rshared") => libc::MS_SLAVE,
        Some("private" | "rprivate" | "unbindable" | "runbindable") => libc::MS_PRIVATE,
        Some(other) => return Err(invalid("linux.rootfsPropagation", format!("{other:?} is not known"))),
    };
    Ok(Op::SetPropagation { flags })
}

/// Sysctls, host name and domain name, only of namespaces that are not the node's.
fn sysctls(spec: &Spec, linux: &Linux, spaces: &Spaces) -> Result<Vec<Op>, CompileError> {
    let mut ops = Vec::new();
    for (name, value) in &linux.sysctl {
        let found = sysctl::resolve(name, value).map_err(|bad| invalid("linux.sysctl", bad.to_string()))?;
        if !spaces.listed.contains(&found.namespace) {
            return Err(invalid("linux.sysctl", format!("{name} would change the node: its namespace is the node's")));
        }
        ops.push(Op::Sysctl { path: found.path, value: value.clone() });
    }
    for (field, path, value) in
        [("hostname", "kernel/hostname", &spec.hostname), ("domainname", "kernel/domainname", &spec.domainname)]
    {
        let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else { continue };
        if !spaces.has_new(NamespaceKind::Uts) {
            return Err(invalid(field, "it needs a UTS namespace of the container's own"));
        }
        if value.contains(['\0', '\n']) || value.len() > HOSTNAME_BYTES_MAX {
            return Err(invalid(field, format!("it is longer than {HOSTNAME_BYTES_MAX} bytes or holds a line break")));
        }
        ops.push(Op::Sysctl { path: path.to_owned(), value: value.clone() });
    }
    Ok(ops)
}

/// uname(2), `__NEW_UTS_LEN`.
const HOSTNAME_BYTES_MAX: usize = 64;

/// How a process comes to stand in its working folder.
struct Folder {
    /// Makes it, while the root can still be written.
    make: Option<Op>,
    enter: Op,
    by: By,
}

/// Who enters the working folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Root, as in runc: a folder that only root may enter is no failure.
    Root,
    /// The user: of a volume, root may be the one who is kept out (NFS).
    User,
}

/// Always entered after everything was mounted: a folder entered before would be what lies beneath a read-only or hidden
/// one.
fn folder(spec: &Spec, process: &Process) -> Result<Folder, CompileError> {
    let path = process::working_folder(process)?;
    let enter = |create| Op::Chdir { path: path.to_owned(), create };
    let by = if tree::is_bound_at(spec, path) { By::User } else { By::Root };
    let make = (by == By::Root && clean(path) != "/").then(|| enter(true));
    Ok(Folder { make, enter: enter(false), by })
}

impl Folder {
    /// Adds the entering to the operations that confine the process: in front of them, or when the user has changed.
    fn among(self, confining: Vec<Op>) -> Vec<Op> {
        let settled = |op: &Op| matches!(op, Op::Capabilities { .. });
        let at = match self.by {
            By::Root => 0,
            By::User => confining.iter().position(settled).map_or(confining.len(), |at| at + 1),
        };
        let mut ops = confining;
        ops.insert(at, self.enter);
        ops
    }
}

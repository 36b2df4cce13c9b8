//! The program of a spec, and the operations that make a process what it asks for.

use super::resources::{Enforced, enforced};
use super::{CompileError, Facts, invalid};
use crate::oci::{Capabilities, EnvEntry, Process, Spec};
use crate::{capability, rlimit};
use orlop_wire::plan::{Op, Program};

/// Longest `PATH` walked; a longer one is cut. Each entry costs a failing execve.
const CANDIDATES_MAX: usize = 128;

/// What is searched when the environment has no `PATH`, as execvp(3) does.
const PATH_DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// mode of new files when the spec says nothing.
const UMASK_DEFAULT: u32 = 0o022;

/// Highest uid and gid: the kernel keeps `u32::MAX` for "no one", and half of what is left is what tools can print.
const ID_MAX: u32 = i32::MAX as u32;

/// Bounds of `oom_score_adj`.
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i64> = -1000..=1000;

/// Returns the process of a spec.
pub(super) fn of(spec: &Spec) -> Result<&Process, CompileError> {
    spec.process.as_ref().ok_or_else(|| invalid("process", "a program is needed"))
}

/// Returns the program.
pub(super) fn program(process: &Process) -> Result<Program, CompileError> {
    let word = process.args.first().filter(|word| !word.is_empty());
    let word = word.ok_or_else(|| invalid("process.args", "a program is needed, its name must not be empty"))?;
    if process.args.iter().any(|word| word.contains('\0')) {
        return Err(invalid("process.args", "an argument holds a NUL byte"));
    }
    if process.env.iter().any(|entry| entry.0.contains(&0)) {
        return Err(invalid("process.env", "an entry holds a NUL byte"));
    }
    Ok(Program {
        candidates: candidates(word, &process.env),
        argv: process.args.iter().map(|word| word.clone().into_bytes()).collect(),
        env: process.env.iter().map(|entry| entry.0.clone()).collect(),
    })
}

/// Returns the paths to try: the word itself when it has a slash, else each folder of `PATH` with it.
fn candidates(word: &str, env: &[EnvEntry]) -> Vec<String> {
    if word.contains('/') {
        return vec![word.to_owned()];
    }
    let path = env.iter().rev().find(|entry| entry.name() == Some(b"PATH")).and_then(EnvEntry::value);
    let folders = path.unwrap_or(PATH_DEFAULT).split(|b| *b == b':').take(CANDIDATES_MAX);
    // A folder that is not UTF-8 can't be written down in a plan; nothing is lost but that one folder.
    let folders = folders.filter_map(|folder| std::str::from_utf8(folder).ok());
    folders
        .map(|folder| match folder {
            // execvp(3): an empty entry is the working folder.
            "" => format!("./{word}"),
            folder => format!("{}/{word}", folder.trim_end_matches('/')),
        })
        .collect()
}

/// Returns the checked working folder.
pub(super) fn working_folder(process: &Process) -> Result<&str, CompileError> {
    let cwd = process.cwd.as_str();
    if cwd.starts_with('/') && !cwd.contains('\0') {
        Ok(cwd)
    } else {
        Err(invalid("process.cwd", format!("{cwd:?} is not an absolute path")))
    }
}

/// What the process that is made becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// The program.
    Program,
    /// An init of ours, and a child of it the program.
    Init,
}

/// Returns what opens the terminal of a process, and starts its session on it; `None` when it wants pipes.
pub(super) fn terminal(process: &Process, console: bool) -> Result<Option<Op>, CompileError> {
    if !process.terminal {
        return Ok(None);
    }
    let size = |name: &str| {
        let said = process.other.get("consoleSize").and_then(|size| size.get(name)).map(serde_json::Value::as_u64);
        let known = said.unwrap_or(Some(0)).and_then(|size| u16::try_from(size).ok());
        known.ok_or_else(|| invalid(format!("process.consoleSize.{name}"), format!("it goes from 0 to {}", u16::MAX)))
    };
    Ok(Some(Op::Terminal { rows: size("height")?, columns: size("width")?, console }))
}

/// Limits, out-of-memory score, umask and session, which a terminal starts: what still needs the shim's privileges.
pub(super) fn privileged_ops(
    process: &Process,
    first: First,
    terminal: Option<Op>,
    facts: &Facts<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Op>, CompileError> {
    let mut ops = Vec::new();
    if let Some(value) = process.oom_score_adj {
        let value = Some(value).filter(|value| OOM_SCORE_ADJ.contains(value));
        let value = value.and_then(|value| i16::try_from(value).ok());
        let value = value.ok_or_else(|| invalid("process.oomScoreAdj", "it goes from -1000 to 1000"))?;
        ops.push(Op::OomScoreAdj { value });
    }
    if first == First::Init {
        // Not the leader of the program's session, which may have a terminal; and not held by its limits.
        ops.push(Op::Init);
    }
    let session = terminal.is_none().then_some(Op::NewSession);
    // Before a limit on open files could forbid it.
    ops.extend(terminal);
    for limit in &process.rlimits {
        let resource = rlimit::number(&limit.kind)
            .ok_or_else(|| invalid("process.rlimits", format!("{:?} is not a resource limit", limit.kind)))?;
        if limit.soft > limit.hard {
            let why =
                format!("the soft limit of {} ({}) is above the hard one ({})", limit.kind, limit.soft, limit.hard);
            return Err(invalid("process.rlimits", why));
        }
        let (held, may_raise) = (facts.limits.of(resource), holds(facts, "SYS_RESOURCE"));
        if limit.hard > held && !may_raise {
            let why = format!("this node can't raise {} above {held}, so that is what it is", limit.kind);
            warnings.push(format!("process.rlimits: {why}"));
        }
        ops.push(Op::Rlimit { resource, soft: limit.soft, hard: limit.hard });
    }
    ops.push(Op::Umask { mask: process.user.umask.unwrap_or(UMASK_DEFAULT) & 0o777 });
    ops.extend(session);
    Ok(ops)
}

fn holds(facts: &Facts<'_>, capability: &str) -> bool {
    capability::bit(capability).is_some_and(|bit| facts.capabilities & (1 << bit) != 0)
}

/// Capabilities, user and filter, in the order in which each still may be done: the bounding set needs CAP_SETPCAP, the
/// identity CAP_SETUID and CAP_SETGID, a filter CAP_SYS_ADMIN unless new privileges are out of reach.
pub(super) fn confining_ops(
    spec: &Spec,
    process: &Process,
    facts: &Facts<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Op>, CompileError> {
    let withheld = withheld(spec, facts, warnings);
    let sets = Sets::new(process.capabilities.as_ref(), facts.capabilities, withheld, warnings);
    let seccomp = filter(spec, facts, warnings)?;
    let (before, after) = if process.no_new_privileges { (None, seccomp) } else { (seccomp, None) };
    let mut ops = vec![Op::CapabilityBounding { keep: sets.bounding }];
    ops.extend(before);
    ops.push(identity(process)?);
    ops.push(Op::Capabilities {
        effective: sets.effective,
        permitted: sets.permitted,
        inheritable: sets.inheritable,
        ambient: sets.ambient,
    });
    if process.no_new_privileges {
        ops.push(Op::NoNewPrivileges);
    }
    ops.extend(after);
    Ok(ops)
}

fn filter(spec: &Spec, facts: &Facts<'_>, warnings: &mut Vec<String>) -> Result<Option<Op>, CompileError> {
    let Some(profile) = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) else { return Ok(None) };
    if profile.listener_path.is_some() {
        return Err(super::unsupported("linux.seccomp.listenerPath", "nobody here listens for notifications yet"));
    }
    let filter = facts.profiles.get(profile).map_err(|bad| invalid("linux.seccomp", bad.to_string()))?;
    warnings.extend(filter.warnings.iter().cloned());
    Ok(Some(Op::Seccomp { program: filter.program.clone(), flags: filter.flags }))
}

fn identity(process: &Process) -> Result<Op, CompileError> {
    let user = &process.user;
    let mut groups = user.additional_gids.clone();
    groups.sort_unstable();
    groups.dedup();
    let ids = [("uid", user.uid), ("gid", user.gid)].into_iter();
    for (name, id) in ids.chain(groups.iter().map(|gid| ("additionalGids", *gid))) {
        if id > ID_MAX {
            return Err(invalid(format!("process.user.{name}"), format!("{id} is out of range, the last is {ID_MAX}")));
        }
    }
    Ok(Op::Identity { uid: user.uid, gid: user.gid, groups })
}

/// Returns the capabilities that a process does not get though it may ask for them. Where nothing enforces its device rules
/// it may not make devices: one that it made, of a disk of the node, it could open.
fn withheld(spec: &Spec, facts: &Facts<'_>, warnings: &mut Vec<String>) -> u64 {
    match spec.linux.as_ref().map_or(Enforced::ByFiles, |linux| enforced(linux, facts)) {
        Enforced::ByFiles | Enforced::ByProgram => 0,
        Enforced::No => {
            let why = "this kernel takes no device programs (CONFIG_CGROUP_BPF), so CAP_MKNOD is not given";
            warnings.push(format!("linux.resources.devices: {why}"));
            capability::bit("MKNOD").map_or(0, |bit| 1 << bit)
        }
    }
}

/// Capability sets as masks, each within what the next allows.
struct Sets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

impl Sets {
    /// What is not known or not ours to give is passed over with a warning, as runtime-spec 1.3 says; what contradicts is
    /// cut to what the kernel would take. capabilities(7) "Transformation".
    fn new(asked: Option<&Capabilities>, held: u64, withheld: u64, warnings: &mut Vec<String>) -> Self {
        let nothing = Capabilities::default();
        let asked = asked.unwrap_or(&nothing);
        let mut set = |name: &str, names: &[String]| {
            let (mask, unknown) = capability::mask(names);
            warnings.extend(unknown.iter().map(|cap| format!("process.capabilities.{name}: {cap:?} is not known")));
            let missing = capability::names(mask & !held);
            if !missing.is_empty() {
                warnings.push(format!("process.capabilities.{name}: this node can't give {}", missing.join(", ")));
            }
            mask & held & !withheld
        };
        let bounding = set("bounding", &asked.bounding);
        let permitted = set("permitted", &asked.permitted);
        let effective = set("effective", &asked.effective) & permitted;
        let inheritable = set("inheritable", &asked.inheritable);
        // The kernel takes an ambient capability only when it is permitted and inheritable.
        let ambient = set("ambient", &asked.ambient) & permitted & inheritable;
        Self { bounding, effective, permitted, inheritable, ambient }
    }
}

//! The child: from its first instruction to execve(2). Allocates nothing, takes no lock, makes raw calls only.

use crate::init;
use crate::kernel::{self, raw};
use crate::launch::FAILED;
use crate::mounts;
use crate::prepare::{Prepared, Source, Step};
use crate::report::{Stage, tell};
use crate::resolve::Make;
use crate::sources;
use crate::terminal;
use orlop_sys::child as own;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The mask that a program gets when its plan sets none; while the plan runs it is 0, so that modes are exact.
const UMASK_DEFAULT: u32 = 0o022;

/// What a later step needs of an earlier one.
struct Progress {
    /// The container's root, once it is known.
    root: Option<OwnedFd>,
    /// The slave of its terminal.
    terminal: Option<OwnedFd>,
    umask: u32,
    settled: bool,
}

/// Runs the plan in a process that was born in a user namespace; `before` is what came of [`prepare_users`], `sources` where
/// what it binds comes from.
pub(crate) fn run_inside(
    plan: &mut Prepared<'_>,
    before: Result<(), (Stage, Errno)>,
    sources: &OwnedFd,
    pipe: BorrowedFd<'_>,
) -> Option<u8> {
    let mut run = || {
        before?;
        be_born(plan).and_then(|()| kernel::become_inner_root()).map_err(|errno| (Stage::Birth, errno))?;
        join(plan)?;
        sources::take(plan, sources)?;
        go_on(plan, 0, &mut Progress::new(), pipe)
    };
    told(run(), pipe)
}

/// Runs the plan. Returns the status of what it became when that was an init, and `None` when something failed, which it
/// has told by then.
pub(crate) fn run(plan: &mut Prepared<'_>, pipe: BorrowedFd<'_>) -> Option<u8> {
    told(try_run(plan, pipe), pipe)
}

fn told(outcome: Result<u8, (Stage, Errno)>, pipe: BorrowedFd<'_>) -> Option<u8> {
    outcome.map_err(|(stage, errno)| tell(pipe, stage, errno)).ok()
}

fn try_run(plan: &mut Prepared<'_>, pipe: BorrowedFd<'_>) -> Result<u8, (Stage, Errno)> {
    be_born(plan).map_err(|errno| (Stage::Birth, errno))?;
    prepare_users(plan)?;
    join(plan)?;
    sources::open(plan)?;
    go_on(plan, 0, &mut Progress::new(), pipe)
}

fn join(plan: &Prepared<'_>) -> Result<(), (Stage, Errno)> {
    for join in &plan.joins {
        let failed = |errno| (Stage::Join(join.at), errno);
        raw(own::enter(join.from, join.kinds)).map_err(failed)?;
        if join.kinds & libc::CLONE_NEWUSER as u64 != 0 {
            kernel::become_inner_root().map_err(failed)?;
        }
    }
    Ok(())
}

/// What needs rights on the node, of a process that will have none: to give its pipes away, to be killed later than others,
/// and to raise its limits. Waits for nothing. Quiet for one that stays among the node's users.
pub(crate) fn prepare_users(plan: &Prepared<'_>) -> Result<(), (Stage, Errno)> {
    let Some(users) = &plan.users else { return Ok(()) };
    kernel::give_pipes(&plan.stdio, users.program).map_err(|errno| (Stage::Birth, errno))?;
    for (at, step) in numbered(&plan.steps) {
        let failed = |errno| (Stage::Op(at), errno);
        if let Step::OomScoreAdj(value) = step {
            kernel::set_oom_score(plan.node_proc, value).map_err(failed)?;
        } else if let Step::Rlimit { resource, hard, .. } = step {
            kernel::raise_limit(*resource, *hard).map_err(failed)?;
        }
    }
    Ok(())
}

/// Does every step from one on. Returns only as an init whose child has ended, or with what failed.
fn go_on(plan: &Prepared<'_>, from: u32, progress: &mut Progress, pipe: BorrowedFd<'_>) -> Result<u8, (Stage, Errno)> {
    for (at, step) in numbered(&plan.steps).skip(from as usize) {
        let failed = |errno| (Stage::Op(at), errno);
        if matches!(step, Step::Init) {
            let child = || told(go_on(plan, at + 1, progress, pipe), pipe).unwrap_or(FAILED);
            return init::be_above(child).map_err(failed);
        }
        let source = plan.sources[at as usize].as_ref().map(AsFd::as_fd);
        perform(plan, step, source, progress).map_err(failed)?;
    }
    settle(progress).map_err(|errno| (Stage::Settle, errno))?;
    Err((Stage::Exec, execute(plan)))
}

pub(crate) fn numbered<T>(items: &[T]) -> impl Iterator<Item = (u32, &T)> {
    (0_u32..).zip(items)
}

/// Takes its place: standard descriptors, cgroup, a cgroup namespace.
fn be_born(plan: &Prepared<'_>) -> Result<(), Errno> {
    // What this process holds is the shim's until it becomes its program (CVE-2016-9962, CVE-2019-5736).
    raw(own::undumpable())?;
    for (number, fd) in (0..).zip(plan.stdio) {
        raw(own::place(fd, number))?;
    }
    for entry in &plan.cgroup_entries {
        rustix::io::write(entry, b"0")?;
    }
    if plan.unshare_flags != 0 {
        raw(own::unshare(plan.unshare_flags))?;
    }
    rustix::process::umask(Mode::empty());
    Ok(())
}

fn perform(
    plan: &Prepared<'_>,
    step: &Step<'_>,
    source: Option<BorrowedFd<'_>>,
    progress: &mut Progress,
) -> Result<(), Errno> {
    match step {
        Step::SetPropagation(flags) => mounts::set_all_propagation(*flags),
        Step::AttachRootfs(mount, attributes) => {
            mounts::attach_root(*mount, *attributes)?;
            progress.root = Some(rustix::io::fcntl_dupfd_cloexec(mount, 3)?);
            Ok(())
        }
        Step::MountNew(new) => mounts::mount_new(progress.root()?, new),
        Step::Bind(Source::Path(_), bind) => mounts::bind(progress.root()?, source.ok_or(Errno::BADF)?, bind),
        Step::Bind(Source::Descriptor(fd), bind) => mounts::bind(progress.root()?, source.unwrap_or(*fd), bind),
        Step::MakeDevice(device) => mounts::make_device(progress.root()?, device),
        Step::Symlink(to, target) => mounts::make_link(progress.root()?, to, target),
        Step::PivotRoot => mounts::pivot(progress.root()?),
        Step::Mask(target) => mounts::mask(progress.root()?, target, &plan.dev_null),
        Step::ReadonlyPath(target) => mounts::make_readonly(progress.root()?, target),
        Step::ReadonlyRoot => mounts::make_root_readonly(progress.root()?),
        Step::Sysctl(path, value) => kernel::set_sysctl(plan.node_proc, path, value),
        Step::Rlimit { resource, soft, hard } => kernel::set_limit(*resource, *soft, *hard),
        Step::Hostname(name) => rustix::system::sethostname(name),
        Step::Domainname(name) => rustix::system::setdomainname(name),
        // Done before, as in a user namespace it can only be raised.
        Step::OomScoreAdj(_) if plan.users.is_some() => Ok(()),
        Step::OomScoreAdj(value) => kernel::set_oom_score(plan.node_proc, value),
        Step::Umask(mask) => {
            progress.umask = *mask;
            Ok(())
        }
        Step::NewSession => rustix::process::setsid().map(drop),
        Step::CapabilityBounding(keep) => raw(own::limit_bounding(*keep)),
        Step::Identity { uid, gid, groups } => {
            if plan.users.is_none() {
                kernel::give_pipes(&plan.stdio, *uid)?;
            }
            if let Some(slave) = &progress.terminal {
                terminal::give(slave, *uid)?;
            }
            kernel::become_user(*uid, *gid, groups)
        }
        Step::Capabilities(sets, ambient) => {
            raw(own::set_capabilities(*sets))?;
            raw(own::set_ambient(*ambient))
        }
        Step::NoNewPrivileges => raw(own::no_new_privileges()),
        Step::Seccomp(program, flags) => {
            // A filter may forbid what is left to do but execve.
            settle(progress)?;
            raw(own::install_filter(program, *flags))
        }
        Step::Chdir { target, create } => {
            let root = progress.root()?;
            // Not by path: one of `/proc` would lead to what this process still holds of the node.
            let folder = if *create { target.open_or_make(root, Make::Folder)? } else { target.open(root)? };
            rustix::process::fchdir(folder)?;
            kernel::check_working_folder()
        }
        // It has no end that another step could follow.
        Step::Init => Err(Errno::INVAL),
        Step::Terminal(terminal) => {
            let parent = plan.terminal.as_ref().ok_or(Errno::BADF)?;
            progress.terminal = Some(terminal.open(progress.root()?, plan.node_proc, parent.as_fd())?);
            Ok(())
        }
    }
}

/// Leaves nothing of the shim to the program: descriptors, signals, mask. Once.
fn settle(progress: &mut Progress) -> Result<(), Errno> {
    if progress.settled {
        return Ok(());
    }
    progress.settled = true;
    raw(own::close_on_exec_from(3))?;
    raw(own::reset_signals())?;
    rustix::process::umask(Mode::from_raw_mode(progress.umask));
    Ok(())
}

/// Tries the candidates; returns why none of them runs. EACCES outlives a later ENOENT, as in execvp(3).
fn execute(plan: &Prepared<'_>) -> Errno {
    let mut reason = Errno::NOENT;
    for candidate in &plan.candidates {
        let errno = Errno::from_io_error(&own::execute(candidate, &plan.argv, &plan.env)).unwrap_or(Errno::IO);
        match errno {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => reason = errno,
            _ => return errno,
        }
    }
    reason
}

impl Progress {
    fn new() -> Self {
        Self { root: None, terminal: None, umask: UMASK_DEFAULT, settled: false }
    }

    /// Returns the container's root: the attached one, or of a process that joined a mount namespace its `/`.
    fn root(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        if self.root.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.root = Some(rustix::fs::open(c"/", flags, Mode::empty())?);
        }
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }
}

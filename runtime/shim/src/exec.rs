//! Execs: further programs in a running container.
//!
//! Each has a cgroup of its own in the unified hierarchy, below its container's, so that it can be killed with all it
//! started and nothing else. Its pipes are the daemon's: the shim sees no bytes.

use crate::error::{Failed, Result, Tried};
use crate::peers::Caller;
use crate::poll::Token;
use crate::task::{NoStart, Phase, Place, Starting, Task, launch, signal_quietly};
use orlop_cgroups::Leaf;
use orlop_sys::clone::Child;
use orlop_wire::frame::{EXECS_MAX, Exec};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A program in a container.
#[derive(Debug)]
pub(crate) struct ExecProcess {
    /// Names it in events.
    pub(crate) number: u32,
    pub(crate) child: Child,
    /// `None` once its program runs.
    pub(crate) starting: Option<Box<Starting>>,
    folder: Option<Folder>,
}

/// Its own cgroup.
#[derive(Debug)]
struct Folder {
    fd: OwnedFd,
    name: String,
}

// === impl ExecProcess ===

impl ExecProcess {
    /// Makes the process.
    pub(crate) fn start(
        number: u32,
        asked: Exec,
        slots: &[OwnedFd],
        caller: Caller,
        place: &Place<'_>,
    ) -> std::result::Result<Self, NoStart> {
        let tried = format!("run a program in container {}", asked.container);
        let refuse = |reason: &str, errno| NoStart::Refused(Failed::refused(&tried, reason, errno));
        let task = place.tasks.get(&asked.container).ok_or_else(|| refuse("it is not known", libc::ENOENT))?;
        match task.phase {
            Phase::Running { .. } => {}
            Phase::Starting(_) => return Err(refuse("it is not running yet", libc::EAGAIN)),
            Phase::Draining { .. } | Phase::Ended(_) => return Err(refuse("it has ended", libc::ESRCH)),
        }
        if task.execs.len() >= EXECS_MAX {
            return Err(refuse("too many programs run in it", libc::EAGAIN));
        }
        let stdio =
            [stdio(asked.stdin, slots, place), stdio(asked.stdout, slots, place), stdio(asked.stderr, slots, place)];
        let [Some(stdin), Some(stdout), Some(stderr)] = stdio else {
            return Err(refuse("a descriptor was not sent", libc::EINVAL));
        };
        let folder = Folder::make(task.leaf.as_ref(), asked.exec).map_err(NoStart::Refused)?;
        let below = folder.as_ref().map(|folder| folder.fd.as_fd());
        let launched = launch(&asked.plan, slots, task.leaf.as_ref(), below, [stdin, stdout, stderr], place);
        let launched = launched.and_then(|launched| {
            place.poll.add(&launched.report, Token::Report(number)).map_err(NoStart::Refused)?;
            Ok(launched)
        });
        match launched {
            Ok(launched) => {
                let starting = Starting::new(launched.report, launched.terminal, asked.plan, caller);
                Ok(Self { number, child: launched.child, starting: Some(Box::new(starting)), folder })
            }
            Err(error) => {
                remove(task, folder.as_ref());
                Err(error)
            }
        }
    }

    /// Kills it with all it started.
    pub(crate) fn kill(&self) -> Result<()> {
        if let Some(folder) = &self.folder {
            match rustix::fs::openat(&folder.fd, "cgroup.kill", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(file) => return rustix::io::write(&file, b"1").map(drop).tried("kill a program in a container"),
                // Linux 5.14 has the file.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).tried("kill a program in a container"),
            }
        }
        signal_quietly(self.child.pidfd.as_fd(), libc::SIGKILL as u8)
    }

    /// Removes its cgroup. One that still has a process stays, until its container's goes.
    pub(crate) fn clear(&self, task: &Task) {
        remove(task, self.folder.as_ref());
    }
}

fn remove(task: &Task, folder: Option<&Folder>) {
    if let Some((parent, folder)) = task.leaf.as_ref().and_then(Leaf::unified_dir_fd).zip(folder) {
        let _ = rustix::fs::unlinkat(parent, &folder.name, AtFlags::REMOVEDIR);
    }
}

fn stdio<'a>(slot: Option<u32>, slots: &'a [OwnedFd], place: &Place<'a>) -> Option<BorrowedFd<'a>> {
    match slot {
        None => Some(place.node.null.as_fd()),
        Some(slot) => slots.get(usize::try_from(slot).ok()?).map(AsFd::as_fd),
    }
}

// === impl Folder ===

impl Folder {
    /// Makes a cgroup below the container's in the unified hierarchy; `None` on a node without one.
    fn make(leaf: Option<&Leaf>, exec: u64) -> Result<Option<Self>> {
        let tried = "make the cgroup of a program in a container";
        let Some(parent) = leaf.and_then(Leaf::unified_dir_fd) else { return Ok(None) };
        let name = format!("exec-{exec}");
        match rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).tried(tried),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Some(Self { fd: rustix::fs::openat(parent, &name, flags, Mode::empty()).tried(tried)?, name }))
    }
}

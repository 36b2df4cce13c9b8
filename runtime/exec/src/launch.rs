//! The clone itself.

use crate::prepare::Prepared;
use crate::report::Report;
use crate::terminal::Master;
use crate::{child, sources};
use orlop_sys::child::enter;
use orlop_sys::clone::{Birth, Child, Under, spawn, spawn_under};
use orlop_sys::seqpacket::{self, Waits};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Status of a child that failed; its report says why, so that nobody needs to tell it from a program's.
pub(crate) const FAILED: u8 = 125;

/// A process that was made, and how to learn whether it became its program.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub child: Child,
    /// What it says.
    pub report: Report,
    /// Its terminal, when its plan has one; to be taken once its program runs.
    pub terminal: Option<Master>,
}

impl Prepared<'_> {
    /// Clones a child that runs the plan.
    ///
    /// # Errors
    /// When there is no child: the clone failed, or a PID namespace could not be entered.
    pub fn launch(mut self) -> io::Result<Launched> {
        let (report, pipe) = Report::pipe()?;
        let terminal = if self.has_terminal() {
            let (terminal, way) = Master::way()?;
            self.terminal = Some(way);
            Some(terminal)
        } else {
            None
        };
        if let Some(users) = self.users.as_ref().filter(|users| users.born_inside) {
            let under = Under { users: users.namespace, pid: self.pid_namespace };
            return Ok(Launched { child: self.launch_inside(under, &pipe)?, report, terminal });
        }
        if let Some(namespace) = self.pid_namespace {
            enter(namespace, libc::CLONE_NEWPID as u64)?;
        }
        let birth = Birth { namespaces: self.clone_flags, cgroup: self.cgroup };
        let spawned = spawn(&birth, || child::run(&mut self, pipe.as_fd()).unwrap_or(FAILED));
        if self.pid_namespace.is_some() {
            // The caller's own namespace can always be entered again; were it not, later children would land in the wrong one.
            enter(self.own_pid_namespace, libc::CLONE_NEWPID as u64)?;
        }
        Ok(Launched { child: spawned?, report, terminal })
    }

    /// Clones a child in a user namespace, and one beside it that opens what it binds. Waits for neither.
    fn launch_inside(self, under: Under<'_>, pipe: &OwnedFd) -> io::Result<Child> {
        let (ours, theirs) = seqpacket::pair(Waits::Yes)?;
        // Nobody waits for its end: who has children is told of this one as of any other.
        drop(spawn(&Birth::default(), || {
            sources::hand_over(&self, &ours);
            0
        })?);
        drop(ours);
        let birth = Birth { namespaces: self.clone_flags, cgroup: self.cgroup };
        let before = move || {
            let done = child::prepare_users(&self);
            (self, done)
        };
        spawn_under(under, &birth, before, |(mut plan, done)| {
            child::run_inside(&mut plan, done, &theirs, pipe.as_fd()).unwrap_or(FAILED)
        })
    }
}

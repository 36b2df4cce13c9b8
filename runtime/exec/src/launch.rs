//! The clone itself.

use crate::prepare::Prepared;
use crate::report::Report;
use crate::terminal::Master;
use orlop_sys::child::enter;
use orlop_sys::clone::{Birth, Child, spawn};
use std::io;
use std::os::fd::AsFd;

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
        if let Some(namespace) = self.pid_namespace {
            enter(namespace, libc::CLONE_NEWPID as u64)?;
        }
        let birth = Birth { namespaces: self.clone_flags, cgroup: self.cgroup };
        let spawned = spawn(&birth, || crate::child::run(&mut self, pipe.as_fd()).unwrap_or(FAILED));
        if self.pid_namespace.is_some() {
            // The caller's own namespace can always be entered again; were it not, later children would land in the wrong one.
            enter(self.own_pid_namespace, libc::CLONE_NEWPID as u64)?;
        }
        Ok(Launched { child: spawned?, report, terminal })
    }
}

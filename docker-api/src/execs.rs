//! Programs run beside containers' own: asked for, running, ended.
//!
//! They live with the daemon: one that dies ends them, as their streams are in its hands.

use crate::dto::exec::ExecRequest;
use orlop_model::ContainerId;
use orlop_model::streams::TerminalSize;
use rustix::termios::{Winsize, tcsetwinsize};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Programs remembered at a time; the oldest that have ended are forgotten first.
const EXECS_MAX: usize = 4096;

/// All programs, by id.
#[derive(Debug, Default)]
pub(crate) struct Execs(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_id: BTreeMap<String, Arc<Exec>>,
    next: u64,
}

/// A program run beside a container's own.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) container: ContainerId,
    pub(crate) asked: ExecRequest,
    number: u64,
    state: Mutex<ExecState>,
    /// Its terminal, while it runs with one.
    terminal: Mutex<Option<OwnedFd>>,
}

/// Where a program is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecState {
    /// Asked for.
    Created,
    /// Started, or about to be.
    Running {
        /// Process id on the node; 0 until it is known.
        pid: u32,
    },
    /// Over.
    Ended {
        /// Process id that it had.
        pid: u32,
        /// Exit status.
        code: i32,
    },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Execs {
    /// Remembers a program that is asked for; `None` when there are too many.
    pub(crate) fn create(&self, id: String, container: ContainerId, asked: ExecRequest) -> Option<Arc<Exec>> {
        let mut inner = lock(&self.0);
        if inner.by_id.len() >= EXECS_MAX {
            let ended = inner
                .by_id
                .values()
                .filter(|exec| matches!(exec.state(), ExecState::Ended { .. } | ExecState::Created));
            let oldest = ended.min_by_key(|exec| exec.number)?.id.clone();
            inner.by_id.remove(&oldest);
        }
        inner.next += 1;
        let exec = Exec {
            id: id.clone(),
            container,
            asked,
            number: inner.next,
            state: Mutex::new(ExecState::Created),
            terminal: Mutex::default(),
        };
        let exec = Arc::new(exec);
        inner.by_id.insert(id, Arc::clone(&exec));
        Some(exec)
    }

    /// Finds a program by id, or the beginning of one.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Exec>> {
        let inner = lock(&self.0);
        if let Some(exact) = inner.by_id.get(id) {
            return Some(Arc::clone(exact));
        }
        let mut begin =
            inner.by_id.range(id.to_owned()..).take_while(|(there, _)| there.starts_with(id) && !id.is_empty());
        match (begin.next(), begin.next()) {
            (Some((_, exec)), None) => Some(Arc::clone(exec)),
            _ => None,
        }
    }

    /// Returns the ids of the programs that run beside a container's own.
    pub(crate) fn of(&self, container: &ContainerId) -> Vec<String> {
        let inner = lock(&self.0);
        let of = inner.by_id.values().filter(|exec| exec.container == *container);
        of.filter(|exec| matches!(exec.state(), ExecState::Running { .. })).map(|exec| exec.id.clone()).collect()
    }

    /// Forgets the programs of a container that is gone.
    pub(crate) fn forget(&self, container: &ContainerId) {
        lock(&self.0).by_id.retain(|_, exec| exec.container != *container);
    }
}

impl Exec {
    pub(crate) fn state(&self) -> ExecState {
        *lock(&self.state)
    }

    /// Takes the one start it has; false when it was taken.
    pub(crate) fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        let first = *state == ExecState::Created;
        if first {
            *state = ExecState::Running { pid: 0 };
        }
        first
    }

    /// Remembers what has become of it.
    pub(crate) fn become_(&self, state: ExecState) {
        *lock(&self.state) = state;
        if matches!(state, ExecState::Ended { .. }) {
            lock(&self.terminal).take();
        }
    }

    /// Keeps its terminal, to set its size.
    pub(crate) fn keep_terminal(&self, terminal: &OwnedFd) {
        // Without a descriptor to spare it can't be resized, and runs all the same.
        *lock(&self.terminal) = terminal.try_clone().ok();
    }

    /// Sets the size of its terminal; `None` when it has none.
    pub(crate) fn resize(&self, size: TerminalSize) -> Option<io::Result<()>> {
        let terminal = lock(&self.terminal);
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        terminal.as_ref().map(|terminal| tcsetwinsize(terminal, size).map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_started_once_and_forgotten_with_its_container() {
        let (execs, container) = (Execs::default(), ContainerId::from_random([1; 32]));
        let exec = execs.create("abc".into(), container.clone(), ExecRequest::default()).unwrap();
        assert!(exec.begin() && !exec.begin());
        assert_eq!(execs.of(&container), ["abc"]);
        assert_eq!(execs.find("ab").unwrap().id, "abc");
        assert!(execs.find("").is_none() && execs.find("x").is_none());
        exec.become_(ExecState::Ended { pid: 1, code: 3 });
        assert!(execs.of(&container).is_empty());
        execs.forget(&container);
        assert!(execs.find("abc").is_none());
    }
}

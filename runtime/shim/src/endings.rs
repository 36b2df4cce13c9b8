//! Ends that are asked for: containers killed and dropped, one look at a time.
//!
//! A process that does not go (it waits for a dead file server, or writes a large core) must not keep the shim from
//! answering others. So nothing here waits: what is not done at the first look is looked at again when a child ended or its
//! pause is over, until it is done or too late.

use crate::error::{Failed, Result, Tried};
use crate::journal;
use crate::peers::Caller;
use crate::shim::Shim;
use crate::task::Task;
use orlop_cgroups::Killing;
use orlop_wire::frame::Reply;
use std::time::Instant;

/// An end under way.
#[derive(Debug)]
pub(crate) struct Ending {
    killing: Killing,
    callers: Vec<(Caller, After)>,
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// No process is left.
    Killed,
    /// Nothing is left.
    Dropped,
}

/// How far an end is.
enum Look {
    Done,
    NotYet,
}

impl Shim {
    /// Kills every process of a container that is known; a caller is answered once what it waits for is so.
    pub(crate) fn end_task(&mut self, id: &str, caller: Option<(Caller, After)>) {
        let begin = || Ending { killing: Killing::begin(), callers: Vec::new() };
        self.endings.entry(id.to_owned()).or_insert_with(begin).callers.extend(caller);
        self.go_on_with(id);
    }

    /// Looks at every end that is due.
    pub(crate) fn go_on_with_endings(&mut self) {
        let now = Instant::now();
        let due = self.endings.iter().filter(|(_, ending)| ending.killing.next_look() <= now);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.go_on_with(&id);
        }
    }

    /// Returns when the next end is due.
    pub(crate) fn next_ending(&self) -> Option<Instant> {
        self.endings.values().map(|ending| ending.killing.next_look()).min()
    }

    /// Looks again at once: a child has ended.
    pub(crate) fn hurry_endings(&mut self) {
        self.endings.values_mut().for_each(|ending| ending.killing.hurry());
    }

    fn go_on_with(&mut self, id: &str) {
        let Some(mut ending) = self.endings.remove(id) else { return };
        match self.look(id, &mut ending) {
            Ok(Look::Done) => self.finish_if_drained(id),
            Ok(Look::NotYet) => drop(self.endings.insert(id.to_owned(), ending)),
            Err(error) => {
                journal::write(&format!("container {id}: {error}"));
                for (caller, _) in ending.callers {
                    self.reply(caller, &error.reply(), Vec::new());
                }
                self.finish_if_drained(id);
            }
        }
    }

    fn look(&mut self, id: &str, ending: &mut Ending) -> Result<Look> {
        if let Some(task) = self.tasks.get(id)
            && !task.kill(&mut ending.killing)?
        {
            return Ok(Look::NotYet);
        }
        self.answer_those(ending, After::Killed);
        if ending.callers.is_empty() {
            return Ok(Look::Done);
        }
        // Its first process is a zombie by now: reaped and reported like any other, so that nobody waits for it in vain.
        self.reap();
        if self.tasks.get(id).is_some_and(Task::lives) && !ending.killing.is_late() {
            return Ok(Look::NotYet);
        }
        self.stop_draining(id);
        if let Some(leaf) = self.tasks.get(id).and_then(|task| task.leaf.as_ref())
            && !leaf.try_remove().tried("remove the cgroup of a container")?
        {
            let busy = || Failed::refused("remove the cgroup of a container", "it is still busy", libc::EBUSY);
            return if ending.killing.is_late() { Err(busy()) } else { Ok(Look::NotYet) };
        }
        self.tasks.remove(id);
        self.ends.forget(id)?;
        self.answer_those(ending, After::Dropped);
        Ok(Look::Done)
    }

    fn answer_those(&mut self, ending: &mut Ending, wait_for: After) {
        let (answered, others) = std::mem::take(&mut ending.callers).into_iter().partition(|(_, a)| *a == wait_for);
        ending.callers = others;
        let answered: Vec<(Caller, After)> = answered;
        for (caller, _) in answered {
            self.reply(caller, &Reply::Done, Vec::new());
        }
    }
}

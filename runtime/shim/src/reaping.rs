//! Ends of processes, and reports of those on their way: how a task moves from one phase to the next.

use crate::clock::Stamp;
use crate::journal;
use crate::poll::Poll;
use crate::shim::Shim;
use crate::supervise::{Reaped, reap_some};
use crate::task::{Input, Phase, Starting, Task, remove_quietly};
use orlop_cgroups::Leaf;
use orlop_exec::Outcome;
use orlop_wire::exit::ExitRecord;
use orlop_wire::frame::{Event, Failed as NotStarted, Phase as HowFar, Reply};
use std::time::{Duration, Instant};

/// How long pipes are read after the first process ended, while something else still holds them.
const DRAIN: Duration = Duration::from_secs(2);

impl Shim {
    // === ends of processes ===

    /// Reaps children that have ended, adopted ones included.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        let all = reap_some();
        if !all.is_empty() {
            self.hurry_endings();
        }
        for reaped in all {
            self.ended(reaped);
        }
    }

    fn ended(&mut self, reaped: Reaped) {
        let of_task = self.tasks.iter().find(|(_, task)| task.child.pid == reaped.pid && task.lives());
        if let Some(id) = of_task.map(|(id, _)| id.clone()) {
            return self.task_ended(&id, reaped);
        }
        let of_exec = self.tasks.iter().find_map(|(id, task)| {
            let (exec, _) = task.execs.iter().find(|(_, exec)| exec.child.pid == reaped.pid)?;
            Some((id.clone(), *exec))
        });
        if let Some((id, exec)) = of_exec {
            return self.exec_ended(&id, exec, reaped);
        }
        if self.sandbox.as_ref().is_some_and(|sandbox| sandbox.has_init(reaped.pid)) {
            journal::write(&format!("the pod's init ended: {:?}", reaped.status));
        }
        // Else an orphan of a container that shares the node's processes.
    }

    /// A first process ended: it may have failed before it became its program, or have run.
    fn task_ended(&mut self, id: &str, reaped: Reaped) {
        let Some(number) = self.tasks.get(id).map(|task| task.number) else { return };
        // What it said last counts, whichever event came first.
        self.hear_report(number);
        let Some(task) = self.tasks.get_mut(id) else { return };
        match &task.phase {
            Phase::Starting(_) => self.task_failed(id),
            Phase::Running { started_ns } => {
                let record = ExitRecord {
                    started_ns: *started_ns,
                    finished_ns: Stamp::now().0,
                    status: reaped.status,
                    oom: was_out_of_memory(task.leaf.as_ref()),
                };
                task.phase = Phase::Draining { record, until: Instant::now() + DRAIN };
                if let Some(terminal) = task.output.terminal() {
                    terminal.let_go();
                }
                if !task.has_own_pids {
                    self.end_task(id, None);
                }
                self.finish_if_drained(id);
            }
            Phase::Draining { .. } | Phase::Ended(_) => {}
        }
    }

    /// A process that never became its program: nothing of it is kept.
    fn task_failed(&mut self, id: &str) {
        let Some(mut task) = self.tasks.remove(id) else { return };
        task.output.give_up(&mut self.buffer, &self.poll);
        // It had no children: it never became a program.
        remove_quietly(task.leaf.take());
        if let Phase::Starting(starting) = task.phase {
            let failed = match starting.failure {
                Some(failure) => failure.describe(&starting.plan),
                // Not possible: a report without a failure makes it Running.
                None => NotStarted { what: "start".to_owned(), errno: libc::EIO, phase: HowFar::Setup },
            };
            for caller in starting.waiting {
                self.reply(caller, &Reply::Failed(failed.clone()), Vec::new());
            }
        }
    }

    fn exec_ended(&mut self, id: &str, exec: u64, reaped: Reaped) {
        if let Some(number) = self.tasks.get(id).and_then(|task| task.execs.get(&exec)).map(|exec| exec.number) {
            self.hear_report(number);
        }
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(ended) = task.execs.remove(&exec) else { return };
        ended.clear(task);
        match ended.starting {
            None => {
                let event = Event::ExecExited { container: id.to_owned(), exec, status: reaped.status };
                self.peers.report(&event, &self.poll);
            }
            Some(starting) => {
                let failed = starting.failure.map(|failure| failure.describe(&starting.plan));
                let failed =
                    failed.unwrap_or(NotStarted { what: "start".to_owned(), errno: libc::EIO, phase: HowFar::Setup });
                for caller in starting.waiting {
                    self.reply(caller, &Reply::Failed(failed.clone()), Vec::new());
                }
            }
        }
    }

    // === reports of processes on the way to their program ===

    /// Reads the report of a task or an exec. A failure is only kept: the reply follows when the process is reaped, so that
    /// nothing of it is left by then.
    pub(crate) fn hear_report(&mut self, number: u32) {
        let of_task = self.tasks.values_mut().find(|task| task.number == number);
        if let Some(task) = of_task {
            let Phase::Starting(starting) = &mut task.phase else { return };
            if starting.hear(&self.poll) {
                let (pid, at_ns) = (task.child.pid, Stamp::now().0);
                let (waiting, terminal) = (std::mem::take(&mut starting.waiting), starting.take_terminal());
                task.phase = Phase::Running { started_ns: at_ns };
                let taken = terminal.map(|master| task.output.take_terminal(master, number, &self.poll));
                if let Some(Err(error)) = taken {
                    journal::write(&format!("the output of a container is lost: {error}"));
                }
                for caller in waiting {
                    self.reply(caller, &Reply::Started { pid, at_ns }, Vec::new());
                }
            }
            return;
        }
        let of_exec = self.tasks.values_mut().flat_map(|task| task.execs.values_mut()).find(|e| e.number == number);
        if let Some(exec) = of_exec
            && let Some(starting) = &mut exec.starting
            && starting.hear(&self.poll)
        {
            let (pid, waiting) = (exec.child.pid, std::mem::take(&mut starting.waiting));
            let terminal = starting.take_terminal();
            exec.starting = None;
            for caller in waiting {
                // The kernel is out of descriptors when it fails; whoever asked hears that none came.
                let slots = terminal.iter().filter_map(|terminal| terminal.try_clone().ok()).collect();
                self.reply(caller, &Reply::ExecStarted { pid }, slots);
            }
        }
    }

    pub(crate) fn finish_if_drained(&mut self, id: &str) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Phase::Draining { record, .. } = task.phase else { return };
        // Without processes of its own, its end is that of all it forked.
        let goes_on = !task.has_own_pids && self.endings.contains_key(id);
        if !task.output.is_complete() || goes_on {
            return;
        }
        task.phase = Phase::Ended(record);
        // Nobody writes to it any more, and its end is what Linux tells the holder.
        task.stdin = Input::Closed;
        if let Err(error) = self.ends.write(id, &record) {
            journal::write(&format!("container {id}: {error}"));
        }
        self.peers.report(&Event::Exited { container: id.to_owned(), record }, &self.poll);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.tasks.values().filter_map(Task::drains_until).chain(self.next_ending()).min()
    }

    /// Stops waiting for pipes that a stranger holds.
    pub(crate) fn end_late_drains(&mut self) {
        let now = Instant::now();
        let late = |task: &Task| task.drains_until().is_some_and(|until| until <= now);
        let ids: Vec<String> = self.tasks.iter().filter(|(_, task)| late(task)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.output.give_up(&mut self.buffer, &self.poll);
            }
            self.finish_if_drained(&id);
        }
    }

    /// Stops waiting for the pipes of a task that was killed.
    pub(crate) fn stop_draining(&mut self, id: &str) {
        if let Some(task) = self.tasks.get_mut(id).filter(|task| task.drains_until().is_some()) {
            task.output.give_up(&mut self.buffer, &self.poll);
        }
        self.finish_if_drained(id);
    }
}

impl Task {
    fn drains_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Draining { until, .. } if !self.output.is_complete() => Some(until),
            Phase::Draining { .. } | Phase::Starting(_) | Phase::Running { .. } | Phase::Ended(_) => None,
        }
    }
}

impl Starting {
    /// Reads the report; says whether the program runs.
    fn hear(&mut self, poll: &Poll) -> bool {
        match self.report.read() {
            Ok(Outcome::Pending) => false,
            Ok(Outcome::Running) => {
                poll.remove(&self.report);
                self.failure.is_none()
            }
            Ok(Outcome::Failed(failure)) => {
                self.failure = Some(failure);
                poll.remove(&self.report);
                false
            }
            Err(error) => {
                journal::write(&format!("a report can't be read: {error}"));
                poll.remove(&self.report);
                false
            }
        }
    }
}

/// Says whether the kernel killed a process of a cgroup for memory. Asked while the cgroup is still there.
fn was_out_of_memory(leaf: Option<&Leaf>) -> bool {
    leaf.is_some_and(|leaf| leaf.oom_kills().is_ok_and(|kills| kills.is_some_and(|kills| kills > 0)))
}

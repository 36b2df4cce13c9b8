//! Sandboxes and processes in memory. A program runs until a signal or [`World::end_task`] ends it, or for no time at all.

use crate::{Bug, Fault, Shim, Task, World};
use orlop_model::container::{LogPath, Resources};
use orlop_model::container_state::{Checked, Ended, Exit};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::{
    Answer, Exec, ExecIo, ExecOutput, Launched, NetworkNamespace, Observed, ObservedTask, OpenExec, Runtime,
    RuntimeListener, Start, Update, internal,
};
use orlop_model::sandbox::SandboxSpec;
use orlop_model::sandbox_state::Attachment;
use orlop_model::streams::{Attached, TerminalSize, WantedStreams};
use orlop_model::usage::{Usage, UsageOf};
use orlop_model::{ContainerId, SandboxId};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// SIGKILL; signal(7).
const SIGKILL: u8 = 9;
/// How a program ends that runs for no time.
const SHORT_LIFE: Exit = Exit::Code { code: 3, oom: false };

impl World {
    fn any_fd() -> Result<OwnedFd> {
        std::fs::File::open("/").map(OwnedFd::from).map_err(|wrong| internal(wrong.to_string()))
    }

    /// Starts a process, unless the shim knows a task of that name: then it says how that one started, as shims do.
    fn launch(&self, sandbox: &SandboxId, id: &ContainerId) -> Result<(Launched, Option<Ended>)> {
        let at = World::now(self);
        let mut node = self.node();
        node.makes_of_container("the process", id);
        let short_lives = node.short_lives_per_mille;
        let short = node.chance(short_lives);
        if short {
            node.tally.hit(Fault::EndsAtOnce);
        }
        node.next_pid += 1;
        let pid = node.next_pid;
        let gone = || Failure::new(ErrorKind::Unavailable, "the sandbox has no shim");
        let shim = node.shims.get_mut(sandbox).filter(|shim| shim.alive).ok_or_else(gone)?;
        let started = if short {
            Task::Ended(Ended { started: Some(at), finished: at, exit: SHORT_LIFE })
        } else {
            Task::Running { pid, started: at, frozen: false }
        };
        Ok(match shim.tasks.entry(id.clone()).or_insert(started) {
            Task::Running { pid, started, .. } => (Launched::Running { pid: *pid, at: *started }, None),
            Task::Ended(ended) => (Launched::Running { pid, at: ended.started.unwrap_or(at) }, Some(ended.clone())),
        })
    }
}

impl World {
    fn set_frozen(&self, sandbox: &SandboxId, id: &ContainerId, to: bool) {
        let mut node = self.node();
        let task = node.shims.get_mut(sandbox).and_then(|shim| shim.tasks.get_mut(id));
        if let Some(Task::Running { frozen, .. }) = task {
            *frozen = to;
        }
    }

    fn is_deaf(&self) -> bool {
        let mut node = self.node();
        let deaf = node.deaf_per_mille;
        let deaf = node.signals_ignored || node.chance(deaf);
        if deaf {
            node.tally.hit(Fault::SignalIgnored);
        }
        deaf
    }

    /// Ends a sandbox's processes. Their ends are kept once, until they are forgotten or this is called again.
    fn take_down(&self, id: &SandboxId) -> Vec<(ContainerId, Ended)> {
        let now = World::now(self);
        let ended = |task| match task {
            Task::Ended(ended) => ended,
            Task::Running { started, .. } => {
                Ended { started: Some(started), finished: now, exit: Exit::Signal { signal: SIGKILL, oom: false } }
            }
        };
        let mut node = self.node();
        let Some(shim) = node.shims.remove(id) else { return Vec::new() };
        let ends: Vec<_> = shim.tasks.into_iter().map(|(id, task)| (id, ended(task))).collect();
        if node.has(Bug::ExitForgotten) {
            return Vec::new();
        }
        if !shim.dropped && !ends.is_empty() {
            let tasks = ends.iter().map(|(id, ended)| (id.clone(), Task::Ended(ended.clone()))).collect();
            node.shims.insert(id.clone(), Shim { dropped: true, tasks, ..Shim::default() });
        }
        ends
    }
}

impl Runtime for World {
    fn report_to(&self, listener: Arc<dyn RuntimeListener>) {
        self.node().listener = Some(listener);
    }

    fn raise<'a>(&'a self, id: &'a SandboxId, _spec: &'a SandboxSpec) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.begins().await;
            {
                let mut node = self.node();
                node.makes_of_sandbox("the shim", id);
                let shim = node.shims.entry(id.clone()).or_default();
                if !shim.alive {
                    *shim = Shim { alive: true, ..Shim::default() };
                }
            }
            self.effect("raise").await?;
            self.answers(()).await
        })
    }

    fn write_hosts<'a>(
        &'a self,
        id: &'a SandboxId,
        _spec: &'a SandboxSpec,
        _attachments: &'a [Attachment],
    ) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("write hosts").await?;
            let alive = self.node().shims.get(id).is_some_and(|shim| shim.alive);
            if alive { Ok(()) } else { Err(internal(format!("sandbox {id} has no shim"))) }
        })
    }

    fn network_namespace<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<NetworkNamespace>> {
        Box::pin(async move {
            if !self.node().shims.get(id).is_some_and(|shim| shim.alive) {
                return Err(internal(format!("sandbox {id} has no shim")));
            }
            Ok(NetworkNamespace { namespace: Self::any_fd()?, route_socket: Self::any_fd()? })
        })
    }

    fn drop_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<Vec<(ContainerId, Ended)>>> {
        Box::pin(async move {
            self.effect("drop sandbox").await?;
            let ends = self.take_down(id);
            {
                let mut node = self.node();
                if node.has(Bug::ShimKept) {
                    node.shims.insert(id.clone(), Shim { alive: true, ..Shim::default() });
                }
            }
            self.answers(ends).await
        })
    }

    fn observe<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<Observed>> {
        Box::pin(async move {
            self.effect("observe").await?;
            let (silent, slow) = self.node().shims.get(id).map(|shim| (shim.silent, shim.slow)).unwrap_or_default();
            if !slow.is_zero() {
                tokio::time::sleep(slow).await;
            }
            if silent {
                tokio::time::sleep(crate::SILENT_ASK).await;
                return Err(Failure::new(ErrorKind::TimedOut, "the shim does not answer"));
            }
            let seen = |task: &Task| match task {
                Task::Running { pid, started, frozen } => {
                    ObservedTask::Running { pid: *pid, started: *started, frozen: *frozen }
                }
                Task::Ended(ended) => ObservedTask::Ended(ended.clone()),
            };
            let ended = |(id, task): (&ContainerId, &Task)| match task {
                Task::Ended(ended) => Some((id.clone(), ended.clone())),
                Task::Running { .. } => None,
            };
            Ok(match self.node().shims.get(id) {
                Some(Shim { alive: true, tasks, .. }) => {
                    Observed::Shim { tasks: tasks.iter().map(|(id, task)| (id.clone(), seen(task))).collect() }
                }
                Some(Shim { tasks, .. }) => Observed::NoShim { ended: tasks.iter().filter_map(ended).collect() },
                None => Observed::NoShim { ended: Vec::new() },
            })
        })
    }

    fn leftovers(&self) -> Answer<'_, Result<Vec<SandboxId>>> {
        let shims = self.node().shims.keys().cloned().collect();
        Box::pin(std::future::ready(Ok(shims)))
    }

    fn check<'a>(&'a self, _start: Start<'a>) -> Answer<'a, Result<Checked>> {
        Box::pin(async move {
            self.effect("check").await?;
            self.answers(Checked { uid: 0, gid: 0, groups: Vec::new(), stop_signal: 15 }).await
        })
    }

    fn start<'a>(&'a self, start: Start<'a>) -> Answer<'a, Result<Launched>> {
        Box::pin(async move {
            self.effect("start").await?;
            if start.container.process.command == [crate::NO_SUCH_PROGRAM] {
                let exit = Exit::NeverStarted { code: 127, message: "run it: no such file".to_owned() };
                return Ok(Launched::Failed(Ended { started: None, finished: World::now(self), exit }));
            }
            let (launched, ended) = self.launch(start.sandbox_id, start.id)?;
            self.node().limits.insert(start.id.clone(), start.resources.clone());
            if start.container.process.terminal {
                self.node().terminals.insert(start.id.clone());
            }
            // The report of an end may overtake the outcome of the start.
            let listener = self.node().listener.clone();
            if let (Some(ended), Some(listener)) = (ended, listener) {
                listener.ended(start.sandbox_id, start.id, ended);
            }
            self.answers(launched).await
        })
    }

    fn signal<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId, signal: u8) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("signal").await?;
            if signal == SIGKILL || !self.is_deaf() {
                self.end_task(sandbox, id, Exit::Signal { signal, oom: false });
            }
            self.answers(()).await
        })
    }

    fn kill<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        self.signal(sandbox, id, SIGKILL)
    }

    fn freeze<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("freeze").await?;
            self.set_frozen(sandbox, id, true);
            self.answers(()).await
        })
    }

    fn thaw<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("thaw").await?;
            self.set_frozen(sandbox, id, false);
            self.answers(()).await
        })
    }

    fn drop_task<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("drop task").await?;
            {
                let mut node = self.node();
                let known = node.shims.get(sandbox).is_some_and(|shim| shim.tasks.contains_key(id));
                if !known && node.has(Bug::NotRepeatable) {
                    return Err(internal(format!("there is no task {id}")));
                }
                node.limits.remove(id);
                if let Some(shim) = node.shims.get_mut(sandbox) {
                    shim.tasks.remove(id);
                    if shim.dropped && shim.tasks.is_empty() {
                        node.shims.remove(sandbox);
                    }
                }
            }
            self.answers(()).await
        })
    }

    fn exec<'a>(&'a self, exec: Exec<'a>) -> Answer<'a, Result<ExecOutput>> {
        Box::pin(async move {
            self.effect("exec").await?;
            let stdout = exec.command.join(" ").into_bytes();
            Ok(ExecOutput { stdout, stderr: Vec::new(), exit_code: 0 })
        })
    }

    fn exec_open<'a>(&'a self, exec: Exec<'a>, io: ExecIo) -> Answer<'a, Result<OpenExec>> {
        Box::pin(self.open_exec(exec, io))
    }

    fn check_exec<'a>(&'a self, exec: Exec<'a>) -> Answer<'a, Result<()>> {
        Box::pin(async move { self.pid_of(exec.sandbox_id, exec.id).map(drop) })
    }

    fn attach<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        wanted: WantedStreams,
    ) -> Answer<'a, Result<Attached>> {
        Box::pin(self.share(sandbox, id, wanted))
    }

    fn close_stdin<'a>(&'a self, _sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(self.end_stdin(id))
    }

    fn resize<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        _size: TerminalSize,
    ) -> Answer<'a, Result<()>> {
        Box::pin(self.size_terminal(sandbox, id))
    }

    fn connect<'a>(&'a self, _sandbox: &'a SandboxId, port: u16) -> Answer<'a, Result<OwnedFd>> {
        Box::pin(async move {
            self.effect("connect").await?;
            Err(Failure::new(ErrorKind::Unavailable, format!("nobody listens on port {port} of a simulation")))
        })
    }

    fn processes<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<Vec<u32>>> {
        Box::pin(std::future::ready(self.pid_of(sandbox, id).map(|pid| vec![pid])))
    }

    fn root_of<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<OwnedFd>> {
        Box::pin(std::future::ready(self.pid_of(sandbox, id).and_then(|_| Self::any_fd())))
    }

    fn reopen_log<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        _log: &'a LogPath,
    ) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("reopen log").await?;
            if !self.runs(sandbox, id) {
                return Err(Failure::new(ErrorKind::WrongState, format!("container {id} does not run")));
            }
            self.answers(()).await
        })
    }

    fn update<'a>(&'a self, update: Update<'a>) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("update").await?;
            if update.new.memory_bytes_max == crate::TOO_LITTLE_MEMORY {
                let message = "the container holds more memory than that";
                return Err(Failure::new(ErrorKind::WrongState, message));
            }
            match self.node().limits.get_mut(update.id) {
                Some(limits) => limits.clone_from(update.new),
                None => {
                    let message = format!("container {} has no cgroup, so it does not run", update.id);
                    return Err(Failure::new(ErrorKind::WrongState, message));
                }
            }
            self.answers(()).await
        })
    }

    fn check_limits(&self, limits: &Resources) -> Result<()> {
        match limits.unified.keys().next() {
            Some(file) => Err(Failure::new(ErrorKind::Unsupported, format!("a simulation has no cgroup file {file}"))),
            None => Ok(()),
        }
    }

    fn usage<'a>(&'a self, of: &'a [UsageOf<'a>]) -> Answer<'a, Result<Vec<Option<Usage>>>> {
        let at = World::now(self);
        // Half a processor, since the world began.
        let cpu_ns = u64::try_from(at.0).map(|ns| ns / 2).ok();
        let usage = Usage {
            at,
            cpu_ns,
            memory: None,
            swap: None,
            tasks: None,
            cpu_pressure: None,
            memory_pressure: None,
            io_pressure: None,
        };
        let raised = |id: &SandboxId| self.node().shims.get(id).is_some_and(|shim| !shim.dropped);
        let known = |of: &UsageOf<'_>| match of.container {
            Some(id) => self.runs(of.sandbox_id, id),
            None => raised(of.sandbox_id),
        };
        let all = of.iter().map(|of| known(of).then(|| usage.clone())).collect();
        Box::pin(std::future::ready(Ok(all)))
    }

    fn ready(&self) -> Answer<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

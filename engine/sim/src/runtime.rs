//! Sandboxes and processes in memory. A program runs until a signal or [`World::end_task`] ends it.

use crate::{Task, World};
use orlop_model::container_state::{Checked, Ended, Exit};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::{
    Answer, Exec, ExecOutput, Launched, NetworkNamespace, Observed, ObservedTask, Runtime, RuntimeListener, Start,
    internal,
};
use orlop_model::sandbox::SandboxSpec;
use orlop_model::{ContainerId, SandboxId};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// SIGKILL; signal(7).
const SIGKILL: u8 = 9;

impl World {
    fn any_fd() -> Result<OwnedFd> {
        std::fs::File::open("/").map(OwnedFd::from).map_err(|wrong| internal(wrong.to_string()))
    }
}

impl Runtime for World {
    fn report_to(&self, listener: Arc<dyn RuntimeListener>) {
        self.node().listener = Some(listener);
    }

    fn raise<'a>(&'a self, id: &'a SandboxId, _spec: &'a SandboxSpec) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.node().shims.entry(id.clone()).or_default();
            self.effect("raise").await
        })
    }

    fn network_namespace<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<NetworkNamespace>> {
        Box::pin(async move {
            if !self.node().shims.contains_key(id) {
                return Err(internal(format!("sandbox {id} has no shim")));
            }
            Ok(NetworkNamespace { namespace: Self::any_fd()?, route_socket: Self::any_fd()? })
        })
    }

    fn drop_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<Vec<(ContainerId, Ended)>>> {
        Box::pin(async move {
            self.effect("drop sandbox").await?;
            let now = World::now(self);
            let tasks = self.node().shims.remove(id).unwrap_or_default();
            let ended = |task| match task {
                Task::Ended(ended) => ended,
                Task::Running { started, .. } => {
                    Ended { started: Some(started), finished: now, exit: Exit::Signal { signal: SIGKILL, oom: false } }
                }
            };
            Ok(tasks.into_iter().map(|(id, task)| (id, ended(task))).collect())
        })
    }

    fn observe<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<Observed>> {
        Box::pin(async move {
            self.effect("observe").await?;
            let seen = |task: &Task| match task {
                Task::Running { pid, started } => ObservedTask::Running { pid: *pid, started: *started },
                Task::Ended(ended) => ObservedTask::Ended(ended.clone()),
            };
            Ok(match self.node().shims.get(id) {
                Some(tasks) => {
                    Observed::Shim { tasks: tasks.iter().map(|(id, task)| (id.clone(), seen(task))).collect() }
                }
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
            Ok(Checked { uid: 0, gid: 0, groups: Vec::new(), stop_signal: 15 })
        })
    }

    fn start<'a>(&'a self, start: Start<'a>) -> Answer<'a, Result<Launched>> {
        Box::pin(async move {
            self.effect("start").await?;
            let at = World::now(self);
            let mut node = self.node();
            node.next_pid += 1;
            let pid = node.next_pid;
            let gone = || Failure::new(ErrorKind::Unavailable, "the sandbox has no shim");
            let tasks: &mut BTreeMap<_, _> = node.shims.get_mut(start.sandbox_id).ok_or_else(gone)?;
            tasks.insert(start.id.clone(), Task::Running { pid, started: at });
            Ok(Launched::Running { pid, at })
        })
    }

    fn signal<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId, signal: u8) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("signal").await?;
            self.end_task(sandbox, id, Exit::Signal { signal, oom: false });
            Ok(())
        })
    }

    fn kill<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        self.signal(sandbox, id, SIGKILL)
    }

    fn freeze<'a>(&'a self, _sandbox: &'a SandboxId, _id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(self.effect("freeze"))
    }

    fn thaw<'a>(&'a self, _sandbox: &'a SandboxId, _id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(self.effect("thaw"))
    }

    fn drop_task<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("drop task").await?;
            if let Some(tasks) = self.node().shims.get_mut(sandbox) {
                tasks.remove(id);
            }
            Ok(())
        })
    }

    fn exec<'a>(&'a self, exec: Exec<'a>) -> Answer<'a, Result<ExecOutput>> {
        Box::pin(async move {
            self.effect("exec").await?;
            let stdout = exec.command.join(" ").into_bytes();
            Ok(ExecOutput { stdout, stderr: Vec::new(), exit_code: 0 })
        })
    }

    fn ready(&self) -> Answer<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

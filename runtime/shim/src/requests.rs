//! What a shim answers to each request.

use crate::endings::After;
use crate::error::{Failed, Result, Tried};
use crate::exec::ExecProcess;
use crate::peers::{Caller, Message};
use crate::sandbox::Sandbox;
use crate::shim::Shim;
use crate::task::{NoStart, Phase, Task};
use orlop_cgroups::Leaf;
use orlop_wire::frame::{Asked, Event, Exec, ID_BYTES_MAX, Reply, Request, SetUp, Start, TaskState};
use orlop_wire::plan::{JoinFrom, NamespaceKind, Plan};
use std::os::fd::OwnedFd;

impl Shim {
    /// Answers a request, now or when it is done.
    pub(crate) fn answer(&mut self, message: Message) {
        let Message { caller, asked, slots } = message;
        let request = match asked {
            Asked::Known(request) => request,
            Asked::Unknown => return self.reply(caller, &Reply::Unsupported, Vec::new()),
        };
        if !self.shutting_down.is_empty() && !matches!(request, Request::ShutDown | Request::List) {
            let error = Failed::refused("answer a request", "the sandbox is shutting down", libc::ESHUTDOWN);
            return self.reply(caller, &error.reply(), Vec::new());
        }
        let done = match request {
            Request::Spawn { .. } | Request::Shims | Request::End => {
                return self.reply(caller, &Reply::Unsupported, Vec::new());
            }
            Request::NetworkNamespace => return self.network_namespace(caller),
            Request::Shm => return self.lend_shm(caller),
            Request::TcpSockets => return self.tcp_sockets(caller),
            Request::FirstProcess { container } => return self.first_process(caller, &container),
            Request::Attach(asked) => return self.attach(caller, &asked, slots),
            Request::Start(start) => return self.start_task(caller, start, &slots),
            Request::Exec(exec) => return self.start_exec(caller, exec, &slots),
            Request::List => return self.list(caller),
            Request::ShutDown => return self.shut_down(caller),
            Request::SetUp(asked) => self.set_up(&asked),
            Request::Signal { container, signal } => self.task(&container).and_then(|task| task.signal(signal)),
            Request::Kill { container } if self.known(&container).is_some() => {
                return self.end_task(&container, Some((caller, After::Killed)));
            }
            Request::Kill { .. } => Ok(()),
            Request::Freeze { container } => {
                self.leaf(&container).and_then(|leaf| leaf.freeze().tried("freeze a container"))
            }
            Request::Thaw { container } => self.leaf(&container).and_then(|leaf| leaf.thaw().tried("thaw a container")),
            Request::DropTask { container } if self.known(&container).is_some() => {
                return self.end_task(&container, Some((caller, After::Dropped)));
            }
            Request::DropTask { container } => self.ends.forget(&container),
            Request::KillExec { container, exec } => self.kill_exec(&container, exec),
            Request::ReopenLog { container, log } => self.reopen_log(&container, log, slots),
            Request::CloseStdin { container } => self.close_stdin(&container),
            Request::Resize { container, rows, columns } => self.resize(&container, rows, columns),
        };
        let reply = match done {
            Ok(()) => Reply::Done,
            Err(error) => error.reply(),
        };
        self.reply(caller, &reply, Vec::new());
    }

    fn known(&self, container: &str) -> Option<&Task> {
        self.tasks.get(container)
    }

    pub(crate) fn task(&self, container: &str) -> Result<&Task> {
        self.known(container).ok_or_else(|| no_task(container))
    }

    fn leaf(&self, container: &str) -> Result<&Leaf> {
        let none = || Failed::refused(format_args!("find container {container}"), "it has no cgroup", libc::EINVAL);
        self.task(container)?.leaf.as_ref().ok_or_else(none)
    }

    fn set_up(&mut self, asked: &SetUp) -> Result<()> {
        if self.sandbox.is_none() {
            self.sandbox = Some(Sandbox::set_up(asked, &self.node, &self.hierarchies)?);
        }
        Ok(())
    }

    fn network_namespace(&mut self, caller: Caller) {
        let unset = || Failed::refused("find the network namespace", "the sandbox is not set up", libc::EINVAL);
        match self.sandbox.as_ref().ok_or_else(unset).and_then(Sandbox::network) {
            Ok(slots) => self.reply(caller, &Reply::NetworkNamespace, slots.into()),
            Err(error) => self.reply(caller, &error.reply(), Vec::new()),
        }
    }

    fn lend_shm(&mut self, caller: Caller) {
        let unset = || Failed::refused("lend /dev/shm", "the sandbox is not set up", libc::EINVAL);
        match self.sandbox.as_ref().ok_or_else(unset).and_then(|sandbox| sandbox.shm().for_container()) {
            Ok(mount) => self.reply(caller, &Reply::Shm, vec![mount]),
            Err(error) => self.reply(caller, &error.reply(), Vec::new()),
        }
    }

    fn tcp_sockets(&mut self, caller: Caller) {
        let unset = || Failed::refused("make a socket for the sandbox", "the sandbox is not set up", libc::EINVAL);
        match self.sandbox.as_ref().ok_or_else(unset).and_then(Sandbox::tcp_sockets) {
            Ok(slots) => self.reply(caller, &Reply::TcpSockets, slots),
            Err(error) => self.reply(caller, &error.reply(), Vec::new()),
        }
    }

    /// Starts a container, or says what came of the first time.
    fn start_task(&mut self, caller: Caller, asked: Start, slots: &[OwnedFd]) {
        let id = asked.container.clone();
        if let Some(task) = self.tasks.get_mut(&id) {
            let pid = task.child.pid;
            match &mut task.phase {
                Phase::Starting(starting) => starting.waiting.push(caller),
                Phase::Running { started_ns } => {
                    let reply = Reply::Started { pid, at_ns: *started_ns };
                    self.reply(caller, &reply, Vec::new());
                }
                Phase::Draining { record, .. } => {
                    let reply = Reply::Started { pid, at_ns: record.started_ns };
                    self.reply(caller, &reply, Vec::new());
                }
                Phase::Ended(record) => {
                    let record = *record;
                    self.reply(caller, &Reply::Started { pid, at_ns: record.started_ns }, Vec::new());
                    // Who asks again may not have heard.
                    let event = Event::Exited { container: id, record };
                    self.peers.report_to(caller, &event, &self.poll);
                }
            }
            return;
        }
        let started = check_id(&id).and_then(|()| self.ensure_pod_init(&asked.plan)).map_err(NoStart::Refused);
        let number = self.number();
        match started.and_then(|()| Task::start(number, asked, slots, caller, &self.place())) {
            Ok(task) => drop(self.tasks.insert(id, task)),
            Err(error) => self.reply(caller, &error.reply(), Vec::new()),
        }
    }

    fn ensure_pod_init(&mut self, plan: &Plan) -> Result<()> {
        let shares = plan.join.iter().any(|join| join.kind == NamespaceKind::Pid && join.from == JoinFrom::Sandbox);
        match self.sandbox.as_mut().filter(|_| shares) {
            Some(sandbox) => sandbox.ensure_init(&self.hierarchies, &self.node),
            None => Ok(()),
        }
    }

    fn start_exec(&mut self, caller: Caller, asked: Exec, slots: &[OwnedFd]) {
        let (id, exec) = (asked.container.clone(), asked.exec);
        if let Some(known) = self.tasks.get_mut(&id).and_then(|task| task.execs.get_mut(&exec)) {
            let pid = known.child.pid;
            match &mut known.starting {
                Some(starting) => starting.waiting.push(caller),
                None => self.reply(caller, &Reply::ExecStarted { pid }, Vec::new()),
            }
            return;
        }
        let number = self.number();
        match ExecProcess::start(number, asked, slots, caller, &self.place()) {
            Ok(process) => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.execs.insert(exec, process);
                }
            }
            Err(error) => self.reply(caller, &error.reply(), Vec::new()),
        }
    }

    fn kill_exec(&mut self, container: &str, exec: u64) -> Result<()> {
        match self.known(container).and_then(|task| task.execs.get(&exec)) {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    fn list(&mut self, caller: Caller) {
        let state = |task: &Task| match &task.phase {
            // Nobody was told yet that it started. A daemon that came back and does not see it drops it or starts it again.
            Phase::Starting(_) => None,
            Phase::Running { started_ns } => Some(TaskState::Running { pid: task.child.pid, started_ns: *started_ns }),
            Phase::Draining { record, .. } => {
                Some(TaskState::Running { pid: task.child.pid, started_ns: record.started_ns })
            }
            Phase::Ended(record) => Some(TaskState::Ended(*record)),
        };
        let tasks = self.tasks.iter().filter_map(|(id, task)| Some((id.clone(), state(task)?))).collect();
        self.reply(caller, &Reply::Tasks(tasks), Vec::new());
    }

    fn reopen_log(&mut self, container: &str, log: u32, mut slots: Vec<OwnedFd>) -> Result<()> {
        let tried = format!("reopen the log of container {container}");
        let at = usize::try_from(log).unwrap_or(usize::MAX);
        if at >= slots.len() {
            return Err(Failed::refused(tried, "its descriptor was not sent", libc::EINVAL));
        }
        let file = slots.swap_remove(at);
        // Until its pipes have ended, what comes of them must go somewhere; then nobody would ever write to the file.
        let writes = self.tasks.get_mut(container).filter(|task| task.ended().is_none());
        let task = writes.ok_or_else(|| Failed::refused(tried, "it is not running", libc::ESRCH))?;
        task.output.reopen(file);
        Ok(())
    }

    fn shut_down(&mut self, caller: Caller) {
        self.shutting_down.push(caller);
        self.bring_down();
    }
}

impl NoStart {
    fn reply(self) -> Reply {
        match self {
            Self::Refused(error) => error.reply(),
            Self::Failed(failed) => Reply::Failed(failed),
        }
    }
}

pub(crate) fn no_task(container: &str) -> Failed {
    Failed::refused(format_args!("find container {container}"), "it is not known here", libc::ENOENT)
}

/// An id becomes a file name.
fn check_id(id: &str) -> Result<()> {
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.starts_with('.') || id.contains(['/', '\0']) {
        return Err(Failed::refused(format_args!("start container {id:?}"), "it is no id", libc::EINVAL));
    }
    Ok(())
}

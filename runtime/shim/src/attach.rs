//! Streams of a running container in the hands of others: attached clients, its standard input, its terminal's size.

use crate::error::{Failed, Result};
use crate::log::Which;
use crate::peers::Caller;
use crate::requests::no_task;
use crate::shim::Shim;
use crate::task::{Input, Phase, Task};
use orlop_wire::frame::{Attach, Attached, Console, Reply};
use std::os::fd::OwnedFd;

impl Shim {
    /// Gives a client its share in the streams.
    pub(crate) fn attach(&mut self, caller: Caller, asked: &Attach, slots: Vec<OwnedFd>) {
        let attached = self.running(&asked.container, "attach to").and_then(|task| share(task, asked, slots));
        match attached {
            Ok((attached, slots)) => self.reply(caller, &Reply::Attached(attached), slots),
            Err(error) => self.reply(caller, &error.reply(), Vec::new()),
        }
    }

    /// Closes our end of standard input. Quiet when there is none any more.
    pub(crate) fn close_stdin(&mut self, container: &str) -> Result<()> {
        let task = self.tasks.get_mut(container).ok_or_else(|| no_task(container))?;
        match task.stdin {
            Input::Null => {}
            Input::Pipe(_) | Input::Terminal | Input::Closed => task.stdin = Input::Closed,
        }
        Ok(())
    }

    pub(crate) fn resize(&mut self, container: &str, rows: u16, columns: u16) -> Result<()> {
        let tried = "resize the terminal of";
        let terminal = self.running(container, tried)?.output.terminal();
        let none =
            || Failed::refused(format_args!("{tried} container {container}"), "it has no terminal", libc::EINVAL);
        terminal.ok_or_else(none)?.resize(rows, columns)
    }

    pub(crate) fn first_process(&mut self, caller: Caller, container: &str) {
        let found = self.running(container, "find the first process of").and_then(|task| {
            let pidfd = task.child.pidfd.try_clone();
            pidfd.map(|pidfd| (task.child.pid, pidfd)).map_err(|error| Failed::io("copy a pidfd", &error))
        });
        match found {
            Ok((pid, pidfd)) => self.reply(caller, &Reply::FirstProcess { pid }, vec![pidfd]),
            Err(error) => self.reply(caller, &error.reply(), Vec::new()),
        }
    }

    /// Finds a container whose program runs.
    fn running(&mut self, container: &str, tried: &str) -> Result<&mut Task> {
        let task = self.tasks.get_mut(container).ok_or_else(|| no_task(container))?;
        let refused = |reason| Err(Failed::refused(format_args!("{tried} container {container}"), reason, libc::ESRCH));
        match task.phase {
            Phase::Running { .. } => Ok(task),
            Phase::Starting(_) => refused("it is not running yet"),
            Phase::Draining { .. } | Phase::Ended(_) => refused("it has ended"),
        }
    }
}

/// All of what is asked for or, with an error, nothing.
fn share(task: &mut Task, asked: &Attach, slots: Vec<OwnedFd>) -> Result<(Attached, Vec<OwnedFd>)> {
    let tried = format!("attach to container {}", asked.container);
    let refuse = |reason, errno| Failed::refused(&tried, reason, errno);
    if !task.output.has_room() {
        return Err(refuse("too many clients are attached to it", libc::EAGAIN));
    }
    let mut slots: Vec<Option<OwnedFd>> = slots.into_iter().map(Some).collect();
    let mut pipe = |slot: Option<u32>| match slot {
        None => Ok(None),
        Some(slot) => {
            let found = usize::try_from(slot).ok().and_then(|at| slots.get_mut(at)?.take());
            found.map(Some).ok_or_else(|| refuse("a descriptor was not sent", libc::EINVAL))
        }
    };
    let (stdout, stderr) = (pipe(asked.stdout)?, pipe(asked.stderr)?);
    let stdin = if asked.stdin { vec![stdin(task, &tried)?] } else { Vec::new() };
    let output = &mut task.output;
    let attached = Attached {
        console: output.console(),
        stdout_from: output.logged(Which::Stdout),
        stderr_from: output.logged(Which::Stderr),
        stdout_now: output.came(Which::Stdout),
        stderr_now: output.came(Which::Stderr),
    };
    if let Some(pipe) = stdout {
        output.attach(Which::Stdout, pipe);
    }
    match (output.console(), stderr) {
        (Console::Pipes, Some(pipe)) => output.attach(Which::Stderr, pipe),
        (Console::Pipes, None) | (Console::Terminal, _) => {}
    }
    Ok((attached, stdin))
}

/// Returns where to send standard input: bytes never pass the shim.
fn stdin(task: &mut Task, tried: &str) -> Result<OwnedFd> {
    let refuse = |reason, errno| Err(Failed::refused(tried, reason, errno));
    match &task.stdin {
        Input::Pipe(pipe) => pipe.try_clone().map_err(|error| Failed::io(tried, &error)),
        Input::Terminal => match task.output.terminal() {
            Some(terminal) => terminal.lend(),
            None => refuse("its terminal has ended", libc::EBUSY),
        },
        Input::Null => refuse("it was created without standard input", libc::EINVAL),
        Input::Closed => refuse("its standard input was closed", libc::EBUSY),
    }
}

//! Streams of programs in memory, through real pipes and terminals.
//!
//! A program run in a container says its words and ends well, but for two: [`COPIES`] gives back what it reads until its
//! input ends, [`WAITS`] does nothing until it is killed. A container says what [`World::say`] lets it say, and gives back
//! what an attached client sends.

use crate::{Task, World};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::{Answer, Exec, ExecEnded, ExecIo, OpenExec, internal};
use orlop_model::streams::{Attached, OutputBytes, Streams, TerminalSize, WantedStreams};
use orlop_model::{ContainerId, SandboxId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The command of a program that gives back what it reads.
pub const COPIES: &str = "copies";
/// The command of a program that runs until it is killed.
pub const WAITS: &str = "waits";

/// Pause between two looks whether an input has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Output of a container that clients hear.
#[derive(Debug, Default)]
pub(crate) struct Voice {
    bytes: u64,
    clients: Vec<OwnedFd>,
    stdin_closed: bool,
}

impl World {
    /// Lets a container say something on its standard output.
    pub fn say(&self, container: &ContainerId, bytes: &[u8]) {
        let mut node = self.node();
        let voice = node.voices.entry(container.clone()).or_default();
        voice.bytes += bytes.len() as u64;
        voice.clients.retain(|client| rustix::io::write(client, bytes) == Ok(bytes.len()));
    }

    pub(crate) async fn open_exec(&self, exec: Exec<'_>, io: ExecIo) -> Result<OpenExec> {
        self.effect("exec").await?;
        let word = exec.command.first().map_or("", String::as_str);
        let failed = |wrong: rustix::io::Errno| internal(wrong.to_string());
        if word == crate::NO_SUCH_PROGRAM {
            let ended = ExecEnded { exit_code: 127, never_started: Some("run it: no such file".to_owned()) };
            return Ok(OpenExec { pid: 0, streams: Streams::default(), ended: at_once(ended) });
        }
        let pid = {
            let mut node = self.node();
            node.next_pid += 1;
            node.next_pid
        };
        if let Some(size) = io.terminal {
            let stdout = said_on_terminal(&exec.command.join(" "), size).map_err(failed)?;
            let stdin = io.streams.stdin.then(|| stdout.try_clone()).transpose();
            let stdin = stdin.map_err(|wrong| internal(wrong.to_string()))?;
            let streams = Streams { stdin, stdout: Some(stdout), stderr: None };
            return Ok(OpenExec { pid, streams, ended: ending(word) });
        }
        let (stdout, end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(failed)?;
        let (stderr, _) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(failed)?;
        let (stdin, ended) = match word {
            COPIES => {
                let heard = stdout.try_clone().map_err(|wrong| internal(wrong.to_string()))?;
                (end, until_end(heard))
            }
            _ => {
                let said = if word == WAITS { String::new() } else { exec.command.join(" ") };
                rustix::io::write(&end, said.as_bytes()).map_err(failed)?;
                let (_, stdin) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(failed)?;
                (stdin, ending(word))
            }
        };
        let streams = Streams {
            stdin: io.streams.stdin.then_some(stdin),
            stdout: io.streams.stdout.then_some(stdout),
            stderr: io.streams.stderr.then_some(stderr),
        };
        Ok(OpenExec { pid, streams, ended })
    }

    pub(crate) async fn share(&self, sandbox: &SandboxId, id: &ContainerId, wanted: WantedStreams) -> Result<Attached> {
        self.effect("attach").await?;
        self.pid_of(sandbox, id)?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|wrong| internal(wrong.to_string()));
        let (stdout, end) = pipe()?;
        let mut node = self.node();
        let voice = node.voices.entry(id.clone()).or_default();
        if wanted.stdin && voice.stdin_closed {
            return Err(Failure::new(ErrorKind::WrongState, format!("the standard input of {id} was closed")));
        }
        let stdin = wanted.stdin.then(|| end.try_clone()).transpose().map_err(|wrong| internal(wrong.to_string()))?;
        let from = OutputBytes { stdout: voice.bytes, stderr: 0 };
        voice.clients.push(end);
        let stderr = if wanted.stderr { Some(pipe()?.0) } else { None };
        Ok(Attached { streams: Streams { stdin, stdout: wanted.stdout.then_some(stdout), stderr }, from, now: from })
    }

    pub(crate) async fn end_stdin(&self, id: &ContainerId) -> Result<()> {
        self.effect("close stdin").await?;
        self.node().voices.entry(id.clone()).or_default().stdin_closed = true;
        Ok(())
    }

    pub(crate) async fn size_terminal(&self, sandbox: &SandboxId, id: &ContainerId) -> Result<()> {
        self.effect("resize").await?;
        self.pid_of(sandbox, id)?;
        if self.node().terminals.contains(id) {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::InvalidArgument, format!("container {id} has no terminal")))
    }

    /// Returns the process of a container that runs.
    pub(crate) fn pid_of(&self, sandbox: &SandboxId, id: &ContainerId) -> Result<u32> {
        let node = self.node();
        match node.shims.get(sandbox).and_then(|shim| shim.tasks.get(id)) {
            Some(Task::Running { pid, .. }) => Ok(*pid),
            Some(Task::Ended(_)) | None => {
                Err(Failure::new(ErrorKind::WrongState, format!("container {id} does not run")))
            }
        }
    }
}

fn ending(word: &str) -> Answer<'static, Result<ExecEnded>> {
    if word == WAITS {
        return Box::pin(std::future::pending());
    }
    at_once(ExecEnded { exit_code: 0, never_started: None })
}

fn at_once(ended: ExecEnded) -> Answer<'static, Result<ExecEnded>> {
    Box::pin(std::future::ready(Ok(ended)))
}

/// Waits until nobody can write to a pipe any more.
fn until_end(pipe: OwnedFd) -> Answer<'static, Result<ExecEnded>> {
    let has_ended = move || {
        let mut look = [PollFd::new(&pipe, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut look, Some(&now)).is_ok_and(|found| found > 0)
    };
    Box::pin(async move {
        while !has_ended() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(ExecEnded { exit_code: 0, never_started: None })
    })
}

/// Returns the master of a terminal on which something was said, and that nobody has open any more.
fn said_on_terminal(said: &str, size: TerminalSize) -> rustix::io::Result<OwnedFd> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&master)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&slave, size)?;
    rustix::io::write(&slave, said.as_bytes())?;
    Ok(master)
}

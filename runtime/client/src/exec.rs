//! Runs a program in a running container: its streams go to the caller, or are collected.

use crate::client::Client;
use crate::config::{DRAIN_WITHIN, EXEC_KILLED_WITHIN};
use crate::error::{Error, Result};
use crate::pipes::{Pipe, send_along};
use crate::prepare;
use crate::shims::{Ending, Shim};
use orlop_model::Failure;
use orlop_model::ports::{Exec, ExecEnded, ExecIo, ExecOutput, OpenExec};
use orlop_model::streams::{Streams, WantedStreams};
use orlop_wire::exit::ExitStatus;
use orlop_wire::frame::{self, Reply, Request};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tracing::warn;

/// Bytes read at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Runs a program with its streams in the caller's hands.
pub(crate) async fn exec_open(client: &Client, exec: Exec<'_>, io: ExecIo) -> Result<OpenExec> {
    match open(client, &exec, io).await? {
        Opened::Running(mut running, streams) => {
            let (pid, timeout) = (running.pid, exec.timeout);
            // Dropped before its end, it drops the program's guard.
            let ended = Box::pin(async move {
                let status = running.end(timeout).await.map_err(Failure::from)?;
                Ok(ExecEnded { exit_code: exit_code(status), never_started: None })
            });
            Ok(OpenExec { pid, streams, ended })
        }
        Opened::Failed(failed) => {
            let (code, message) = prepare::never_started(&failed);
            let ended = ExecEnded { exit_code: i32::from(code), never_started: Some(message) };
            let ended = Box::pin(std::future::ready(Ok(ended)));
            Ok(OpenExec { pid: 0, streams: Streams::default(), ended })
        }
    }
}

/// Makes the plan of a program, and no more of it.
pub(crate) async fn check(client: &Client, exec: Exec<'_>) -> Result<()> {
    prepare::exec(client, &exec, None).await.map(drop)
}

/// Runs a program, collects its output and waits for its end.
pub(crate) async fn exec(client: &Client, exec: Exec<'_>) -> Result<ExecOutput> {
    let streams = WantedStreams { stdin: false, stdout: true, stderr: true };
    match open(client, &exec, ExecIo { streams, terminal: None }).await? {
        Opened::Running(running, streams) => collect(running, streams, &exec).await,
        Opened::Failed(failed) => Ok(could_not_run(&failed)),
    }
}

/// What came of a start.
enum Opened {
    Running(Running, Streams),
    Failed(frame::Failed),
}

/// A program that runs.
struct Running {
    pid: u32,
    tried: String,
    ending: Ending,
    guard: Abandoned,
}

async fn open(client: &Client, exec: &Exec<'_>, io: ExecIo) -> Result<Opened> {
    let tried = format!("exec {:?} in container {}", exec.command.first().map_or("", String::as_str), exec.id);
    let (plan, mut slots) = prepare::exec(client, exec, io.terminal).await?;
    let shim = client.shims.need(exec.sandbox_id, &tried).await?;
    let piped = |wanted: bool, make: fn() -> io::Result<Pipe>| {
        let wanted = wanted && io.terminal.is_none();
        wanted.then(make).transpose().map_err(|error| Error::io(tried.clone(), error))
    };
    let (stdin_slot, stdin) = send_along(piped(io.streams.stdin, Pipe::to_program)?, &mut slots);
    let (stdout_slot, stdout) = send_along(piped(io.streams.stdout, Pipe::from_program)?, &mut slots);
    let (stderr_slot, stderr) = send_along(piped(io.streams.stderr, Pipe::from_program)?, &mut slots);
    let request = frame::Exec {
        container: exec.id.to_string(),
        exec: client.next_exec(),
        plan,
        stdin: stdin_slot,
        stdout: stdout_slot,
        stderr: stderr_slot,
    };
    let mut guard = Abandoned { shim: shim.clone(), container: exec.id.to_string(), exec: request.exec, ended: false };
    let (mut answered, ending) = shim.exec(&tried, request, slots).await.map_err(Error::or_stopped)?;
    if let Reply::Failed(failed) = answered.reply {
        guard.ended = true;
        return Ok(Opened::Failed(failed));
    }
    let Reply::ExecStarted { pid } = answered.reply else {
        return Err(Error::Unexpected { tried });
    };
    let streams = match io.terminal {
        None => Streams { stdin, stdout, stderr },
        Some(_) => of_terminal(answered.slots.pop(), io.streams.stdin, &tried)?,
    };
    Ok(Opened::Running(Running { pid, tried, ending, guard }, streams))
}

fn of_terminal(master: Option<OwnedFd>, with_stdin: bool, tried: &str) -> Result<Streams> {
    let master = master.ok_or_else(|| Error::Unexpected { tried: tried.to_owned() })?;
    let stdin = with_stdin.then(|| master.try_clone()).transpose().map_err(|error| Error::io(tried, error))?;
    Ok(Streams { stdin, stdout: Some(master), stderr: None })
}

impl Running {
    /// Waits for its end; kills it when it takes too long.
    async fn end(&mut self, bound: Option<Duration>) -> Result<ExitStatus> {
        let ended = within(bound, self.ending.wait()).await;
        self.settle(ended, bound).await
    }

    /// Makes of what was waited for what is answered: `Some(None)` is a shim that is gone, `None` a bound that ran out.
    async fn settle(&mut self, ended: Option<Option<ExitStatus>>, bound: Option<Duration>) -> Result<ExitStatus> {
        let settled = match ended {
            Some(Some(status)) => Ok(status),
            Some(None) => Err(Error::Gone { tried: self.tried.clone(), peer: "the sandbox's shim".to_owned() }),
            None => {
                self.kill().await;
                Err(Error::Late { tried: self.tried.clone(), bound: bound.unwrap_or_default() })
            }
        };
        self.guard.ended = true;
        settled
    }

    /// Kills it with all it started, and waits until it is reaped.
    async fn kill(&mut self) {
        let Abandoned { shim, container, exec, .. } = &self.guard;
        let killed =
            shim.ask_done("kill the exec", Request::KillExec { container: container.clone(), exec: *exec }).await;
        let reaped = tokio::time::timeout(EXEC_KILLED_WITHIN, self.ending.wait()).await;
        if let Err(error) = killed {
            warn!(container, %error, "an exec that took too long could not be killed");
        } else if reaped.is_err() {
            warn!(container, "an exec was killed and is still there");
        }
    }
}

/// Kills an exec whose caller went away, or whose start took too long: nobody else would ever end it.
struct Abandoned {
    shim: Shim,
    container: String,
    exec: u64,
    ended: bool,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        // Without a runtime the daemon itself is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.ended {
            return;
        }
        let (shim, container, exec) = (self.shim.clone(), std::mem::take(&mut self.container), self.exec);
        // Nobody waits for it: it ends with its bounded request.
        runtime.spawn(async move {
            if let Err(error) = shim.ask_done("kill the exec", Request::KillExec { container, exec }).await {
                warn!(exec, %error, "an exec whose caller went away could not be killed");
            }
        });
    }
}

/// What was read of a pipe.
struct Output {
    pipe: Option<pipe::Receiver>,
    kept: Vec<u8>,
    bytes_max: usize,
}

// === collecting ===

async fn collect(mut running: Running, streams: Streams, exec: &Exec<'_>) -> Result<ExecOutput> {
    let output =
        |stream| Output::new(stream, exec.output_bytes_max).map_err(|error| Error::io(running.tried.clone(), error));
    let (mut stdout, mut stderr) = (output(streams.stdout)?, output(streams.stderr)?);
    let ending = &mut running.ending;
    let ended = {
        let mut outputs = std::pin::pin!(async { tokio::join!(stdout.read(), stderr.read()) });
        let ended = within(exec.timeout, async {
            tokio::select! {
                status = ending.wait() => (status, false),
                _ = &mut outputs => (ending.wait().await, true),
            }
        });
        let ended = ended.await;
        if let Some((Some(_), false)) = ended {
            // Something it started still holds the pipes; what it wrote itself is in them already.
            let _ = tokio::time::timeout(DRAIN_WITHIN, outputs).await;
        }
        ended.map(|(status, _)| status)
    };
    let status = running.settle(ended, exec.timeout).await?;
    Ok(ExecOutput { stdout: stdout.kept, stderr: stderr.kept, exit_code: exit_code(status) })
}

async fn within<T>(bound: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match bound {
        Some(bound) => tokio::time::timeout(bound, work).await.ok(),
        None => Some(work.await),
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => i32::from(code),
        ExitStatus::Signal(signal) => 128 + i32::from(signal),
    }
}

/// What a shell says of a program that it can't run.
fn could_not_run(failed: &frame::Failed) -> ExecOutput {
    let (code, message) = prepare::never_started(failed);
    ExecOutput { stdout: Vec::new(), stderr: format!("{message}\n").into_bytes(), exit_code: i32::from(code) }
}

// === impl Output ===

impl Output {
    fn new(pipe: Option<OwnedFd>, bytes_max: usize) -> io::Result<Self> {
        Ok(Self { pipe: pipe.map(pipe::Receiver::from_owned_fd).transpose()?, kept: Vec::new(), bytes_max })
    }

    /// Reads to the end; keeps what fits, and drops the rest so that the program is never held up. May be dropped.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match pipe.read(&mut buffer).await {
                Ok(0) => return,
                Ok(bytes) => {
                    let room = self.bytes_max - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..bytes.min(room)]);
                }
                Err(error) => {
                    warn!(%error, "the output of an exec can't be read");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn output_beyond_the_bound_is_read_and_dropped() {
        let pipe = Pipe::from_program().unwrap();
        let mut writer = std::fs::File::from(pipe.theirs);
        let thread = std::thread::spawn(move || writer.write_all(&vec![b'x'; 3 * READ_BYTES]));
        let mut output = Output::new(Some(pipe.ours), 100_000).unwrap();
        output.read().await;
        thread.join().unwrap().unwrap();
        assert_eq!(output.kept.len(), 100_000);
    }

    #[test]
    fn signal_is_128_and_its_number() {
        assert_eq!(exit_code(ExitStatus::Signal(9)), 137);
        assert_eq!(exit_code(ExitStatus::Code(7)), 7);
    }
}

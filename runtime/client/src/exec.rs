//! Runs a program in a running container and collects what it writes.

use crate::client::Client;
use crate::config::{DRAIN_WITHIN, EXEC_KILLED_WITHIN};
use crate::error::{Error, Result};
use crate::prepare;
use crate::shims::{Ending, Shim};
use orlop_model::ports::{Exec, ExecOutput};
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

/// Runs a program, collects its output and waits for its end.
pub(crate) async fn exec(client: &Client, exec: Exec<'_>) -> Result<ExecOutput> {
    let tried = format!("exec {:?} in container {}", exec.command.first().map_or("", String::as_str), exec.id);
    let (plan, mut slots) = prepare::exec(client, &exec).await?;
    let shim = client.shims.need(exec.sandbox_id, &tried).await?;
    let pipes = || Pipe::new().map_err(|error| Error::io(tried.clone(), error));
    let (mut stdout, mut stderr) = (pipes()?, pipes()?);
    let first = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    slots.extend([stdout.theirs.take(), stderr.theirs.take()].into_iter().flatten());
    let request = frame::Exec {
        container: exec.id.to_string(),
        exec: client.next_exec(),
        plan,
        stdin: None,
        stdout: Some(first),
        stderr: Some(first.saturating_add(1)),
    };
    let mut abandoned =
        Abandoned { shim: shim.clone(), container: exec.id.to_string(), exec: request.exec, ended: false };
    let (answered, ending) = shim.exec(&tried, request, slots).await?;
    if let Reply::Failed(failed) = &answered.reply {
        abandoned.ended = true;
        return Ok(could_not_run(failed));
    }
    let Reply::ExecStarted { .. } = answered.reply else {
        return Err(Error::Unexpected { tried });
    };
    let output = collect(&shim, &exec, ending, stdout, stderr, &tried).await;
    abandoned.ended = true;
    output
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

/// A pipe from a program to us.
struct Pipe {
    ours: pipe::Receiver,
    /// The end that the program writes to; gone once it is sent.
    theirs: Option<OwnedFd>,
}

/// What was read of a pipe.
struct Output {
    pipe: pipe::Receiver,
    kept: Vec<u8>,
    bytes_max: usize,
}

// === collecting ===

async fn collect(
    shim: &Shim,
    exec: &Exec<'_>,
    mut ending: Ending,
    stdout: Pipe,
    stderr: Pipe,
    tried: &str,
) -> Result<ExecOutput> {
    let mut stdout = Output::new(stdout, exec.output_bytes_max);
    let mut stderr = Output::new(stderr, exec.output_bytes_max);
    let outcome = {
        let mut outputs = std::pin::pin!(async { tokio::join!(stdout.read(), stderr.read()) });
        let ended = within(exec.timeout, async {
            tokio::select! {
                status = ending.wait() => (status, false),
                _ = &mut outputs => (ending.wait().await, true),
            }
        });
        match ended.await {
            Some((Some(status), all_read)) => {
                if !all_read {
                    // Something it started still holds the pipes; what it wrote itself is in them already.
                    let _ = tokio::time::timeout(DRAIN_WITHIN, outputs).await;
                }
                Ok(status)
            }
            Some((None, _)) => Err(Error::Gone { tried: tried.to_owned(), peer: "the sandbox's shim".to_owned() }),
            None => Err(Error::Late { tried: tried.to_owned(), bound: exec.timeout.unwrap_or_default() }),
        }
    };
    match outcome {
        Ok(status) => Ok(ExecOutput { stdout: stdout.kept, stderr: stderr.kept, exit_code: exit_code(status) }),
        Err(error @ Error::Late { .. }) => {
            kill(shim, exec, &mut ending).await;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Kills an exec that took too long, with all it started, and waits until it is reaped.
async fn kill(shim: &Shim, exec: &Exec<'_>, ending: &mut Ending) {
    let request = Request::KillExec { container: exec.id.to_string(), exec: ending.exec() };
    let killed = shim.ask_done("kill the exec", request).await;
    let reaped = tokio::time::timeout(EXEC_KILLED_WITHIN, ending.wait()).await;
    if let Err(error) = killed {
        warn!(container = %exec.id, %error, "an exec that took too long could not be killed");
    } else if reaped.is_err() {
        warn!(container = %exec.id, "an exec was killed and is still there");
    }
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

// === impl Pipe, Output ===

impl Pipe {
    fn new() -> io::Result<Self> {
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // Ours alone: the flag belongs to the open file, and a program expects its output to block.
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok(Self { ours: pipe::Receiver::from_owned_fd(ours)?, theirs: Some(theirs) })
    }
}

impl Output {
    fn new(pipe: Pipe, bytes_max: usize) -> Self {
        Self { pipe: pipe.ours, kept: Vec::new(), bytes_max }
    }

    /// Reads to the end; keeps what fits, and drops the rest so that the program is never held up. May be dropped.
    async fn read(&mut self) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match self.pipe.read(&mut buffer).await {
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
        let mut pipe = Pipe::new().unwrap();
        let mut writer = std::fs::File::from(pipe.theirs.take().unwrap());
        let thread = std::thread::spawn(move || writer.write_all(&vec![b'x'; 3 * READ_BYTES]));
        let mut output = Output::new(pipe, 100_000);
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

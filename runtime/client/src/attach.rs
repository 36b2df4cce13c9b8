//! Streams of a running container: a client's share, the end of standard input, the size of a terminal.

use crate::client::Client;
use crate::config::ASK_WITHIN;
use crate::error::{Error, Result};
use crate::pipes::{Pipe, send_along};
use orlop_model::streams::{Attached, OutputBytes, Streams, TerminalSize, WantedStreams};
use orlop_model::{ContainerId, SandboxId};
use orlop_wire::frame::{self, Console, Reply, Request};

/// Gives a client its share: pipes of its own for output, which the shim fills and never waits on; the container's own
/// standard input.
pub(crate) async fn attach(
    client: &Client,
    sandbox: &SandboxId,
    id: &ContainerId,
    wanted: WantedStreams,
) -> Result<Attached> {
    let tried = format!("attach to container {id}");
    let shim = client.shims.need(sandbox, &tried).await?;
    let ring = |wanted: bool| wanted.then(Pipe::ring).transpose().map_err(|error| Error::io(tried.clone(), error));
    let mut slots = Vec::new();
    let (stdout_slot, stdout) = send_along(ring(wanted.stdout)?, &mut slots);
    let (stderr_slot, stderr) = send_along(ring(wanted.stderr)?, &mut slots);
    let request = Request::Attach(frame::Attach {
        container: id.to_string(),
        stdin: wanted.stdin,
        stdout: stdout_slot,
        stderr: stderr_slot,
    });
    let mut answered = shim.ask(tried.clone(), request, slots, ASK_WITHIN).await.map_err(Error::or_stopped)?;
    let stdin = answered.slots.pop();
    let Reply::Attached(attached) = answered.reply else { return Err(Error::Unexpected { tried }) };
    if stdin.is_some() != wanted.stdin {
        return Err(Error::Unexpected { tried });
    }
    let stderr = stderr.filter(|_| attached.console == Console::Pipes);
    let from = OutputBytes { stdout: attached.stdout_from, stderr: attached.stderr_from };
    let now = OutputBytes { stdout: attached.stdout_now, stderr: attached.stderr_now };
    Ok(Attached { streams: Streams { stdin, stdout, stderr }, from, now })
}

/// Closes the shim's end of standard input.
pub(crate) async fn close_stdin(client: &Client, sandbox: &SandboxId, id: &ContainerId) -> Result<()> {
    let tried = format!("close the standard input of container {id}");
    let shim = client.shims.need(sandbox, &tried).await?;
    let closed = shim.ask_done(tried, Request::CloseStdin { container: id.to_string() }).await;
    closed.map_err(Error::or_stopped)
}

/// Sets the size of a terminal.
pub(crate) async fn resize(client: &Client, sandbox: &SandboxId, id: &ContainerId, size: TerminalSize) -> Result<()> {
    let tried = format!("resize the terminal of container {id}");
    let shim = client.shims.need(sandbox, &tried).await?;
    let request = Request::Resize { container: id.to_string(), rows: size.rows, columns: size.columns };
    shim.ask_done(tried, request).await.map_err(Error::or_stopped)
}

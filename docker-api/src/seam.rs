//! What is asked of the engine about streams of processes.

use orlop_model::ContainerId;
use orlop_model::error::Result;
use orlop_model::ports::{ExecIo, ExecOverrides, OpenExec};
use orlop_model::streams::{Attached, TerminalSize, WantedStreams};
use orlop_usecases::Facade;

/// Gives a client its share in the streams of a running container.
pub(crate) async fn attach(facade: &Facade, id: &ContainerId, wanted: WantedStreams) -> Result<Attached> {
    facade.attach(id, wanted).await
}

/// Closes the standard input of a container for good.
pub(crate) async fn close_stdin(facade: &Facade, id: &ContainerId) -> Result<()> {
    facade.close_stdin(id).await
}

/// Sets the size of a running container's terminal.
pub(crate) async fn resize(facade: &Facade, id: &ContainerId, size: TerminalSize) -> Result<()> {
    facade.resize(id, size).await
}

/// Lists the processes of a running container.
pub(crate) async fn processes(facade: &Facade, id: &ContainerId) -> Result<Vec<u32>> {
    facade.processes(id).await
}

/// Runs a program in a running container, its streams in our hands.
pub(crate) async fn exec_open(
    facade: &Facade,
    id: &ContainerId,
    command: &[String],
    overrides: &ExecOverrides,
    io: ExecIo,
) -> Result<OpenExec> {
    facade.exec_open(id, command, io, overrides).await
}

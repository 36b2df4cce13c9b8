//! What is asked of the engine about streams of processes.

use orlop_model::ContainerId;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::{ExecIo, OpenExec};
use orlop_model::streams::{Attached, TerminalSize, WantedStreams};
use orlop_usecases::Facade;

fn not_built<T>(what: &str) -> Result<T> {
    Err(Failure::new(ErrorKind::Unsupported, format!("{what} is not built yet in orlop")))
}

/// Gives a client its share in the streams of a running container.
#[allow(clippy::unused_async, reason = "the engine will be asked")]
pub(crate) async fn attach(_facade: &Facade, _id: &ContainerId, _wanted: WantedStreams) -> Result<Attached> {
    not_built("attaching to a container")
}

/// Closes the standard input of a container for good.
#[allow(clippy::unused_async, reason = "the engine will be asked")]
pub(crate) async fn close_stdin(_facade: &Facade, _id: &ContainerId) -> Result<()> {
    not_built("closing standard input")
}

/// Sets the size of a running container's terminal.
#[allow(clippy::unused_async, reason = "the engine will be asked")]
pub(crate) async fn resize(_facade: &Facade, _id: &ContainerId, _size: TerminalSize) -> Result<()> {
    not_built("resizing a terminal")
}

/// Lists the processes of a running container.
#[allow(clippy::unused_async, reason = "the engine will be asked")]
pub(crate) async fn processes(_facade: &Facade, _id: &ContainerId) -> Result<Vec<u32>> {
    not_built("listing processes")
}

/// In what a program run in a container differs from the container's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExecOverrides {
    pub(crate) user: String,
    pub(crate) env: Vec<(String, Vec<u8>)>,
    pub(crate) working_dir: String,
    pub(crate) privileged: bool,
}

/// Runs a program in a running container, its streams in our hands.
#[allow(clippy::unused_async, reason = "the engine will be asked")]
pub(crate) async fn exec_open(
    _facade: &Facade,
    _id: &ContainerId,
    _command: &[String],
    _overrides: &ExecOverrides,
    _io: ExecIo,
) -> Result<OpenExec> {
    not_built("running a program with streams")
}

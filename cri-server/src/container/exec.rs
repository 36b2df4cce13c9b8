//! Exec: a program in a container, its streams over the streaming server.

use super::streams::{Asked, running, wanted};
use crate::proto::{ExecRequest, ExecResponse};
use crate::service::Cri;
use crate::streaming::work::{Command, Opened, Resize, Terminal, Work};
use orlop_model::ports::{Answer, ExecIo, ExecOverrides, OpenExec};
use orlop_model::streams::{Streams, TerminalSize};
use orlop_model::{ContainerId, ErrorKind, Failure};
use orlop_usecases::Facade;
use std::os::fd::{AsFd, OwnedFd};

/// Returns the URL under which a client runs a program, once.
pub(crate) async fn exec(cri: &Cri, request: ExecRequest) -> Result<ExecResponse, Failure> {
    let ExecRequest { container_id, cmd, tty, stdin, stdout, stderr } = request;
    let (wanted, terminal) = wanted("exec", Asked { stdin, stdout, stderr, tty })?;
    super::exec_sync::check_command(&cmd)?;
    let view = cri.container(&container_id)?;
    running("exec", &view)?;
    let (facade, id) = (cri.facade.clone(), view.asked.id.clone());
    let io = ExecIo { streams: wanted, terminal: (terminal == Terminal::Yes).then(TerminalSize::default) };
    let command = Command {
        container: id.to_string(),
        wanted,
        terminal,
        open: Box::new(move || Box::pin(open(facade, id, cmd, io))),
        // Its input ends with the descriptor.
        close_stdin: None,
    };
    Ok(ExecResponse { url: cri.streaming.promise(Work::Exec(command))? })
}

async fn open(facade: Facade, id: ContainerId, command: Vec<String>, io: ExecIo) -> Result<Opened, Failure> {
    let OpenExec { pid: _, streams, ended } = facade.exec_open(&id, &command, io, &ExecOverrides::default()).await?;
    let resize = match (io.terminal, &streams) {
        (Some(_), Streams { stdout: Some(terminal), .. }) => resize(terminal)?,
        (Some(_) | None, Streams { .. }) => {
            Box::new(|_| -> Answer<'static, _> { Box::pin(std::future::ready(Ok(()))) })
        }
    };
    Ok(Opened { streams, resize, ended: Some(ended) })
}

/// The terminal is in our hands: its size is set on it.
fn resize(terminal: &OwnedFd) -> Result<Resize, Failure> {
    let failed =
        |wrong: std::io::Error| Failure::new(ErrorKind::Internal, format!("set the size of a terminal: {wrong}"));
    let terminal = terminal.as_fd().try_clone_to_owned().map_err(failed)?;
    Ok(Box::new(move |TerminalSize { rows, columns }| {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let set = rustix::termios::tcsetwinsize(&terminal, size).map_err(|wrong| failed(wrong.into()));
        Box::pin(std::future::ready(set))
    }))
}

//! Attach: a share in a container's own streams, over the streaming server.

use super::streams::{Asked, running, wanted};
use crate::proto::{AttachRequest, AttachResponse};
use crate::service::Cri;
use crate::streaming::work::{CloseStdin, Command, Opened, Work};
use orlop_model::container::Stdin;
use orlop_model::streams::WantedStreams;
use orlop_model::{ContainerId, ErrorKind, Failure};
use orlop_usecases::Facade;
use std::sync::Arc;

/// Returns the URL under which a client attaches, once.
pub(crate) async fn attach(cri: &Cri, request: AttachRequest) -> Result<AttachResponse, Failure> {
    let AttachRequest { container_id, stdin, tty, stdout, stderr } = request;
    let (wanted, terminal) = wanted("attach", Asked { stdin, stdout, stderr, tty })?;
    let view = cri.container(&container_id)?;
    running("attach", &view)?;
    let (id, process) = (view.asked.id.clone(), &view.asked.spec.process);
    let close_stdin = match (wanted.stdin, process.stdin) {
        (true, Stdin::Null) => {
            let message = format!("attach: container {id} was created without stdin; attach without it");
            return Err(Failure::new(ErrorKind::InvalidArgument, message));
        }
        (true, Stdin::Once) => Some(close_stdin(cri.facade.clone(), id.clone())),
        (true, Stdin::Open) | (false, Stdin::Null | Stdin::Open | Stdin::Once) => None,
    };
    let facade = cri.facade.clone();
    let command = Command {
        container: id.to_string(),
        wanted,
        terminal,
        open: Box::new(move || Box::pin(open(facade, id, wanted))),
        close_stdin,
    };
    Ok(AttachResponse { url: cri.streaming.promise(Work::Attach(command))? })
}

async fn open(facade: Facade, id: ContainerId, wanted: WantedStreams) -> Result<Opened, Failure> {
    // Its output says when the container has ended: who only writes must hear that too.
    let attached = facade.attach(&id, WantedStreams { stdout: true, ..wanted }).await?;
    let resize = move |size| -> orlop_model::ports::Answer<'static, _> {
        let (facade, id) = (facade.clone(), id.clone());
        Box::pin(async move { facade.resize(&id, size).await })
    };
    Ok(Opened { streams: attached.streams, resize: Box::new(resize), ended: None })
}

/// The first client's end is the input's end.
fn close_stdin(facade: Facade, id: ContainerId) -> CloseStdin {
    Arc::new(move || {
        let (facade, id) = (facade.clone(), id.clone());
        Box::pin(async move { facade.close_stdin(&id).await })
    })
}

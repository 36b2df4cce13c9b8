//! PortForward: ports of a sandbox, over the streaming server. Which ones, the streams say; the request's list is a hint.

use crate::proto::{PortForwardRequest, PortForwardResponse};
use crate::service::Cri;
use crate::streaming::work::{Connect, Work};
use orlop_model::ports::Answer;
use orlop_model::sandbox_state::SandboxState;
use orlop_model::{ErrorKind, Failure};

/// Returns the URL under which a client reaches ports of a sandbox, once.
pub(crate) async fn port_forward(cri: &Cri, request: PortForwardRequest) -> Result<PortForwardResponse, Failure> {
    if let Some(port) = request.port.iter().find(|port| u16::try_from(**port).is_err() || **port == 0) {
        let message = format!("port forward: {port} is no port; use 1 to 65535");
        return Err(Failure::new(ErrorKind::InvalidArgument, message));
    }
    let view = cri.sandbox(&request.pod_sandbox_id)?;
    let id = view.asked.id.clone();
    if !matches!(view.state, SandboxState::Ready { .. }) {
        return Err(Failure::new(ErrorKind::WrongState, format!("port forward: pod {id} is not ready")));
    }
    let (facade, sandbox) = (cri.facade.clone(), id.to_string());
    let connect = move |port| -> Answer<'static, _> {
        let (facade, id) = (facade.clone(), id.clone());
        Box::pin(async move { facade.connect(&id, port).await })
    };
    let work = Work::PortForward(Connect { sandbox, connect: Box::new(connect) });
    Ok(PortForwardResponse { url: cri.streaming.promise(work)? })
}

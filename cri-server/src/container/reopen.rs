//! ReopenContainerLog: the kubelet has moved a log away and wants the next lines in a fresh file.

use crate::proto::{ReopenContainerLogRequest, ReopenContainerLogResponse};
use crate::service::Cri;
use orlop_model::Failure;

/// Lets a running container's log go on in a fresh file, which is there when this returns.
pub(crate) async fn reopen(
    cri: &Cri,
    request: ReopenContainerLogRequest,
) -> Result<ReopenContainerLogResponse, Failure> {
    let view = cri.container(&request.container_id)?;
    cri.facade.reopen_log(&view.asked.id).await?;
    Ok(ReopenContainerLogResponse {})
}

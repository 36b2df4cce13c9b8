//! StopPodSandbox.

use crate::proto::{StopPodSandboxRequest, StopPodSandboxResponse};
use crate::service::{Cri, unless_gone};
use orlop_model::Failure;

/// Stops a pod with all in it. One that is stopped or not there is no error.
pub(crate) async fn stop(cri: &Cri, request: StopPodSandboxRequest) -> Result<StopPodSandboxResponse, Failure> {
    if let Some(view) = unless_gone(cri.sandbox_to_end(&request.pod_sandbox_id))? {
        unless_gone(cri.facade.stop_sandbox(&view.asked.id).await)?;
    }
    Ok(StopPodSandboxResponse {})
}

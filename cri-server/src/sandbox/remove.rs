//! RemovePodSandbox.

use crate::proto::{RemovePodSandboxRequest, RemovePodSandboxResponse};
use crate::service::{Cri, unless_gone};
use orlop_model::Failure;

/// Removes a pod with all in it, running or not. One that is not there is no error.
pub(crate) async fn remove(cri: &Cri, request: RemovePodSandboxRequest) -> Result<RemovePodSandboxResponse, Failure> {
    if let Some(view) = unless_gone(cri.sandbox_to_end(&request.pod_sandbox_id))? {
        unless_gone(cri.facade.remove_sandbox(&view.asked.id).await)?;
        drop(view);
        cri.annexes.forget_gone();
    }
    Ok(RemovePodSandboxResponse {})
}

//! UpdatePodSandboxResources: the kubelet tells what it has changed in the pod's own cgroup, above ours.

use crate::proto::{UpdatePodSandboxResourcesRequest, UpdatePodSandboxResourcesResponse};
use crate::service::Cri;
use orlop_model::Failure;

/// Takes note. Nothing of ours depends on it: a sandbox's cgroup has no limits of its own, and no answer shows these.
pub(crate) async fn update(
    cri: &Cri,
    request: UpdatePodSandboxResourcesRequest,
) -> Result<UpdatePodSandboxResourcesResponse, Failure> {
    cri.sandbox(&request.pod_sandbox_id)?;
    Ok(UpdatePodSandboxResourcesResponse {})
}

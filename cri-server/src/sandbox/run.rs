//! RunPodSandbox.

use crate::proto::{RunPodSandboxRequest, RunPodSandboxResponse};
use crate::service::Cri;
use crate::{annex, request, translate};
use orlop_model::Failure;
use orlop_usecases::RunSandbox;

/// Runs a pod's sandbox. The same request again returns the same id.
pub(crate) async fn run(cri: &Cri, request: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, Failure> {
    let spec = translate::sandbox::spec(&request)?;
    let id = cri.facade.run_sandbox(RunSandbox { spec, annex: annex::of_sandbox(request) }).await?;
    request::about_sandbox(id.as_str());
    Ok(RunPodSandboxResponse { pod_sandbox_id: id.into() })
}

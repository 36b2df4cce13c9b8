//! RunPodSandbox.

use crate::proto::{RunPodSandboxRequest, RunPodSandboxResponse};
use crate::service::Cri;
use crate::translate::users::UserNamespaces;
use crate::{annex, request, translate};
use orlop_model::{ErrorKind, Failure};
use orlop_usecases::RunSandbox;

/// Runs a pod's sandbox. The same request again returns the same id.
pub(crate) async fn run(cri: &Cri, request: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, Failure> {
    let spec = translate::sandbox::spec(&request)?;
    if spec.user_namespace.is_some() && cri.config.user_namespaces == UserNamespaces::Impossible {
        let message = "run sandbox: user namespaces are not possible on this node, whose kernel or image file system can't \
                       map owners of files; the daemon's log says more, and Status says so to the kubelet";
        return Err(Failure::new(ErrorKind::Unsupported, message));
    }
    let id = cri.facade.run_sandbox(RunSandbox { spec, annex: annex::of_sandbox(request) }).await?;
    request::about_sandbox(id.as_str());
    Ok(RunPodSandboxResponse { pod_sandbox_id: id.into() })
}

//! StartContainer.

use crate::proto::{StartContainerRequest, StartContainerResponse};
use crate::service::Cri;
use orlop_model::Failure;

/// Starts a created container. A program that can't run is an error, and leaves the container exited.
pub(crate) async fn start(cri: &Cri, request: StartContainerRequest) -> Result<StartContainerResponse, Failure> {
    let view = cri.container(&request.container_id)?;
    cri.facade.start_container(&view.asked.id).await?;
    Ok(StartContainerResponse {})
}

//! RemoveContainer.

use crate::proto::{RemoveContainerRequest, RemoveContainerResponse};
use crate::service::{Cri, unless_gone};
use orlop_model::Failure;
use orlop_model::container_state::Force;

/// Removes a container, running or not. One that is not there is no error.
pub(crate) async fn remove(cri: &Cri, request: RemoveContainerRequest) -> Result<RemoveContainerResponse, Failure> {
    if let Some(view) = unless_gone(cri.container(&request.container_id))? {
        unless_gone(cri.facade.remove_container(&view.asked.id, Force::Yes).await)?;
        drop(view);
        cri.annexes.forget_gone();
    }
    Ok(RemoveContainerResponse {})
}

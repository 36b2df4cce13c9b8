//! RemoveImage.

use crate::proto::{RemoveImageRequest, RemoveImageResponse};
use crate::request::about_image;
use crate::service::{Cri, unless_gone};
use crate::translate::image::reference;
use orlop_model::Failure;
use orlop_model::image_removal::RemovalRule;

/// Removes an image with all its names, unless another facade's users hold it. One that is not there is no error.
pub(crate) async fn remove(cri: &Cri, request: RemoveImageRequest) -> Result<RemoveImageResponse, Failure> {
    let reference = reference("image", request.image.as_ref()).map_err(Failure::from)?;
    about_image(reference);
    unless_gone(cri.facade.remove_image(reference, RemovalRule::Whole).await)?;
    Ok(RemoveImageResponse {})
}

//! PullImage. Has no deadline of its own: a client that stops waiting stops waiting, and its parts are kept.

use crate::proto::{PullImageRequest, PullImageResponse};
use crate::request::about_image;
use crate::service::Cri;
use crate::translate::credentials::credentials;
use crate::translate::image::reference;
use crate::translate::quoted;
use orlop_model::Failure;
use orlop_model::ports::Unheard;
use orlop_model::pull::PullRequest;

/// Pulls an image and returns its id, the one that every other answer shows too.
pub(crate) async fn pull(cri: &Cri, request: PullImageRequest) -> Result<PullImageResponse, Failure> {
    let reference = reference("image", request.image.as_ref()).map_err(Failure::from)?;
    about_image(reference);
    let credentials = credentials(request.auth.as_ref(), reference)
        .map_err(|refused| Failure::from(refused).while_trying(format_args!("pull {}", quoted(reference))))?;
    let wanted = PullRequest { reference: reference.to_owned(), credentials, owner: crate::namespace() };
    let pulled = cri.facade.images().pull(&wanted, &Unheard).await?;
    Ok(PullImageResponse { image_ref: pulled.image.to_string() })
}

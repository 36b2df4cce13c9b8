//! ListImages.

use crate::proto::{ListImagesRequest, ListImagesResponse};
use crate::service::Cri;
use crate::translate::image::shown;
use orlop_model::Failure;

/// Lists images, each once with all its names, or the one that a filter names.
pub(crate) async fn list(cri: &Cri, request: ListImagesRequest) -> Result<ListImagesResponse, Failure> {
    let wanted = request.filter.and_then(|filter| filter.image).map(|image| image.image).unwrap_or_default();
    let images = cri.facade.images();
    let images = match wanted.as_str() {
        "" => images.list().await?,
        reference => images.find(reference).await?.into_iter().collect(),
    };
    let pinned = cri.facade.pinned(&images);
    let images = images.iter().zip(pinned).map(|(image, pinned)| shown(image, pinned));
    Ok(ListImagesResponse { images: images.collect() })
}

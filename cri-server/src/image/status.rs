//! ImageStatus.

use crate::proto::{ImageStatusRequest, ImageStatusResponse};
use crate::request::about_image;
use crate::service::Cri;
use crate::translate::image::{reference, shown};
use orlop_model::Failure;
use orlop_model::image::Image;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Says what an image is. One that is not there is an answer without image, not an error.
pub(crate) async fn status(cri: &Cri, request: ImageStatusRequest) -> Result<ImageStatusResponse, Failure> {
    let reference = reference("image", request.image.as_ref()).map_err(Failure::from)?;
    about_image(reference);
    let Some(image) = cri.facade.images().find(reference).await? else {
        return Ok(ImageStatusResponse::default());
    };
    let mut info = BTreeMap::new();
    if request.verbose {
        info.insert("info".to_owned(), verbose(&image));
    }
    let pinned = cri.facade.pinned(std::slice::from_ref(&image)) == [true];
    Ok(ImageStatusResponse { image: Some(shown(&image, pinned)), info })
}

/// Returns the config document under the name that crictl looks for.
fn verbose(image: &Image) -> String {
    let config: Value = serde_json::from_str(&image.config_json).unwrap_or(Value::Null);
    json!({ "imageSpec": config }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::{Digest, ImageId};

    #[test]
    fn the_config_document_is_where_crictl_looks_for_it() {
        let id = ImageId(Digest::parse(&format!("sha256:{}", "3".repeat(64))).unwrap());
        let mut image = Image { config_json: r#"{"config":{"Cmd":["sh"]}}"#.into(), ..Image::new(id) };
        let info: Value = serde_json::from_str(&verbose(&image)).unwrap();
        assert_eq!(info["imageSpec"]["config"]["Cmd"][0], "sh");
        image.config_json = "damaged".into();
        assert_eq!(verbose(&image), r#"{"imageSpec":null}"#);
    }
}

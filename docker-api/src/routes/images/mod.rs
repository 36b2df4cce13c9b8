//! Images.

pub(super) mod create;
pub(super) mod history;
pub(super) mod inspect;
pub(super) mod list;
pub(super) mod prune;
pub(super) mod remove;
pub(super) mod tag;

pub(crate) use list::{counts, shared};

use crate::app::App;
use crate::http::error::ApiError;
use orlop_model::image::Image;
use orlop_model::reference::Reference;

/// Finds an image by name, id, or the beginning of one.
async fn find(app: &App, name: &str) -> Result<Image, ApiError> {
    let found = app.facade.images().find(name).await?;
    found.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> ApiError {
    let shown = Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar());
    ApiError::not_found(format!("No such image: {shown}"))
}

//! Finds a container by name, id, or the beginning of one.

use crate::annex::Annex;
use crate::app::App;
use crate::http::error::ApiError;
use orlop_model::ContainerId;
use orlop_usecases::ContainerView;
use std::sync::Arc;

/// A container that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) view: Arc<ContainerView>,
    pub(crate) annex: Arc<Annex>,
}

impl Found {
    pub(crate) fn new(view: Arc<ContainerView>) -> Self {
        let annex = Annex::read(&view);
        Self { view, annex }
    }

    pub(crate) fn id(&self) -> &ContainerId {
        &self.view.asked.id
    }
}

/// Finds a container: a whole id wins over a name, and that over the beginning of an id.
pub(crate) fn container(app: &App, text: &str) -> Result<Found, ApiError> {
    let missing = || ApiError::not_found(format!("No such container: {text}"));
    let name = text.strip_prefix('/').unwrap_or(text);
    if name.is_empty() {
        return Err(missing());
    }
    let all = app.facade.containers();
    let exact = |id: &str| all.iter().find(|view| view.asked.id.as_str() == id).cloned();
    if let Some(view) = exact(text) {
        return Ok(Found::new(view));
    }
    if let Some(view) = app.names.find(name).and_then(|id| exact(id.as_str())) {
        return Ok(Found::new(view));
    }
    let mut begin = all.iter().filter(|view| view.asked.id.as_str().starts_with(text));
    match (begin.next(), begin.next()) {
        (Some(view), None) => Ok(Found::new(Arc::clone(view))),
        (Some(_), Some(_)) => Err(ApiError::bad(format!("Multiple IDs found with provided prefix: {text}"))),
        (None, _) => Err(missing()),
    }
}

//! Who holds which images: what keeps one facade from taking away what another one's users need.

use crate::facade::Facade;
use crate::registry::ContainerView;
use orlop_model::container_state::ContainerState;
use orlop_model::error::Result;
use orlop_model::image::Image;
use orlop_model::image_removal::{ImageUser, Removal, RemovalRule, Removed};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Facade {
    /// Removes names of an image, and the image with them, as the rule has it; quiet when it is not there. What containers
    /// of the node use is known here, whichever facade they came by.
    ///
    /// # Errors
    /// `WrongState`, naming the holder, when something holds the image.
    pub async fn remove_image(&self, reference: &str, rule: RemovalRule) -> Result<Removed> {
        let removal = Removal {
            reference: reference.to_owned(),
            by: self.namespace().clone(),
            rule,
            users: self.all_containers().iter().map(|view| user(view)).collect(),
        };
        self.images().remove(&removal).await
    }

    /// Returns those of some images that this facade must leave alone when it collects garbage: others hold a name of them,
    /// or have a container made from them. In the same order, true for each of those.
    #[must_use]
    pub fn pinned(&self, images: &[Image]) -> Vec<bool> {
        let all = self.all_containers();
        let others = all.iter().filter(|view| view.asked.spec.namespace != *self.namespace());
        let used: BTreeSet<_> = others.map(|view| &view.asked.spec.image).collect();
        let held = |image: &Image| image.held.iter().any(|held| held.by != *self.namespace());
        images.iter().map(|image| held(image) || used.contains(&image.id)).collect()
    }

    /// Those being created too: their image must not go under them.
    fn all_containers(&self) -> Vec<Arc<ContainerView>> {
        self.node().registry.everything().1
    }
}

fn user(view: &ContainerView) -> ImageUser {
    let spec = &view.asked.spec;
    ImageUser {
        image: spec.image.clone(),
        container: view.asked.id.clone(),
        namespace: spec.namespace.clone(),
        running: has_process(&view.state),
    }
}

/// Says whether a process of a container may run.
fn has_process(state: &ContainerState) -> bool {
    match state {
        ContainerState::Starting { .. } | ContainerState::Running(_) | ContainerState::Frozen(_) => true,
        ContainerState::Stopping { .. } | ContainerState::Lost(_) => true,
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Exited { .. } => false,
        ContainerState::Removing(_) | ContainerState::Gone { .. } => false,
    }
}

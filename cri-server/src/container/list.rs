//! ListContainers. Asked every second; waits for nothing.

use super::shown;
use crate::proto::{
    Container, ContainerConfig, ContainerFilter, ImageSpec, ListContainersRequest, ListContainersResponse,
};
use crate::sandbox::list::selects;
use crate::service::Cri;
use orlop_model::Failure;
use orlop_usecases::ContainerView;
use tracing::warn;

/// Lists containers, oldest first. A filter that nothing matches is no error.
pub(crate) async fn list(cri: &Cri, request: ListContainersRequest) -> Result<ListContainersResponse, Failure> {
    let filter = request.filter.unwrap_or_default();
    let mut containers = Vec::new();
    for view in cri.facade.containers() {
        let request = match cri.annexes.container(&view.asked) {
            Ok(request) => request,
            // One damaged record must not hide all others.
            Err(failure) => {
                warn!(error = %failure, "left out of a list");
                continue;
            }
        };
        let Some(config) = &request.config else { continue };
        if matches(&filter, &view, config) {
            containers.push(of_view(&view, config));
        }
    }
    Ok(ListContainersResponse { containers })
}

fn of_view(view: &ContainerView, config: &ContainerConfig) -> Container {
    let image = view.asked.spec.image.to_string();
    Container {
        id: view.asked.id.to_string(),
        pod_sandbox_id: view.asked.spec.sandbox.to_string(),
        metadata: config.metadata.clone(),
        image: Some(image_spec(&image, config)),
        image_ref: image.clone(),
        state: shown(&view.state) as i32,
        created_at: view.asked.created_at.0,
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        image_id: image,
    }
}

/// Returns a container's image: one id on every side, and the name its user wrote.
pub(crate) fn image_spec(image: &str, config: &ContainerConfig) -> ImageSpec {
    let asked = config.image.as_ref();
    ImageSpec {
        image: image.to_owned(),
        annotations: asked.map(|asked| asked.annotations.clone()).unwrap_or_default(),
        user_specified_image: asked.map(|asked| asked.user_specified_image.clone()).unwrap_or_default(),
        runtime_handler: asked.map(|asked| asked.runtime_handler.clone()).unwrap_or_default(),
        image_ref: String::new(),
    }
}

/// Whether all that a filter says is true. Ids may be cut short.
pub(crate) fn matches(filter: &ContainerFilter, view: &ContainerView, config: &ContainerConfig) -> bool {
    view.asked.id.as_str().starts_with(&filter.id)
        && view.asked.spec.sandbox.as_str().starts_with(&filter.pod_sandbox_id)
        && filter.state.is_none_or(|wanted| wanted.state == shown(&view.state) as i32)
        && selects(&filter.label_selector, &config.labels)
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::{config, view};
    use super::*;
    use crate::proto::{ContainerState as Shown, ContainerStateValue};
    use orlop_model::container_state::{Checked, ContainerState};

    #[test]
    fn every_part_of_a_filter_must_match() {
        let view = view(ContainerState::Created { checked: Checked::default() });
        let config = config();
        let state = |state: Shown| Some(ContainerStateValue { state: state as i32 });
        for (filter, expected) in [
            (ContainerFilter::default(), true),
            (ContainerFilter { id: "c1".into(), pod_sandbox_id: "pod".into(), ..Default::default() }, true),
            (ContainerFilter { state: state(Shown::ContainerCreated), ..Default::default() }, true),
            (ContainerFilter { id: "c2".into(), ..Default::default() }, false),
            (ContainerFilter { pod_sandbox_id: "other".into(), ..Default::default() }, false),
            (ContainerFilter { state: state(Shown::ContainerRunning), ..Default::default() }, false),
            (ContainerFilter { label_selector: [("app".into(), "web".into())].into(), ..Default::default() }, true),
            (ContainerFilter { label_selector: [("app".into(), "x".into())].into(), ..Default::default() }, false),
        ] {
            assert_eq!(matches(&filter, &view, &config), expected, "{filter:?}");
        }
    }

    #[test]
    fn a_listed_container_names_its_image_by_one_id() {
        let listed = of_view(&view(ContainerState::Created { checked: Checked::default() }), &config());
        let image = listed.image.unwrap();
        assert!(listed.image_id.starts_with("sha256:"));
        assert_eq!([&listed.image_ref, &image.image], [&listed.image_id; 2]);
        assert_eq!(image.user_specified_image, "busybox:latest");
        assert_eq!((listed.pod_sandbox_id.as_str(), listed.created_at), ("pod1", 5));
    }
}

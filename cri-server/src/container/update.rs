//! UpdateContainerResources: a pod resized in place, or a manager of the kubelet that moves its processors.

use crate::proto::{UpdateContainerResourcesRequest, UpdateContainerResourcesResponse};
use crate::service::Cri;
use crate::translate::{Refused, resources};
use orlop_model::Failure;
use orlop_model::container::Resources;

/// Changes limits of a container that is created or runs: all that were asked for, or none.
pub(crate) async fn update(
    cri: &Cri,
    request: UpdateContainerResourcesRequest,
) -> Result<UpdateContainerResourcesResponse, Failure> {
    let change = change(&request).map_err(|refused| Failure::from(refused).while_trying("update container"))?;
    let view = cri.container(&request.container_id)?;
    cri.facade.update_container(&view.asked.id, change).await?;
    Ok(UpdateContainerResourcesResponse {})
}

/// Checks a change. What is zero or empty stays as it is; annotations are for plugins, of which there are none.
fn change(request: &UpdateContainerResourcesRequest) -> Result<Resources, Refused> {
    if request.windows.is_some() {
        return Err(Refused::invalid("windows", "this is a Linux node; use linux"));
    }
    match &request.linux {
        Some(linux) => resources::resources("linux", Some(linux)),
        None => Err(Refused::invalid("linux", "is missing; say what is to change")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{LinuxContainerResources, WindowsContainerResources};
    use crate::translate::tests::check_refused;
    use orlop_model::ErrorKind::InvalidArgument;

    #[test]
    fn a_change_that_can_not_be_right_is_refused_by_the_field_it_is_in() {
        let linux = |change: fn(&mut LinuxContainerResources)| {
            let mut linux = LinuxContainerResources::default();
            change(&mut linux);
            UpdateContainerResourcesRequest { linux: Some(linux), ..Default::default() }
        };
        for (request, says) in [
            (UpdateContainerResourcesRequest::default(), "linux: is missing"),
            (
                UpdateContainerResourcesRequest {
                    windows: Some(WindowsContainerResources::default()),
                    ..Default::default()
                },
                "windows: ",
            ),
            (linux(|l| l.cpu_shares = -1), "linux.cpu_shares: -1"),
            (linux(|l| l.memory_limit_in_bytes = -2), "linux.memory_limit_in_bytes: -2"),
            (linux(|l| l.cpuset_cpus = "all".into()), "linux.cpuset_cpus: "),
            (linux(|l| drop(l.unified.insert("../x.y".into(), "1".into()))), "linux.unified: "),
        ] {
            check_refused(change(&request), InvalidArgument, &[says]);
        }
        let change = change(&linux(|l| l.cpu_quota = -1)).unwrap();
        assert_eq!(change, Resources { cpu_quota_us: -1, oom_score_adj: Some(0), ..Resources::default() });
    }
}

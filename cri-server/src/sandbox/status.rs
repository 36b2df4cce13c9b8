//! PodSandboxStatus.

use super::shown;
use crate::json::of_message;
use crate::proto::{
    LinuxPodSandboxStatus, Namespace, PodIp, PodSandboxNetworkStatus, PodSandboxStatus, PodSandboxStatusRequest,
    PodSandboxStatusResponse, RunPodSandboxRequest,
};
use crate::service::Cri;
use orlop_model::Failure;
use orlop_model::sandbox_state::{Attachment, SandboxState};
use orlop_usecases::SandboxView;
use serde_json::json;
use std::collections::BTreeMap;

/// Says what a pod is.
pub(crate) async fn status(cri: &Cri, request: PodSandboxStatusRequest) -> Result<PodSandboxStatusResponse, Failure> {
    let view = cri.sandbox(&request.pod_sandbox_id)?;
    let made_from = cri.annexes.sandbox(&view.asked)?;
    let mut info = BTreeMap::new();
    if request.verbose {
        info.insert("info".to_owned(), verbose(&view, &made_from));
    }
    Ok(PodSandboxStatusResponse {
        status: Some(of_view(&view, &made_from)),
        info,
        // Not told: a kubelet of v1.37 that hears events and finds a time here takes these statuses, but then knows of no
        // active container (its GetPodStatus), and starts all of them again. Without it asks for each.
        containers_statuses: Vec::new(),
        timestamp: 0,
    })
}

pub(crate) fn of_view(view: &SandboxView, made_from: &RunPodSandboxRequest) -> PodSandboxStatus {
    let config = made_from.config.clone().unwrap_or_default();
    let security = config.linux.and_then(|linux| linux.security_context);
    PodSandboxStatus {
        id: view.asked.id.to_string(),
        metadata: config.metadata,
        state: shown(&view.state) as i32,
        created_at: view.asked.created_at.0,
        network: Some(network(attachments(&view.state))),
        linux: Some(LinuxPodSandboxStatus {
            namespaces: Some(Namespace {
                options: Some(security.and_then(|security| security.namespace_options).unwrap_or_default()),
            }),
        }),
        labels: config.labels,
        annotations: config.annotations,
        runtime_handler: made_from.runtime_handler.clone(),
    }
}

fn attachments(state: &SandboxState) -> &[Attachment] {
    match state {
        SandboxState::Ready { attachments, .. } => attachments,
        SandboxState::Creating { .. }
        | SandboxState::Stopping { .. }
        | SandboxState::NotReady { .. }
        | SandboxState::Starting { .. }
        | SandboxState::Removing { .. }
        | SandboxState::Gone { .. } => &[],
    }
}

/// Returns the addresses of the default network; a pod's other networks are its own business.
fn network(attachments: &[Attachment]) -> PodSandboxNetworkStatus {
    let mut addresses =
        attachments.iter().take(1).flat_map(|attachment| &attachment.addresses).map(ToString::to_string);
    PodSandboxNetworkStatus {
        ip: addresses.next().unwrap_or_default(),
        additional_ips: addresses.map(|ip| PodIp { ip }).collect(),
    }
}

fn verbose(view: &SandboxView, made_from: &RunPodSandboxRequest) -> String {
    let networks = attachments(&view.state).iter().map(|attachment| {
        json!({
            "network": attachment.network,
            "interface": attachment.interface,
            "addresses": attachment.addresses,
        })
    });
    json!({
        // No process belongs to a pod itself.
        "pid": 0,
        "state": format!("{:?}", view.state),
        "networks": networks.collect::<Vec<_>>(),
        "cgroupParent": view.asked.spec.cgroup_parent,
        "runtimeHandler": made_from.runtime_handler,
        "config": made_from.config.as_ref().map(|config| of_message("PodSandboxConfig", config)),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::sandbox::tests::{request, spec_of};
    use orlop_model::record::{Durability, SandboxAsked};
    use orlop_model::{SandboxId, Timestamp};
    use std::sync::Arc;

    fn view(state: SandboxState) -> SandboxView {
        let asked = SandboxAsked {
            id: SandboxId::parse("abc").unwrap(),
            created_at: Timestamp(7),
            spec: spec_of(|_| ()),
            annex: Vec::new(),
            durability: Durability::Boot,
        };
        SandboxView { asked: Arc::new(asked), state }
    }

    fn attachment(network: &str, addresses: &[&str]) -> Attachment {
        Attachment {
            network: network.into(),
            interface: "eth0".into(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ..Attachment::default()
        }
    }

    #[test]
    fn a_ready_pod_shows_the_addresses_of_its_default_network() {
        let attachments = vec![attachment("default", &["10.0.0.2", "fd00::2"]), attachment("storage", &["10.9.0.2"])];
        let view = view(SandboxState::Ready { since: Timestamp(9), attachments });
        let made_from = request(|c| drop(c.annotations.insert("a".into(), "\u{1}é\n".into())));
        let status = of_view(&view, &made_from);
        let network = status.network.unwrap();
        assert_eq!(network.ip, "10.0.0.2");
        assert_eq!(network.additional_ips, [PodIp { ip: "fd00::2".into() }]);
        assert_eq!((status.state, status.created_at), (0, 7));
        assert_eq!(status.annotations["a"], "\u{1}é\n");
        assert_eq!(status.metadata.unwrap().name, "web");
        let info: serde_json::Value = serde_json::from_str(&verbose(&view, &made_from)).unwrap();
        assert_eq!(info["config"]["metadata"]["name"], "web");
        assert_eq!(info["networks"][1]["addresses"][0], "10.9.0.2");
    }

    #[test]
    fn a_pod_that_is_not_ready_has_no_address() {
        let status = of_view(&view(SandboxState::NotReady { since: Timestamp(9), why: None }), &request(|_| ()));
        assert_eq!((status.state, status.network.unwrap().ip.as_str()), (1, ""));
    }
}

//! PodSandboxStats and ListPodSandboxStats: what a pod uses as a whole, its network included.

use crate::annex::Annexes;
use crate::container::stats::{at, cpu, io, memory, number, of_usage};
use crate::proto::{
    LinuxPodSandboxStats, ListPodSandboxStatsRequest, ListPodSandboxStatsResponse, NetworkInterfaceUsage, NetworkUsage,
    PodSandboxAttributes, PodSandboxConfig, PodSandboxStats, PodSandboxStatsRequest, PodSandboxStatsResponse,
    ProcessUsage,
};
use crate::service::Cri;
use orlop_model::usage::InterfaceUsage;
use orlop_model::{ErrorKind, Failure, Timestamp};
use orlop_usecases::{SandboxUsage, SandboxView};
use std::sync::Arc;
use tracing::warn;

/// Says what a ready pod uses.
pub(crate) async fn stats(cri: &Cri, request: PodSandboxStatsRequest) -> Result<PodSandboxStatsResponse, Failure> {
    let view = cri.sandbox(&request.pod_sandbox_id)?;
    let usages = cri.facade.sandbox_usage(vec![Arc::clone(&view)]).await?;
    match usages.first() {
        Some(usage) => Ok(PodSandboxStatsResponse { stats: Some(of_pod(&cri.annexes, usage)?) }),
        None => {
            let message = format!("pod stats: pod {} is not ready, so it uses nothing", view.asked.id);
            Err(Failure::new(ErrorKind::WrongState, message))
        }
    }
}

/// Says what all ready pods use to which the filter applies.
pub(crate) async fn list(
    cri: &Cri,
    request: ListPodSandboxStatsRequest,
) -> Result<ListPodSandboxStatsResponse, Failure> {
    let filter = request.filter.unwrap_or_default();
    let wanted = |view: &Arc<SandboxView>| {
        let made_from = cri.annexes.sandbox(&view.asked).ok();
        let labels = made_from.as_ref().and_then(|made_from| Some(&made_from.config.as_ref()?.labels));
        view.asked.id.as_str().starts_with(&filter.id)
            && labels.is_some_and(|labels| super::list::selects(&filter.label_selector, labels))
    };
    let usages = cri.facade.sandbox_usage(cri.facade.sandboxes().into_iter().filter(wanted).collect()).await?;
    let shown = |usage| {
        // One damaged record must not hide all others.
        of_pod(&cri.annexes, usage).inspect_err(|failure| warn!(error = %failure, "left out of a list")).ok()
    };
    Ok(ListPodSandboxStatsResponse { stats: usages.iter().filter_map(shown).collect() })
}

fn of_pod(annexes: &Annexes, usage: &SandboxUsage) -> Result<PodSandboxStats, Failure> {
    let made_from = annexes.sandbox(&usage.view.asked)?;
    let config = made_from.config.clone().unwrap_or_default();
    let containers = usage.containers.iter().map(|container| of_usage(annexes, container));
    let figures = &usage.usage;
    let linux = LinuxPodSandboxStats {
        cpu: cpu(figures, usage.cpu_nano_cores),
        memory: memory(figures),
        network: network(figures.at, &usage.interfaces),
        process: figures
            .tasks
            .map(|tasks| ProcessUsage { timestamp: at(figures.at), process_count: Some(number(tasks)) }),
        containers: containers.collect::<Result<_, _>>()?,
        io: io(figures),
    };
    Ok(PodSandboxStats { attributes: Some(attributes(&usage.view, config)), linux: Some(linux), windows: None })
}

fn attributes(view: &SandboxView, config: PodSandboxConfig) -> PodSandboxAttributes {
    PodSandboxAttributes {
        id: view.asked.id.to_string(),
        metadata: config.metadata,
        labels: config.labels,
        annotations: config.annotations,
    }
}

/// A pod on the node's network has no interface of its own, and so no figures.
fn network(read: Timestamp, interfaces: &[InterfaceUsage]) -> Option<NetworkUsage> {
    let (default, others) = interfaces.split_first()?;
    Some(NetworkUsage {
        timestamp: at(read),
        default_interface: Some(interface(default)),
        interfaces: others.iter().map(interface).collect(),
    })
}

fn interface(usage: &InterfaceUsage) -> NetworkInterfaceUsage {
    NetworkInterfaceUsage {
        name: usage.name.clone(),
        rx_bytes: Some(number(usage.rx_bytes)),
        rx_errors: Some(number(usage.rx_errors)),
        tx_bytes: Some(number(usage.tx_bytes)),
        tx_errors: Some(number(usage.tx_errors)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_interface_is_the_default_and_a_pod_without_one_has_no_network_figures() {
        let one =
            |name: &str| InterfaceUsage { name: name.into(), rx_bytes: 1, rx_errors: 2, tx_bytes: 3, tx_errors: 4 };
        let shown = network(Timestamp(7), &[one("eth0"), one("net1")]).unwrap();
        let default = shown.default_interface.unwrap();
        assert_eq!((shown.timestamp, default.name.as_str(), default.tx_bytes), (7, "eth0", Some(number(3))));
        assert_eq!(shown.interfaces.len(), 1);
        assert_eq!(network(Timestamp(7), &[]), None);
    }
}

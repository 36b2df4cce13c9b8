//! ContainerStats and ListContainerStats: what the kubelet ranks pods by when it must evict some.

use crate::annex::Annexes;
use crate::proto::{
    ContainerAttributes, ContainerConfig, ContainerFilter, ContainerStats, ContainerStatsFilter, ContainerStatsRequest,
    ContainerStatsResponse, CpuUsage, FilesystemIdentifier, FilesystemUsage, IoUsage, ListContainerStatsRequest,
    ListContainerStatsResponse, MemoryUsage, PsiData, PsiStats, SwapUsage, UInt64Value,
};
use crate::service::Cri;
use orlop_model::usage::{LayerUsage, Pressure, Stall, Usage};
use orlop_model::{ErrorKind, Failure, Timestamp};
use orlop_usecases::{ContainerUsage, ContainerView};
use std::sync::Arc;
use tracing::warn;

/// Says what a running container uses.
pub(crate) async fn stats(cri: &Cri, request: ContainerStatsRequest) -> Result<ContainerStatsResponse, Failure> {
    let view = cri.container(&request.container_id)?;
    let usages = cri.facade.usage(vec![Arc::clone(&view)]).await?;
    match usages.first() {
        Some(usage) => Ok(ContainerStatsResponse { stats: Some(of_usage(&cri.annexes, usage)?) }),
        None => {
            let message = format!("container stats: container {} is not running, so it uses nothing", view.asked.id);
            Err(Failure::new(ErrorKind::WrongState, message))
        }
    }
}

/// Says what all running containers use to which the filter applies.
pub(crate) async fn list(cri: &Cri, request: ListContainerStatsRequest) -> Result<ListContainerStatsResponse, Failure> {
    let filter = container_filter(request.filter.unwrap_or_default());
    let views = cri.facade.containers();
    let wanted = |view: &Arc<ContainerView>| {
        let made_from = cri.annexes.container(&view.asked).ok();
        made_from.and_then(|made_from| Some(super::list::matches(&filter, view, made_from.config.as_ref()?)))
    };
    let wanted = views.into_iter().filter(|view| wanted(view) == Some(true)).collect();
    let usages = cri.facade.usage(wanted).await?;
    let shown = |usage| {
        // One damaged record must not hide all others.
        of_usage(&cri.annexes, usage).inspect_err(|failure| warn!(error = %failure, "left out of a list")).ok()
    };
    Ok(ListContainerStatsResponse { stats: usages.iter().filter_map(shown).collect() })
}

fn container_filter(filter: ContainerStatsFilter) -> ContainerFilter {
    ContainerFilter {
        id: filter.id,
        state: None,
        pod_sandbox_id: filter.pod_sandbox_id,
        label_selector: filter.label_selector,
    }
}

// === figures ===

pub(crate) fn of_usage(annexes: &Annexes, usage: &ContainerUsage) -> Result<ContainerStats, Failure> {
    let made_from = annexes.container(&usage.view.asked)?;
    Ok(shown(usage, made_from.config.as_ref().unwrap_or(&ContainerConfig::default())))
}

fn shown(usage: &ContainerUsage, config: &ContainerConfig) -> ContainerStats {
    let figures = &usage.usage;
    ContainerStats {
        attributes: Some(ContainerAttributes {
            id: usage.view.asked.id.to_string(),
            metadata: config.metadata.clone(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        }),
        cpu: cpu(figures, usage.cpu_nano_cores),
        memory: memory(figures),
        writable_layer: usage.layer.as_ref().map(layer),
        swap: swap(figures),
        io: io(figures),
    }
}

pub(crate) fn cpu(usage: &Usage, nano_cores: Option<u64>) -> Option<CpuUsage> {
    Some(CpuUsage {
        timestamp: at(usage.at),
        usage_core_nano_seconds: Some(number(usage.cpu_ns?)),
        usage_nano_cores: nano_cores.map(number),
        psi: usage.cpu_pressure.map(psi),
    })
}

pub(crate) fn memory(usage: &Usage) -> Option<MemoryUsage> {
    let memory = usage.memory?;
    Some(MemoryUsage {
        timestamp: at(usage.at),
        working_set_bytes: Some(number(memory.working_set_bytes)),
        available_bytes: memory.available_bytes.map(number),
        usage_bytes: Some(number(memory.usage_bytes)),
        rss_bytes: Some(number(memory.rss_bytes)),
        page_faults: Some(number(memory.page_faults)),
        major_page_faults: Some(number(memory.major_page_faults)),
        psi: usage.memory_pressure.map(psi),
    })
}

fn swap(usage: &Usage) -> Option<SwapUsage> {
    let swap = usage.swap?;
    Some(SwapUsage {
        timestamp: at(usage.at),
        swap_available_bytes: swap.available_bytes.map(number),
        swap_usage_bytes: Some(number(swap.usage_bytes)),
    })
}

pub(crate) fn io(usage: &Usage) -> Option<IoUsage> {
    Some(IoUsage { timestamp: at(usage.at), psi: Some(psi(usage.io_pressure?)) })
}

fn layer(layer: &LayerUsage) -> FilesystemUsage {
    FilesystemUsage {
        timestamp: at(layer.at),
        fs_id: Some(FilesystemIdentifier { mountpoint: layer.mountpoint.to_string_lossy().into_owned() }),
        used_bytes: Some(number(layer.bytes)),
        inodes_used: Some(number(layer.inodes)),
    }
}

fn psi(pressure: Pressure) -> PsiStats {
    let data = |stall: Stall| PsiData {
        // As the kernel counts it: other runtimes pass on microseconds, and what reads them takes them for that.
        total: stall.total_us,
        avg10: f64::from(stall.avg10) / 100.0,
        avg60: f64::from(stall.avg60) / 100.0,
        avg300: f64::from(stall.avg300) / 100.0,
    };
    PsiStats { full: Some(data(pressure.full)), some: Some(data(pressure.some)) }
}

pub(crate) fn at(at: Timestamp) -> i64 {
    at.0
}

pub(crate) fn number(value: u64) -> UInt64Value {
    UInt64Value { value }
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::{config, view};
    use super::*;
    use orlop_model::container_state::{Checked, ContainerState};
    use orlop_model::usage;

    fn used() -> ContainerUsage {
        let pressure =
            Pressure { some: Stall { avg10: 153, avg60: 0, avg300: 10_000, total_us: 7 }, ..Pressure::default() };
        ContainerUsage {
            view: Arc::new(view(ContainerState::Created { checked: Checked::default() })),
            usage: Usage {
                at: Timestamp(9),
                cpu_ns: Some(1),
                memory: Some(usage::MemoryUsage { usage_bytes: 100, working_set_bytes: 70, ..Default::default() }),
                swap: Some(usage::SwapUsage { usage_bytes: 3, available_bytes: Some(4) }),
                tasks: Some(2),
                cpu_pressure: Some(pressure),
                memory_pressure: None,
                io_pressure: None,
            },
            cpu_nano_cores: Some(500),
            layer: Some(LayerUsage { at: Timestamp(8), mountpoint: "/var/lib".into(), bytes: 4096, inodes: 2 }),
        }
    }

    #[test]
    fn figures_are_shown_with_their_times_and_what_is_not_known_is_left_out() {
        let stats = shown(&used(), &config());
        let cpu = stats.cpu.unwrap();
        assert_eq!(
            (cpu.timestamp, cpu.usage_core_nano_seconds, cpu.usage_nano_cores),
            (9, Some(number(1)), Some(number(500)))
        );
        let some = cpu.psi.unwrap().some.unwrap();
        assert_eq!((some.total, some.avg10, some.avg300), (7, 1.53, 100.0));
        let memory = stats.memory.unwrap();
        assert_eq!((memory.timestamp, memory.working_set_bytes, memory.available_bytes), (9, Some(number(70)), None));
        assert_eq!(memory.psi, None);
        assert_eq!(stats.swap.unwrap().swap_available_bytes, Some(number(4)));
        assert_eq!(stats.io, None);
        let layer = stats.writable_layer.unwrap();
        assert_eq!((layer.timestamp, layer.fs_id.unwrap().mountpoint.as_str()), (8, "/var/lib"));
        let attributes = stats.attributes.unwrap();
        assert_eq!((attributes.id.as_str(), attributes.labels), ("c1", config().labels));
    }

    #[test]
    fn a_node_that_tells_nothing_has_no_figures_rather_than_zeros() {
        let mut used = used();
        used.usage = Usage { cpu_ns: None, memory: None, swap: None, cpu_pressure: None, ..used.usage };
        used.layer = None;
        let stats = shown(&used, &config());
        assert!(
            stats.cpu.is_none() && stats.memory.is_none() && stats.swap.is_none() && stats.writable_layer.is_none()
        );
    }
}

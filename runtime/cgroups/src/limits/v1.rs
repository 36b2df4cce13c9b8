//! Limits in v1's files.

use super::{DeviceKind, DeviceRule, Limits, line};
use orlop_wire::plan::{CgroupWrite, Missing};

pub(super) fn change(old: &Limits, new: &Limits) -> Vec<CgroupWrite> {
    let mut out = Vec::new();
    cpu(old, new, &mut out);
    cpuset(new, &mut out);
    memory(old, new, &mut out);
    if let Some(max) = new.pids_max {
        let value = if max < 0 { "max".to_owned() } else { max.max(1).to_string() };
        out.push(line("pids", "pids.max", value, Missing::Fail));
    }
    for (size, bytes) in &new.hugepage_bytes_max {
        // The kubelet sends every page size the node knows, mostly 0: without the controller nothing can be got anyway.
        out.push(line("hugetlb", format!("hugetlb.{size}.limit_in_bytes"), bytes, Missing::Ignore));
    }
    for rule in new.devices.iter().flatten() {
        out.push(device(rule));
    }
    out
}

fn cpu(old: &Limits, new: &Limits, out: &mut Vec<CgroupWrite>) {
    if let Some(shares) = new.cpu_shares {
        out.push(line("cpu", "cpu.shares", shares, Missing::Fail));
    }
    let period = new.cpu_period_us.map(|us| line("cpu", "cpu.cfs_period_us", us, Missing::Fail));
    let quota = new.cpu_quota_us.map(|us| line("cpu", "cpu.cfs_quota_us", us.max(-1), Missing::Fail));
    // Between the two writes the ratio must not exceed the larger of old and new, or the kernel refuses for the parent's
    // sake (EINVAL): a longer period first, a shorter one last.
    let grows = new.cpu_period_us.unwrap_or(0) >= old.cpu_period_us.unwrap_or(PERIOD_US_DEFAULT);
    if grows { out.extend(period.into_iter().chain(quota)) } else { out.extend(quota.into_iter().chain(period)) }
}

/// The kernel's, kernel/sched/fair.c `default_cfs_period`.
const PERIOD_US_DEFAULT: u64 = 100_000;

fn cpuset(new: &Limits, out: &mut Vec<CgroupWrite>) {
    for (file, value) in [("cpuset.cpus", &new.cpuset_cpus), ("cpuset.mems", &new.cpuset_mems)] {
        if !value.is_empty() {
            out.push(line("cpuset", file, value, Missing::Fail));
        }
    }
}

fn memory(old: &Limits, new: &Limits, out: &mut Vec<CgroupWrite>) {
    let memory =
        new.memory_bytes_max.map(|bytes| line("memory", "memory.limit_in_bytes", bytes.max(-1), Missing::Fail));
    // The kernel may be built or booted without accounting of swap; memory alone is then what can be had.
    let swap = match (new.memory_bytes_max, new.memory_swap_bytes_max) {
        // Unlimited memory under an old bound on both is refused, so the bound goes too.
        (Some(..0), None) => Some(-1),
        (_, swap) => swap,
    };
    let swap_line = swap.map(|bytes| line("memory", "memory.memsw.limit_in_bytes", bytes.max(-1), Missing::Ignore));
    // Memory must never exceed memory and swap together, between the writes either.
    let raised = is_above(swap, old.memory_swap_bytes_max);
    if raised {
        out.extend(swap_line.into_iter().chain(memory))
    } else {
        out.extend(memory.into_iter().chain(swap_line))
    }
    if let Some(bytes) = new.memory_reservation_bytes {
        out.push(line("memory", "memory.soft_limit_in_bytes", bytes.max(-1), Missing::Fail));
    }
    if let Some(swappiness) = new.memory_swappiness {
        out.push(line("memory", "memory.swappiness", swappiness, Missing::Ignore));
    }
}

/// Says whether a limit is looser than the one set before; what was never set is unlimited.
fn is_above(new: Option<i64>, old: Option<i64>) -> bool {
    let unlimited = |limit: Option<i64>| limit.filter(|bytes| *bytes >= 0).unwrap_or(i64::MAX);
    new.is_some() && unlimited(new) > unlimited(old)
}

fn device(rule: &DeviceRule) -> CgroupWrite {
    let DeviceRule { allow, kind, major, minor, access } = rule;
    let file = if *allow { "devices.allow" } else { "devices.deny" };
    let number = |n: &Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let value = match kind {
        // The kernel takes `a` alone for everything, whatever follows it.
        DeviceKind::All => "a".to_owned(),
        DeviceKind::Char => format!("c {}:{} {access}", number(major), number(minor)),
        DeviceKind::Block => format!("b {}:{} {access}", number(major), number(minor)),
    };
    line("devices", file, value, Missing::Ignore)
}

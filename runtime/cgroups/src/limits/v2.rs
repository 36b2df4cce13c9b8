//! Limits in v2's files. Documentation/admin-guide/cgroup-v2.rst.

use super::{Limits, line};
use orlop_wire::plan::{CgroupWrite, Missing};

pub(super) fn change(new: &Limits) -> Vec<CgroupWrite> {
    let mut out = Vec::new();
    if let Some(shares) = new.cpu_shares.filter(|shares| *shares != 0) {
        out.push(line("", "cpu.weight", weight_of_shares(shares), Missing::Fail));
    }
    cpu_max(new, &mut out);
    for (file, value) in [("cpuset.cpus", &new.cpuset_cpus), ("cpuset.mems", &new.cpuset_mems)] {
        if !value.is_empty() {
            out.push(line("", file, value, Missing::Fail));
        }
    }
    memory(new, &mut out);
    if let Some(max) = new.pids_max {
        out.push(line("", "pids.max", or_max(if max < 0 { -1 } else { max.max(1) }), Missing::Fail));
    }
    for (size, bytes) in &new.hugepage_bytes_max {
        out.push(line("", format!("hugetlb.{size}.max"), bytes, Missing::Ignore));
    }
    // Last, so that they win over what they repeat.
    for (file, value) in &new.unified {
        out.push(line("", file, value, Missing::Fail));
    }
    out
}

/// One file holds both, so no order is needed. The quota alone leaves the period as it is.
fn cpu_max(new: &Limits, out: &mut Vec<CgroupWrite>) {
    let quota = new.cpu_quota_us.map(or_max);
    let value = match (quota, new.cpu_period_us) {
        (None, None) => return,
        (Some(quota), None) => quota,
        (quota, Some(period)) => format!("{} {period}", quota.unwrap_or_else(|| "max".to_owned())),
    };
    out.push(line("", "cpu.max", value, Missing::Fail));
}

fn memory(new: &Limits, out: &mut Vec<CgroupWrite>) {
    if let Some(bytes) = new.memory_bytes_max {
        out.push(line("", "memory.max", or_max(bytes), Missing::Fail));
    }
    // v1 bounds memory and swap together, v2 swap by itself. Without accounting of swap the file is missing.
    let swap = match (new.memory_bytes_max, new.memory_swap_bytes_max) {
        (_, Some(..0)) | (Some(..0), None) => Some("max".to_owned()),
        (Some(memory @ 0..), Some(both)) => Some(both.saturating_sub(memory).to_string()),
        (_, None) | (None | Some(..0), Some(_)) => None,
    };
    if let Some(value) = swap {
        out.push(line("", "memory.swap.max", value, Missing::Ignore));
    }
    if let Some(bytes) = new.memory_reservation_bytes {
        out.push(line("", "memory.low", or_max(bytes), Missing::Fail));
    }
}

fn or_max(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

/// Bounds of `cpu.shares` and of `cpu.weight`.
const SHARES: (u64, u64) = (2, 262_144);
const WEIGHT: (u64, u64) = (1, 10_000);

/// Translates `cpu.shares` to `cpu.weight`.
///
/// The curve runs through (2, 1), (1024, 100) and (262144, 10000): least, default and most of each scale meet. The straight
/// line used before 2025 gave the default of one scale less than half the default of the other.
#[must_use]
pub fn weight_of_shares(shares: u64) -> u64 {
    if shares <= SHARES.0 {
        return WEIGHT.0;
    }
    if shares >= SHARES.1 {
        return WEIGHT.1;
    }
    #[allow(clippy::cast_precision_loss, reason = "at most 262144 here")]
    let log = (shares as f64).log2();
    let weight = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0);
    // Rounded up, but not for an error in the last digits: 1024 is exactly 100.
    let up = (weight - 1e-9).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000 here")]
    let whole = up as u64;
    whole.clamp(WEIGHT.0, WEIGHT.1)
}

//! Limits as data, and the files that express them. Pure.
//!
//! One set of limits in v1's terms, the terms of the OCI runtime-spec and of the CRI, is translated for v1 ([`v1`]) or v2
//! ([`v2`]). The order of the writes matters where one file bounds another; a change therefore needs the old limits too.

mod v1;
mod v2;

use crate::Layout;
use orlop_wire::plan::{CgroupWrite, Missing};
use std::collections::BTreeMap;

pub use v2::weight_of_shares;

/// What a cgroup may use. `None` and empty leave a file as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `cpu.shares`, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// `cpu.cfs_quota_us`; negative is unlimited.
    pub cpu_quota_us: Option<i64>,
    /// `cpu.cfs_period_us`.
    pub cpu_period_us: Option<u64>,
    /// `cpuset.cpus`.
    pub cpuset_cpus: String,
    /// `cpuset.mems`.
    pub cpuset_mems: String,
    /// Bytes; negative is unlimited.
    pub memory_bytes_max: Option<i64>,
    /// Memory and swap together, bytes; negative is unlimited.
    pub memory_swap_bytes_max: Option<i64>,
    /// Bytes kept when memory is short.
    pub memory_reservation_bytes: Option<i64>,
    /// `memory.swappiness`, 0 to 100. v2 has no such file, and goes by the node's.
    pub memory_swappiness: Option<u64>,
    /// Processes; negative is unlimited, 0 is taken as 1 as runc does.
    pub pids_max: Option<i64>,
    /// Bytes of huge pages by page size (`2MB`).
    pub hugepage_bytes_max: BTreeMap<String, u64>,
    /// Files of a v2 cgroup and what to write to them.
    pub unified: BTreeMap<String, String>,
    /// Device rules, later ones winning; `None` leaves devices alone. Files of v1 only: for v2 see [`crate::devices`].
    pub devices: Option<Vec<DeviceRule>>,
}

/// Who may do what with which devices. devices cgroup, Documentation/admin-guide/cgroup-v1/devices.rst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Granted or taken away.
    pub allow: bool,
    /// Which kind.
    pub kind: DeviceKind,
    /// `None` is every one.
    pub major: Option<u32>,
    /// `None` is every one.
    pub minor: Option<u32>,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character and block.
    All,
    /// Character.
    Char,
    /// Block.
    Block,
}

/// Why limits can't be expressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLimits {
    /// More memory than memory and swap together.
    #[error("memory and swap together ({swap} bytes) are less than memory ({memory} bytes)")]
    SwapBelowMemory {
        /// Memory.
        memory: i64,
        /// Memory and swap.
        swap: i64,
    },
    /// A swap limit needs a memory limit to be taken from.
    #[error("a limit on memory and swap together ({0} bytes) needs a limit on memory too")]
    SwapWithoutMemory(i64),
    /// Out of the kernel's range.
    #[error("{0} is no swappiness; it is between 0 and 100")]
    BadSwappiness(u64),
    /// Raw files are v2's.
    #[error("unified cgroup files ({0}) can't be set: this node runs cgroup v1")]
    UnifiedOnV1(String),
    /// Not the name of a file of a controller.
    #[error("{0:?} is not the name of a cgroup file")]
    BadUnified(String),
    /// Not a huge page size.
    #[error("{0:?} is not a huge page size such as 2MB")]
    BadPageSize(String),
    /// Not a list of numbers.
    #[error("{0:?} is not a list of numbers such as 0-3,7")]
    BadSet(String),
    /// Not an access of devices.
    #[error("{0:?} is not a device access; it takes some of the letters r, w and m")]
    BadAccess(String),
}

/// Returns what to write to a new cgroup, in this order.
pub fn writes(layout: &Layout, limits: &Limits) -> Result<Vec<CgroupWrite>, BadLimits> {
    change(layout, &Limits::default(), limits)
}

/// Returns what to write to a cgroup that has the limits `old`, in this order, so that it has those of `new` afterwards.
/// What `new` leaves out stays as it is.
pub fn change(layout: &Layout, old: &Limits, new: &Limits) -> Result<Vec<CgroupWrite>, BadLimits> {
    check(layout, new)?;
    Ok(if layout.is_v2() { v2::change(new) } else { v1::change(old, new) })
}

fn check(layout: &Layout, limits: &Limits) -> Result<(), BadLimits> {
    if let (Some(memory), Some(swap)) = (limits.memory_bytes_max, limits.memory_swap_bytes_max)
        && swap >= 0
        && (memory < 0 || swap < memory)
    {
        return Err(if memory < 0 {
            BadLimits::SwapWithoutMemory(swap)
        } else {
            BadLimits::SwapBelowMemory { memory, swap }
        });
    }
    if let (None, Some(swap)) = (limits.memory_bytes_max, limits.memory_swap_bytes_max)
        && swap >= 0
    {
        return Err(BadLimits::SwapWithoutMemory(swap));
    }
    if let Some(bad) = limits.memory_swappiness.filter(|swappiness| *swappiness > 100) {
        return Err(BadLimits::BadSwappiness(bad));
    }
    for set in [&limits.cpuset_cpus, &limits.cpuset_mems] {
        if set.chars().any(|c| !(c.is_ascii_digit() || matches!(c, '-' | ',' | ' '))) {
            return Err(BadLimits::BadSet(cut(set)));
        }
    }
    for size in limits.hugepage_bytes_max.keys() {
        let number = size.strip_suffix("KB").or(size.strip_suffix("MB")).or(size.strip_suffix("GB"));
        if !number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            return Err(BadLimits::BadPageSize(cut(size)));
        }
    }
    for rule in limits.devices.iter().flatten() {
        if rule.access.is_empty() || rule.access.chars().any(|c| !matches!(c, 'r' | 'w' | 'm')) {
            return Err(BadLimits::BadAccess(cut(&rule.access)));
        }
    }
    check_unified(layout, limits)
}

fn check_unified(layout: &Layout, limits: &Limits) -> Result<(), BadLimits> {
    let Some(first) = limits.unified.keys().next() else { return Ok(()) };
    if !layout.is_v2() {
        return Err(BadLimits::UnifiedOnV1(cut(first)));
    }
    for (file, value) in &limits.unified {
        let plain = file.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'));
        // The core's files (cgroup.procs, cgroup.kill) move and end processes; they are not limits.
        let of_core = file.starts_with("cgroup.");
        let dotted = file.split_once('.').is_some_and(|(controller, rest)| !controller.is_empty() && !rest.is_empty());
        if !plain || !dotted || of_core || value.contains('\0') {
            return Err(BadLimits::BadUnified(cut(file)));
        }
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

fn line(controller: &str, file: impl Into<String>, value: impl ToString, missing: Missing) -> CgroupWrite {
    CgroupWrite { controller: controller.to_owned(), file: file.into(), value: value.to_string(), missing }
}

#[cfg(test)]
mod tests;

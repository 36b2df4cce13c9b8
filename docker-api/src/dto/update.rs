//! A change of what a container may use, and of when it is started again.

use super::host_config::{Limits, RESTART, RestartPolicy, ULIMIT};
use crate::http::fields::{Field, Kind, honoured, not_built, not_built_but, windows};
use serde::Deserialize;

/// Fields of an update: `Resources` and the restart policy. What is fixed at creation is not changed by it.
pub(crate) const UPDATE: &[Field] = &[
    honoured("CpuShares", Kind::Number),
    honoured("Memory", Kind::Number),
    not_built("CgroupParent", Kind::Text),
    not_built("BlkioWeight", Kind::Number),
    not_built("BlkioWeightDevice", Kind::Any),
    not_built("BlkioDeviceReadBps", Kind::Any),
    not_built("BlkioDeviceWriteBps", Kind::Any),
    not_built("BlkioDeviceReadIOps", Kind::Any),
    not_built("BlkioDeviceWriteIOps", Kind::Any),
    honoured("CpuPeriod", Kind::Number),
    honoured("CpuQuota", Kind::Number),
    not_built("CpuRealtimePeriod", Kind::Number),
    not_built("CpuRealtimeRuntime", Kind::Number),
    honoured("CpusetCpus", Kind::Text),
    honoured("CpusetMems", Kind::Text),
    not_built("Devices", Kind::Any),
    not_built("DeviceCgroupRules", Kind::Texts),
    not_built("DeviceRequests", Kind::Any),
    not_built("KernelMemory", Kind::Number),
    not_built("KernelMemoryTCP", Kind::Number),
    honoured("MemoryReservation", Kind::Number),
    honoured("MemorySwap", Kind::Number),
    not_built_but("MemorySwappiness", Kind::Number, &["-1"]),
    honoured("NanoCpus", Kind::Number),
    not_built("OomKillDisable", Kind::Bool),
    not_built("Init", Kind::Bool),
    honoured("PidsLimit", Kind::Number),
    not_built("Ulimits", Kind::Objects(ULIMIT)),
    windows("CpuCount", Kind::Number, &[]),
    windows("CpuPercent", Kind::Number, &[]),
    windows("IOMaximumIOps", Kind::Number, &[]),
    windows("IOMaximumBandwidth", Kind::Number, &[]),
    honoured("RestartPolicy", Kind::Object(RESTART)),
];

/// A change; what is 0 or empty stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct UpdateRequest {
    #[serde(flatten)]
    pub(crate) limits: Limits,
    pub(crate) restart_policy: RestartPolicy,
}

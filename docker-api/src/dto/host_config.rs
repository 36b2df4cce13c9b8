//! The part of a container that depends on its node.

use super::TextMap;
use crate::http::fields::{Field, Kind, Rule, honoured, not_built, not_built_but, windows};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Fields of `HostConfig`, those of `Resources` included.
pub(crate) const HOST_CONFIG: &[Field] = &[
    honoured("CpuShares", Kind::Number),
    honoured("Memory", Kind::Number),
    honoured("CgroupParent", Kind::Text),
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
    honoured("Devices", Kind::Objects(DEVICE)),
    honoured("DeviceCgroupRules", Kind::Texts),
    not_built("DeviceRequests", Kind::Any),
    not_built("KernelMemory", Kind::Number),
    not_built("KernelMemoryTCP", Kind::Number),
    honoured("MemoryReservation", Kind::Number),
    honoured("MemorySwap", Kind::Number),
    honoured("MemorySwappiness", Kind::Number),
    honoured("NanoCpus", Kind::Number),
    not_built("OomKillDisable", Kind::Bool),
    honoured("Init", Kind::Bool),
    honoured("PidsLimit", Kind::Number),
    honoured("Ulimits", Kind::Objects(ULIMIT)),
    windows("CpuCount", Kind::Number, &[]),
    windows("CpuPercent", Kind::Number, &[]),
    windows("IOMaximumIOps", Kind::Number, &[]),
    windows("IOMaximumBandwidth", Kind::Number, &[]),
    honoured("Binds", Kind::Texts),
    honoured("ContainerIDFile", Kind::Text),
    honoured("LogConfig", Kind::Object(LOG)),
    honoured("NetworkMode", Kind::Text),
    honoured("PortBindings", Kind::ObjectsMap(BINDING)),
    honoured("RestartPolicy", Kind::Object(RESTART)),
    honoured("AutoRemove", Kind::Bool),
    honoured("VolumeDriver", Kind::Text),
    honoured("VolumesFrom", Kind::Texts),
    honoured("Mounts", Kind::Objects(MOUNT)),
    honoured("ConsoleSize", Kind::Numbers),
    honoured("Annotations", Kind::TextMap),
    honoured("CapAdd", Kind::Texts),
    honoured("CapDrop", Kind::Texts),
    honoured("CgroupnsMode", Kind::Text),
    honoured("Dns", Kind::Texts),
    honoured("DnsOptions", Kind::Texts),
    honoured("DnsSearch", Kind::Texts),
    honoured("ExtraHosts", Kind::Texts),
    honoured("GroupAdd", Kind::Texts),
    honoured("IpcMode", Kind::Text),
    not_built("Cgroup", Kind::Text),
    not_built("Links", Kind::Texts),
    honoured("OomScoreAdj", Kind::Number),
    honoured("PidMode", Kind::Text),
    honoured("Privileged", Kind::Bool),
    honoured("PublishAllPorts", Kind::Bool),
    honoured("ReadonlyRootfs", Kind::Bool),
    honoured("SecurityOpt", Kind::Texts),
    not_built("StorageOpt", Kind::TextMap),
    honoured("Tmpfs", Kind::TextMap),
    honoured("UTSMode", Kind::Text),
    not_built_but("UsernsMode", Kind::Text, &["\"host\""]),
    honoured("ShmSize", Kind::Number),
    honoured("Sysctls", Kind::TextMap),
    not_built_but("Runtime", Kind::Text, &["\"runc\"", "\"orlop\""]),
    windows("Isolation", Kind::Text, &["\"default\""]),
    honoured("MaskedPaths", Kind::Texts),
    honoured("ReadonlyPaths", Kind::Texts),
];

const DEVICE: &[Field] = &[
    honoured("PathOnHost", Kind::Text),
    honoured("PathInContainer", Kind::Text),
    honoured("CgroupPermissions", Kind::Text),
];
pub(crate) const ULIMIT: &[Field] =
    &[honoured("Name", Kind::Text), honoured("Soft", Kind::Number), honoured("Hard", Kind::Number)];
const LOG: &[Field] = &[honoured("Type", Kind::Text), honoured("Config", Kind::TextMap)];
const BINDING: &[Field] = &[honoured("HostIp", Kind::Text), honoured("HostPort", Kind::Text)];
pub(crate) const RESTART: &[Field] = &[honoured("Name", Kind::Text), honoured("MaximumRetryCount", Kind::Number)];
const MOUNT: &[Field] = &[
    honoured("Target", Kind::Text),
    honoured("Source", Kind::Text),
    honoured("Type", Kind::Text),
    honoured("ReadOnly", Kind::Bool),
    // A hint for macOS.
    honoured("Consistency", Kind::Text),
    honoured("BindOptions", Kind::Object(BIND)),
    honoured("VolumeOptions", Kind::Object(VOLUME_OPTIONS)),
    not_built("ImageOptions", Kind::Any),
    honoured("TmpfsOptions", Kind::Object(TMPFS)),
    not_built("ClusterOptions", Kind::Any),
];
const BIND: &[Field] = &[
    honoured("Propagation", Kind::Text),
    not_built("NonRecursive", Kind::Bool),
    honoured("CreateMountpoint", Kind::Bool),
    honoured("ReadOnlyNonRecursive", Kind::Bool),
    honoured("ReadOnlyForceRecursive", Kind::Bool),
];
const VOLUME_OPTIONS: &[Field] = &[
    honoured("NoCopy", Kind::Bool),
    honoured("Labels", Kind::TextMap),
    honoured("DriverConfig", Kind::Object(DRIVER)),
    not_built("Subpath", Kind::Text),
];
const DRIVER: &[Field] = &[honoured("Name", Kind::Text), not_built("Options", Kind::TextMap)];
const TMPFS: &[Field] = &[
    honoured("SizeBytes", Kind::Number),
    honoured("Mode", Kind::Number),
    Field { name: "Options", kind: Kind::Any, rule: Rule::NotBuilt(&[]) },
];

/// The part of a container that depends on its node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HostConfig {
    pub(crate) binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile")]
    pub(crate) container_id_file: String,
    pub(crate) log_config: LogConfig,
    pub(crate) network_mode: String,
    pub(crate) port_bindings: Option<BTreeMap<String, Vec<PortBinding>>>,
    pub(crate) restart_policy: RestartPolicy,
    pub(crate) auto_remove: bool,
    pub(crate) volume_driver: String,
    pub(crate) volumes_from: Option<Vec<String>>,
    pub(crate) console_size: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<TextMap>,
    pub(crate) cap_add: Option<Vec<String>>,
    pub(crate) cap_drop: Option<Vec<String>>,
    pub(crate) cgroupns_mode: String,
    pub(crate) dns: Option<Vec<String>>,
    pub(crate) dns_options: Option<Vec<String>>,
    pub(crate) dns_search: Option<Vec<String>>,
    pub(crate) extra_hosts: Option<Vec<String>>,
    pub(crate) group_add: Option<Vec<String>>,
    pub(crate) ipc_mode: String,
    pub(crate) oom_score_adj: i64,
    pub(crate) pid_mode: String,
    pub(crate) privileged: bool,
    pub(crate) publish_all_ports: bool,
    pub(crate) readonly_rootfs: bool,
    pub(crate) security_opt: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tmpfs: Option<TextMap>,
    #[serde(rename = "UTSMode")]
    pub(crate) uts_mode: String,
    pub(crate) userns_mode: String,
    pub(crate) shm_size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sysctls: Option<TextMap>,
    pub(crate) runtime: String,
    pub(crate) isolation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mounts: Option<Vec<Mount>>,
    pub(crate) masked_paths: Option<Vec<String>>,
    pub(crate) readonly_paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<bool>,
    #[serde(flatten)]
    pub(crate) limits: Limits,
    pub(crate) cgroup_parent: String,
    pub(crate) devices: Option<Vec<Device>>,
    pub(crate) device_cgroup_rules: Option<Vec<String>>,
    pub(crate) ulimits: Option<Vec<Ulimit>>,
}

/// What a container may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Limits {
    pub(crate) cpu_shares: i64,
    /// Bytes.
    pub(crate) memory: i64,
    /// Billionths of a processor.
    pub(crate) nano_cpus: i64,
    /// Microseconds.
    pub(crate) cpu_period: i64,
    /// Microseconds.
    pub(crate) cpu_quota: i64,
    pub(crate) cpuset_cpus: String,
    pub(crate) cpuset_mems: String,
    /// Memory and swap together, bytes; -1 is unlimited.
    pub(crate) memory_swap: i64,
    /// Bytes.
    pub(crate) memory_reservation: i64,
    /// Percent; `None` and -1 take the node's.
    pub(crate) memory_swappiness: Option<i64>,
    /// `None` and 0 and -1 are unlimited.
    pub(crate) pids_limit: Option<i64>,
}

/// Where output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct LogConfig {
    #[serde(rename = "Type")]
    pub(crate) driver: String,
    pub(crate) config: TextMap,
}

/// A port of the node asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PortBinding {
    pub(crate) host_ip: String,
    /// A port, a range, or nothing: any port.
    pub(crate) host_port: String,
}

/// When a container is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RestartPolicy {
    pub(crate) name: String,
    pub(crate) maximum_retry_count: i64,
}

/// A mount asked for in the longer form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Mount {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    pub(crate) target: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) consistency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume_options: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tmpfs_options: Option<TmpfsOptions>,
}

/// How a folder of the node is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct BindOptions {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) propagation: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) create_mountpoint: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only_non_recursive: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only_force_recursive: bool,
}

/// How a volume is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct VolumeOptions {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_copy: bool,
    #[serde(skip_serializing_if = "TextMap::is_empty")]
    pub(crate) labels: TextMap,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) driver_config: Option<DriverConfig>,
}

/// Who makes a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DriverConfig {
    pub(crate) name: String,
}

/// How a file system in memory is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TmpfsOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<i64>,
}

/// A device of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Device {
    pub(crate) path_on_host: String,
    pub(crate) path_in_container: String,
    pub(crate) cgroup_permissions: String,
}

/// A resource limit of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Ulimit {
    pub(crate) name: String,
    /// -1 is unlimited.
    pub(crate) hard: i64,
    /// -1 is unlimited.
    pub(crate) soft: i64,
}

//! Confinement of a container.

use serde::{Deserialize, Serialize};

/// Confinement of a container. By default the default capabilities, seccomp list and hidden paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// All capabilities, all devices, nothing masked, no seccomp.
    pub privileged: bool,
    /// Capabilities added to the default set, without `CAP_`; `ALL` is all.
    pub capabilities_add: Vec<String>,
    /// Capabilities taken away, without `CAP_`; `ALL` is all. Adding wins over `ALL` here.
    pub capabilities_drop: Vec<String>,
    /// Ambient capabilities, without `CAP_`.
    pub capabilities_ambient: Vec<String>,
    /// prctl(2) `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    pub seccomp: SeccompProfile,
    /// Paths hidden from it; `None` takes the default list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths it can't write; `None` takes the default list.
    pub readonly_paths: Option<Vec<String>>,
}

/// Paths hidden from a container by default: what the kernel says of the whole node and its hardware. Powercap and interrupts
/// are side channels (GHSA-7ww5-4wqc-m92c).
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that would change the node when written; by default a container can't.
pub const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A seccomp profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// None.
    Unconfined,
    /// The default list.
    #[default]
    RuntimeDefault,
    /// A profile's JSON text, read when the container was created.
    Custom(String),
}

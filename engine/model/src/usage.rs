//! What a container or a sandbox uses of its node. Plain figures; every one may be missing where the kernel does not tell.

use crate::id::{ContainerId, SandboxId};
use crate::sandbox::SandboxSpec;
use crate::time::Timestamp;
use std::path::PathBuf;

/// Whose usage is asked for.
#[derive(Clone, Copy, Debug)]
pub struct UsageOf<'a> {
    /// The sandbox.
    pub sandbox_id: &'a SandboxId,
    /// Its spec.
    pub sandbox: &'a SandboxSpec,
    /// One container of it; `None` is the sandbox with all its containers.
    pub container: Option<&'a ContainerId>,
}

/// What the processes of a cgroup use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// When it was read.
    pub at: Timestamp,
    /// Processor time used since the cgroup was made, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Memory.
    pub memory: Option<MemoryUsage>,
    /// Swap.
    pub swap: Option<SwapUsage>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// How long processes waited for the processor.
    pub cpu_pressure: Option<Pressure>,
    /// How long they waited for memory.
    pub memory_pressure: Option<Pressure>,
    /// How long they waited for disks.
    pub io_pressure: Option<Pressure>,
}

/// Memory of a cgroup, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// All of it, page cache included.
    pub usage_bytes: u64,
    /// Without the page cache that can be had back at once: what eviction goes by.
    pub working_set_bytes: u64,
    /// Anonymous memory.
    pub rss_bytes: u64,
    /// What is left of its own limit, beside the working set; `None` when it has none.
    pub available_bytes: Option<u64>,
    /// Page faults.
    pub page_faults: u64,
    /// Those that had to read from disk.
    pub major_page_faults: u64,
}

/// Swap of a cgroup, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwapUsage {
    /// Used.
    pub usage_bytes: u64,
    /// What is left of its own limit; `None` when it has none.
    pub available_bytes: Option<u64>,
}

/// Waiting for one resource. Kernel, accounting/psi.rst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// At least one process waited.
    pub some: Stall,
    /// All processes waited.
    pub full: Stall,
}

/// How long was waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Share of the last 10 seconds, hundredths of a percent.
    pub avg10: u32,
    /// Of the last minute.
    pub avg60: u32,
    /// Of the last five minutes.
    pub avg300: u32,
    /// Since the cgroup was made, microseconds.
    pub total_us: u64,
}

/// What the writable layer of a container takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUsage {
    /// When it was counted.
    pub at: Timestamp,
    /// An existing folder on the file system it is on.
    pub mountpoint: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files and folders.
    pub inodes: u64,
}

/// What passed over one interface of a sandbox, as it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceUsage {
    /// Its name inside.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that could not be received.
    pub rx_errors: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

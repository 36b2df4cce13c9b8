//! `GET /info`

use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use orlop_model::container_state::ContainerState;
use serde_json::{Value, json};
use std::fs;

pub(crate) async fn answer(call: &Call) -> Answered {
    let app = &call.app;
    let counts = Counts::of(app.facade.containers().iter().map(|view| &view.state));
    let images = app.facade.images().list().await?.len();
    let memory = memory_bytes();
    let root = app.config.folder.parent().unwrap_or(&app.config.folder).display().to_string();
    json(&json!({
        "ID": machine_id(),
        "Containers": counts.all,
        "ContainersRunning": counts.running,
        "ContainersPaused": counts.paused,
        "ContainersStopped": counts.all - counts.running - counts.paused,
        "Images": images,
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "overlayfs"], ["Native Overlay Diff", "true"]],
        "Plugins": {
            "Volume": [], "Network": ["bridge", "host", "null"], "Authorization": null, "Log": ["json-file", "local", "none"],
        },
        "MemoryLimit": true,
        "SwapLimit": true,
        "CpuCfsPeriod": true,
        "CpuCfsQuota": true,
        "CPUShares": true,
        "CPUSet": true,
        "PidsLimit": true,
        "IPv4Forwarding": read("/proc/sys/net/ipv4/ip_forward") == "1",
        "OomKillDisable": false,
        "Debug": false,
        "NFd": fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default(),
        "NGoroutines": 0,
        "NEventsListener": 0,
        "SystemTime": crate::time::rfc3339(crate::time::now()),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup_version(),
        "KernelVersion": kernel(),
        "OperatingSystem": operating_system(),
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": machine(),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {}, "Mirrors": [],
        },
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory,
        "GenericResources": null,
        "DockerRootDir": root,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": read("/proc/sys/kernel/hostname"),
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": app.config.version,
        "Runtimes": { "orlop": { "path": "orlop-shim" } },
        "DefaultRuntime": "orlop",
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
            "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "orlop-shim",
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "CDISpecDirs": [],
        "Warnings": null,
    }))
}

/// How many containers there are.
#[derive(Default)]
struct Counts {
    all: usize,
    running: usize,
    paused: usize,
}

impl Counts {
    fn of<'a>(states: impl Iterator<Item = &'a ContainerState>) -> Self {
        states.fold(Self::default(), |counts, state| {
            let paused = matches!(state, ContainerState::Frozen(_));
            let running = state.task().is_some() && !paused;
            Self {
                all: counts.all + 1,
                running: counts.running + usize::from(running),
                paused: counts.paused + usize::from(paused),
            }
        })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Returns the kernel's release.
pub(super) fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Returns the architecture as the kernel names it.
fn machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

/// Returns the architecture as images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn machine_id() -> String {
    read("/etc/machine-id")
}

/// Returns the version of the node's cgroups.
pub(crate) fn cgroup_version() -> &'static str {
    if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) { "2" } else { "1" }
}

fn operating_system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// Returns the node's memory, bytes.
pub(crate) fn memory_bytes() -> Value {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Value::from(kilobytes.unwrap_or_default() * 1024)
}

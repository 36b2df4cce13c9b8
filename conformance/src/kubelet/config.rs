//! The kubelet's configuration and command line. Pure.
//!
//! Everything it makes lies on the ground: its control groups below the ground's, its ports on the loopback of the ground's
//! namespace. Rotation is made frequent, eviction and image garbage collection are put off: disks of test machines are full.

use orlop_testkit::Ground;
use serde_json::{Value, json};
use std::path::Path;

/// Name of the node; static pods end in it.
pub const NODE: &str = "node1";
/// Address of the node: of a network set aside for documentation, on a link of the ground's namespace.
pub const NODE_ADDRESS: &str = "192.0.2.10";
/// Where the kubelet serves: with TLS, without, and its health.
pub const PORT: u16 = 10250;
pub const READ_ONLY_PORT: u16 = 10255;
pub const HEALTH_PORT: u16 = 10248;
/// Files of a container's log that are kept, the current one included.
pub const LOG_FILES_MAX: usize = 3;
/// Name server that pods are told; nobody is there.
pub const NAME_SERVER: &str = "192.0.2.53";

/// Returns the configuration, as JSON, which is YAML.
pub fn configuration(ground: &Ground, socket: &Path) -> Value {
    let path = |name: &str| ground.join(name).display().to_string();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", socket.display()),
        "staticPodPath": path("manifests"),
        "podLogsDir": path("logs"),
        "volumePluginDir": path("kubelet-plugins"),
        "resolvConf": path("resolv.conf"),
        "address": "127.0.0.1",
        "port": PORT,
        "readOnlyPort": READ_ONLY_PORT,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": HEALTH_PORT,
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": true,
        "cgroupRoot": ground.cgroup(),
        "enforceNodeAllocatable": ["pods"],
        "podCIDR": "10.88.0.0/24",
        "makeIPTablesUtilChains": false,
        "seccompDefault": true,
        "fileCheckFrequency": "2s",
        "syncFrequency": "5s",
        "runtimeRequestTimeout": "2m",
        "serializeImagePulls": false,
        "maxParallelImagePulls": 4,
        "registryPullQPS": 0,
        "containerLogMaxSize": "256Ki",
        "containerLogMaxFiles": LOG_FILES_MAX,
        "containerLogMonitorInterval": "3s",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
        },
        "featureGates": {"PodAndContainerStatsFromCRI": true},
    })
}

/// Returns the arguments.
pub fn arguments(ground: &Ground) -> Vec<String> {
    let path = |name: &str| ground.join(name).display().to_string();
    vec![
        format!("--config={}", path("kubelet.json")),
        format!("--root-dir={}", path("kubelet")),
        format!("--cert-dir={}", path("kubelet-pki")),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={NODE_ADDRESS}"),
        "--v=2".to_owned(),
    ]
}

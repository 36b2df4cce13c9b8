//! One CRI server under measurement, and the requests that both are sent alike.

use super::samples::Who;
use crate::images::BUSYBOX;
use orlop_testkit::client::{Client, Status, v1};
use orlop_testkit::pod::{container_config, pod_config_on};
use orlop_testkit::{Ground, wait_for};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Says that it is ready, and obeys SIGTERM at once.
pub const PROGRAM: &[&str] = &["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait $!; done"];
/// The longest until it says so.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Name of the container in each pod.
const CONTAINER: &str = "c";
/// Grace of a stop; a stop that takes as long was not obeyed.
pub const GRACE_SECONDS: i64 = 20;
/// The port in a pod, and the first of those on the host.
pub const POD_PORT: u16 = 80;
const FIRST_HOST_PORT: u32 = 20_000;
const HOST_PORTS: u32 = 10_000;

/// A server to measure.
pub struct Side {
    /// Which.
    pub who: Who,
    /// The one client, the same program for both.
    pub client: Client,
    /// Its socket, for clients of others.
    pub socket: PathBuf,
    /// Where it stands.
    pub ground: Arc<Ground>,
    /// The daemon's process.
    pub daemon: u32,
}

// === impl Side ===

impl Side {
    /// Returns its name.
    pub fn name(&self) -> &'static str {
        self.who.name()
    }

    /// Returns the config of a pod of the bridge network with a port of the host.
    pub fn networked_pod(&self, number: u32) -> v1::PodSandboxConfig {
        let mut config = self.pod(number);
        config.port_mappings = vec![v1::PortMapping {
            protocol: v1::Protocol::Tcp.into(),
            container_port: POD_PORT.into(),
            host_port: i32::try_from(host_port(number)).unwrap_or_default(),
            host_ip: String::new(),
        }];
        config
    }

    /// Returns the config of a pod that uses the node's namespaces.
    pub fn node_pod(&self, number: u32) -> v1::PodSandboxConfig {
        let mut config = self.pod(number);
        let security = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut());
        if let Some(security) = security {
            security.namespace_options = Some(of_the_node());
        }
        config.hostname.clear();
        config
    }

    fn pod(&self, number: u32) -> v1::PodSandboxConfig {
        let mut config = pod_config_on(&self.ground, &format!("bench-{number}"));
        if let Some(linux) = &mut config.linux {
            // As a kubelet does; and so the cgroups of both are found and cleaned up with their ground.
            linux.cgroup_parent = self.ground.cgroup();
        }
        config
    }

    /// Returns the config of the container in a pod, whose namespaces are the pod's.
    pub fn container(&self, pod: &v1::PodSandboxConfig, program: &[&str]) -> v1::ContainerConfig {
        let mut config = container_config(CONTAINER, BUSYBOX, program);
        let of_pod = pod.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        if let Some(security) = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut()) {
            security.namespace_options = of_pod.and_then(|security| security.namespace_options.clone());
        }
        config
    }

    /// Runs a pod and returns its id.
    pub fn run_pod(&self, config: &v1::PodSandboxConfig) -> Result<String, Status> {
        let request = v1::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        Ok(self.client.run_pod_sandbox(request)?.pod_sandbox_id)
    }

    /// Creates the container of a pod and returns its id.
    pub fn create(&self, pod: &str, config: &v1::PodSandboxConfig, program: &[&str]) -> Result<String, Status> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(self.container(config, program)),
            sandbox_config: Some(config.clone()),
        };
        Ok(self.client.create_container(request)?.container_id)
    }

    /// Starts a container.
    pub fn start(&self, container: &str) -> Result<(), Status> {
        self.client.start_container(v1::StartContainerRequest { container_id: container.to_owned() }).map(|_| ())
    }

    /// Stops a pod.
    pub fn stop_pod(&self, pod: &str) -> Result<(), Status> {
        self.client.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: pod.to_owned() }).map(|_| ())
    }

    /// Removes a pod.
    pub fn remove_pod(&self, pod: &str) -> Result<(), Status> {
        self.client.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: pod.to_owned() }).map(|_| ())
    }

    /// Waits until the program of a pod's container has said that it is ready: before, it would not obey SIGTERM.
    pub fn wait_until_ready(&self, pod: &v1::PodSandboxConfig) -> io::Result<()> {
        let log = PathBuf::from(&pod.log_directory).join(format!("{CONTAINER}.log"));
        let said = || fs::read_to_string(&log).is_ok_and(|log| log.contains("ready")).then_some(());
        wait_for(READY_LIMIT, said)
            .ok_or_else(|| io::Error::other(format!("{}: the program in a container does not get ready", self.name())))
    }
}

/// Returns the port of the host that a pod has.
pub fn host_port(number: u32) -> u32 {
    FIRST_HOST_PORT + number % HOST_PORTS
}

fn of_the_node() -> v1::NamespaceOption {
    let node = v1::NamespaceMode::Node.into();
    v1::NamespaceOption { network: node, pid: node, ipc: node, ..Default::default() }
}

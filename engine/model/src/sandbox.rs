//! What was asked for when a sandbox was run.

use crate::id::{Namespace, NaturalKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A sandbox as asked for. Fixed once the sandbox exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Partition; given by the facade.
    pub namespace: Namespace,
    /// What makes the same request the same.
    pub key: NaturalKey,
    /// Host name inside; empty keeps the node's, allowed only with [`NamespaceScope::Host`] for the network.
    pub hostname: String,
    /// Network namespace: the sandbox's own or the node's.
    pub network: NamespaceScope,
    /// IPC namespace: the sandbox's own or the node's.
    pub ipc: NamespaceScope,
    /// Sysctls of the sandbox's own namespaces, `name` to `value`; names with dots.
    pub sysctls: BTreeMap<String, String>,
    /// What `/etc/resolv.conf` says inside; `None` copies the node's.
    pub dns: Option<Dns>,
    /// Ports of the node that lead into the sandbox.
    pub ports: Vec<PortMapping>,
    /// Cgroup under which the containers' cgroups are made, as the facade's client made it (`/kubepods/…`);
    /// `None` for one of our own below the daemon's cgroup root.
    pub cgroup_parent: Option<String>,
    /// `CNI_ARGS` for network plugins (`K8S_POD_NAME` and so on), in this order.
    pub network_args: Vec<(String, String)>,
    /// When the sandbox ends by itself.
    pub ends: SandboxEnd,
}

impl SandboxSpec {
    /// Returns a pod with namespaces of its own of which nothing else is asked.
    #[must_use]
    pub fn new(namespace: Namespace, key: NaturalKey) -> Self {
        Self {
            namespace,
            key,
            hostname: String::new(),
            network: NamespaceScope::Sandbox,
            ipc: NamespaceScope::Sandbox,
            sysctls: BTreeMap::new(),
            dns: None,
            ports: Vec::new(),
            cgroup_parent: None,
            network_args: Vec::new(),
            ends: SandboxEnd::OnStop,
        }
    }
}

/// Whose namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceScope {
    /// The sandbox's own, shared by its containers.
    Sandbox,
    /// The node's.
    Host,
}

/// When a sandbox ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxEnd {
    /// Only when it is stopped (pods).
    OnStop,
    /// With its one container (Docker).
    WithContainer,
}

/// Lines of a `resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// The `search` line.
    pub searches: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
}

/// One port of the node that leads into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Port inside.
    pub container_port: u16,
    /// Port of the node; 0 is not mapped.
    pub host_port: u16,
    /// Address of the node; `None` is every address.
    pub host_ip: Option<std::net::IpAddr>,
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

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
    /// Networks that a namespace of its own is attached to.
    #[serde(default, skip_serializing_if = "Networks::is_default")]
    pub networks: Networks,
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
    /// NIS domain name inside; empty keeps what a new namespace has. Needs a host name of its own beside it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Hardware address of its interface; `None` goes with its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<[u8; 6]>,
    /// Bytes that `/dev/shm` may hold; `None` is 64 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_bytes_max: Option<u64>,
    /// Lines of `/etc/hosts` beside the sandbox's own, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostEntry>,
    /// Users of its own, of which user 0 is none of the node's; `None` is the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<IdMapping>,
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
            networks: Networks::Default,
            ipc: NamespaceScope::Sandbox,
            sysctls: BTreeMap::new(),
            dns: None,
            ports: Vec::new(),
            cgroup_parent: None,
            network_args: Vec::new(),
            ends: SandboxEnd::OnStop,
            domainname: String::new(),
            mac: None,
            shm_bytes_max: None,
            hosts: Vec::new(),
            user_namespace: None,
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

/// Networks of a sandbox with a network namespace of its own. It always has a loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Networks {
    /// The pod network.
    #[default]
    Default,
    /// Those of these names, the one that the default route leads to first; none leaves it with its loopback.
    Named(Vec<String>),
}

impl Networks {
    /// Returns whether it is the pod network alone, as records that don't say anything else mean.
    #[must_use]
    pub fn is_default(&self) -> bool {
        match self {
            Self::Default => true,
            Self::Named(_) => false,
        }
    }
}

/// When a sandbox ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxEnd {
    /// Only when it is stopped (pods).
    OnStop,
    /// With its one container (Docker).
    WithContainer,
}

/// Ids of users and groups inside, in a row, and what they are on the node. user_namespaces(7)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    pub inside: u32,
    /// First id on the node.
    pub node: u32,
    /// How many; not 0, and no id goes beyond `u32::MAX - 1`.
    pub count: u32,
}

impl IdMapping {
    /// Returns what an id inside is on the node; `None` when it is not mapped.
    #[must_use]
    pub fn to_node(&self, inside: u32) -> Option<u32> {
        let at = inside.checked_sub(self.inside).filter(|at| *at < self.count)?;
        self.node.checked_add(at)
    }
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// The address.
    pub address: std::net::IpAddr,
    /// The name; one word.
    pub name: String,
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
    /// Which port of the node may be taken in its place.
    #[serde(default, skip_serializing_if = "PortChoice::is_exact")]
    pub choice: PortChoice,
    /// Address of the node; `None` is every address.
    pub host_ip: Option<std::net::IpAddr>,
}

/// Which port of the node a mapping takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortChoice {
    /// The one it names, or none.
    #[default]
    Exactly,
    /// The first free one from there up to this one.
    UpTo(u16),
    /// Any free one of those that the node gives to whoever asks for no special one; `host_port` is 0.
    Any,
}

impl PortChoice {
    /// Returns whether there is nothing to choose.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Exactly => true,
            Self::UpTo(_) | Self::Any => false,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_inside_have_one_on_the_node_as_far_as_they_are_mapped() {
        let mapping = IdMapping { inside: 0, node: 65_536, count: 1000 };
        assert_eq!(
            (mapping.to_node(0), mapping.to_node(999), mapping.to_node(1000)),
            (Some(65_536), Some(66_535), None)
        );
        let high = IdMapping { inside: 5, node: u32::MAX - 1, count: 10 };
        assert_eq!((high.to_node(4), high.to_node(6), high.to_node(7)), (None, Some(u32::MAX), None));
    }
}

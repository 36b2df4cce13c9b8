//! The network of a container, as lists and inspect show it.

use crate::annex::Annex;
use crate::routes::networks::predefined::Network;
use crate::translate::ports::{self, Inside};
use orlop_model::sandbox::{PortMapping, Protocol};
use orlop_model::sandbox_state::{Attachment, SandboxState};
use orlop_usecases::SandboxView;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Returns the attachments of a sandbox that is up.
fn attachments(sandbox: Option<&SandboxView>) -> &[Attachment] {
    match sandbox.map(|sandbox| &sandbox.state) {
        Some(SandboxState::Ready { attachments, .. }) => attachments,
        Some(
            SandboxState::Creating { .. }
            | SandboxState::Stopping { .. }
            | SandboxState::NotReady { .. }
            | SandboxState::Starting { .. }
            | SandboxState::Removing { .. }
            | SandboxState::Gone { .. },
        )
        | None => &[],
    }
}

/// What a container has of its network.
pub(crate) struct Addressed<'a> {
    first: Option<&'a Attachment>,
    network: Option<Network>,
    annex: &'a Annex,
}

impl<'a> Addressed<'a> {
    pub(crate) fn new(annex: &'a Annex, sandbox: Option<&'a SandboxView>) -> Self {
        let first = attachments(sandbox).first();
        Self { first, network: annex.network(), annex }
    }

    fn address(&self) -> String {
        self.first.and_then(|first| first.addresses.first()).map(ToString::to_string).unwrap_or_default()
    }

    fn prefix(&self) -> u8 {
        self.first.and_then(|first| first.prefixes.first()).copied().unwrap_or_default()
    }

    fn gateway(&self) -> String {
        self.first.and_then(|first| first.gateway).map(|gateway| gateway.to_string()).unwrap_or_default()
    }

    fn mac(&self) -> &str {
        self.first.map_or("", |first| &first.mac)
    }

    fn mapped(&self) -> &[PortMapping] {
        self.first.map(|first| first.ports.as_slice()).unwrap_or_default()
    }

    /// Returns the endpoints by network, as inspect shows them.
    pub(crate) fn endpoints(&self, id: &str) -> Value {
        let Some(network) = self.network else { return json!({}) };
        let up = self.first.is_some();
        let endpoint = json!({
            "IPAMConfig": null,
            "Links": null,
            "Aliases": null,
            "MacAddress": self.mac(),
            "DriverOpts": null,
            "GwPriority": 0,
            "NetworkID": network.id(),
            "EndpointID": if up { id } else { "" },
            "Gateway": self.gateway(),
            "IPAddress": self.address(),
            "IPPrefixLen": self.prefix(),
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DNSNames": null,
        });
        json!({ network.name(): endpoint })
    }

    /// Returns `NetworkSettings` of inspect.
    pub(crate) fn settings(&self, id: &str) -> Value {
        let up = self.first.is_some();
        json!({
            "Bridge": "",
            "SandboxID": if up { id } else { "" },
            "SandboxKey": "",
            "Ports": self.port_map(),
            "HairpinMode": false,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null,
            "EndpointID": if up { id } else { "" },
            "Gateway": self.gateway(),
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "IPAddress": self.address(),
            "IPPrefixLen": self.prefix(),
            "IPv6Gateway": "",
            "MacAddress": self.mac(),
            "Networks": self.endpoints(id),
        })
    }

    /// Returns the ports as inspect shows them: what leads to each, `null` for one that is only exposed.
    fn port_map(&self) -> Value {
        let mut map = Map::new();
        if self.first.is_none() {
            return Value::Object(map);
        }
        for inside in ports::exposed(&self.annex.config, &self.annex.host_config).unwrap_or_default() {
            map.insert(inside.to_string(), Value::Null);
        }
        for mapping in self.mapped() {
            let inside = Inside { port: mapping.container_port, protocol: protocol(mapping.protocol) };
            let binding = json!({ "HostIp": host_ip(mapping), "HostPort": mapping.host_port.to_string() });
            let entry = map.entry(inside.to_string()).or_insert(Value::Null);
            if let Value::Array(list) = entry {
                list.push(binding);
            } else {
                *entry = json!([binding]);
            }
        }
        Value::Object(map)
    }

    /// Returns the ports as lists show them.
    pub(crate) fn port_list(&self) -> Vec<Value> {
        if self.first.is_none() {
            return Vec::new();
        }
        let mapped = self.mapped();
        let leads_to = |inside: &Inside| {
            mapped.iter().any(|m| m.container_port == inside.port && protocol(m.protocol) == inside.protocol)
        };
        let exposed = ports::exposed(&self.annex.config, &self.annex.host_config).unwrap_or_default();
        let bare = exposed.into_iter().filter(|inside| !leads_to(inside));
        let bare = bare.map(|inside| json!({ "PrivatePort": inside.port, "Type": inside.protocol }));
        let mapped = mapped.iter().map(|mapping| {
            json!({
                "IP": host_ip(mapping),
                "PrivatePort": mapping.container_port,
                "PublicPort": mapping.host_port,
                "Type": protocol(mapping.protocol),
            })
        });
        bare.chain(mapped).collect()
    }
}

fn host_ip(mapping: &PortMapping) -> String {
    mapping.host_ip.map_or_else(|| "0.0.0.0".to_owned(), |address: IpAddr| address.to_string())
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

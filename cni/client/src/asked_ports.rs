//! Ports of the node as a sandbox asks for them, parsed into what the plugin takes.

use crate::error::Error;
use orlop_cni_plugins::host_ports::{Mapping, NodePort, Protocol};
use orlop_model::sandbox::{PortMapping, Protocol as Asked};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Most ports of the node that lead into one pod. Each costs a descriptor and three elements of sets; a pod that wants more
/// wants the node's network.
pub(crate) const PORTS_MAX: usize = 1024;

/// Ports of the node and the ports inside to which they lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AskedPorts(BTreeMap<NodePort, u16>);

// === impl AskedPorts ===

impl AskedPorts {
    /// Parses the ports of a sandbox; those without a port of the node are left out.
    pub(crate) fn parse(asked: &[PortMapping]) -> Result<Self, Error> {
        let mut ports = BTreeMap::new();
        for mapping in asked.iter().filter(|mapping| mapping.host_port != 0) {
            let port = node_port(mapping)?;
            if mapping.container_port == 0 {
                return Err(Error::NoContainerPort(port));
            }
            let earlier = ports.insert(port, mapping.container_port);
            if earlier.is_some_and(|earlier| earlier != mapping.container_port) {
                return Err(Error::PortTwice(port));
            }
        }
        if ports.len() > PORTS_MAX {
            return Err(Error::TooManyPorts { asked: ports.len(), max: PORTS_MAX });
        }
        Ok(Self(ports))
    }

    /// Leads them to a pod.
    pub(crate) fn to(&self, pod: Ipv4Addr) -> Vec<Mapping> {
        self.0.iter().map(|(from, to_port)| Mapping { from: *from, to: pod, to_port: *to_port }).collect()
    }
}

fn node_port(mapping: &PortMapping) -> Result<NodePort, Error> {
    let address = match mapping.host_ip {
        None => None,
        Some(IpAddr::V4(address)) if address.is_unspecified() => None,
        Some(IpAddr::V4(address)) if address.is_multicast() || address.is_broadcast() => {
            return Err(Error::BadHostIp { port: mapping.host_port, address });
        }
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(address)) => return Err(Error::HostIpv6 { port: mapping.host_port, address }),
    };
    let protocol = match mapping.protocol {
        Asked::Tcp => Protocol::Tcp,
        Asked::Udp => Protocol::Udp,
        Asked::Sctp => Protocol::Sctp,
    };
    Ok(NodePort { protocol, address, number: mapping.host_port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::ErrorKind;

    fn asked(host_port: u16, container_port: u16, host_ip: Option<&str>) -> PortMapping {
        PortMapping { protocol: Asked::Tcp, container_port, host_port, host_ip: host_ip.map(|ip| ip.parse().unwrap()) }
    }

    #[test]
    fn every_address_has_three_spellings_and_repetition_is_quiet() {
        let ports = [asked(80, 8080, None), asked(80, 8080, Some("0.0.0.0")), asked(0, 9, None), asked(80, 8080, None)];
        let pod = Ipv4Addr::new(10, 88, 0, 2);
        let from = NodePort { protocol: Protocol::Tcp, address: None, number: 80 };
        assert_eq!(AskedPorts::parse(&ports).unwrap().to(pod), [Mapping { from, to: pod, to_port: 8080 }]);
        assert_eq!(AskedPorts::parse(&[asked(0, 80, Some("::1"))]).unwrap(), AskedPorts::default());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_is_wrong() {
        let many: Vec<PortMapping> = (1..=1025).map(|port| asked(port, port, None)).collect();
        for (ports, kind, words) in [
            (vec![asked(80, 80, Some("::1"))], ErrorKind::Unsupported, "port 80 can't be at ::1"),
            (vec![asked(80, 80, Some("::"))], ErrorKind::Unsupported, "IPv4 alone"),
            (vec![asked(80, 80, Some("224.0.0.1"))], ErrorKind::InvalidArgument, "no address of a node"),
            (vec![asked(80, 0, None)], ErrorKind::InvalidArgument, "port 80/tcp of the node leads to port 0"),
            (vec![asked(80, 1, None), asked(80, 2, None)], ErrorKind::InvalidArgument, "asked for twice"),
            (many, ErrorKind::InvalidArgument, "1025 ports of the node"),
        ] {
            let error = AskedPorts::parse(&ports).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}

//! Ports of the node as a sandbox asks for them, parsed into what the plugin takes.

use crate::error::Error;
use orlop_cni_plugins::host_ports::{Mapping, NodePort, Protocol};
use orlop_model::sandbox::{PortChoice, PortMapping, Protocol as Asked};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// Most ports of the node that lead into one pod. Each costs a descriptor and three elements of sets; a pod that wants more
/// wants the node's network.
pub(crate) const PORTS_MAX: usize = 1024;

/// Where the kernel says which ports it gives to whoever asks for no special one.
const ANY_PORT: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// The range where it does not say: IANA's of dynamic ports, which Docker takes then too. RFC 6335.
const ANY_PORT_DEFAULT: RangeInclusive<u16> = 49_153..=65_535;

/// Ports of the node and the ports inside to which they lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AskedPorts {
    exact: BTreeMap<NodePort, u16>,
    wishes: Vec<Wish>,
}

/// A port inside to which some port of the node is to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) protocol: Protocol,
    pub(crate) address: Option<Ipv4Addr>,
    /// Those that will do.
    pub(crate) numbers: RangeInclusive<u16>,
    /// Whether it does not matter which.
    pub(crate) is_any: bool,
    pub(crate) to_port: u16,
}

// === impl AskedPorts ===

impl AskedPorts {
    /// Parses the ports of a sandbox; those without a port of the node are left out.
    pub(crate) fn parse(asked: &[PortMapping]) -> Result<Self, Error> {
        let mut ports = Self::default();
        let is_mapped = |mapping: &&PortMapping| mapping.host_port != 0 || mapping.choice == PortChoice::Any;
        for mapping in asked.iter().filter(is_mapped) {
            let port = node_port(mapping)?;
            if mapping.container_port == 0 {
                return Err(Error::NoContainerPort(port));
            }
            match numbers(mapping)? {
                Some(numbers) => ports.wishes.push(Wish {
                    protocol: port.protocol,
                    address: port.address,
                    numbers,
                    is_any: mapping.choice == PortChoice::Any,
                    to_port: mapping.container_port,
                }),
                None => {
                    let earlier = ports.exact.insert(port, mapping.container_port);
                    if earlier.is_some_and(|earlier| earlier != mapping.container_port) {
                        return Err(Error::PortTwice(port));
                    }
                }
            }
        }
        let asked = ports.exact.len() + ports.wishes.len();
        if asked > PORTS_MAX {
            return Err(Error::TooManyPorts { asked, max: PORTS_MAX });
        }
        Ok(ports)
    }

    /// Leads those that are certain to a pod.
    pub(crate) fn to(&self, pod: Ipv4Addr) -> Vec<Mapping> {
        self.exact.iter().map(|(from, to_port)| Mapping { from: *from, to: pod, to_port: *to_port }).collect()
    }

    /// Returns those that are still to be chosen.
    pub(crate) fn wishes(&self) -> &[Wish] {
        &self.wishes
    }
}

// === impl Wish ===

impl Wish {
    /// Says whether a mapping is what was wished for.
    pub(crate) fn is_met_by(&self, mapping: &Mapping) -> bool {
        let Mapping { from, to_port, .. } = mapping;
        (from.protocol, from.address, *to_port) == (self.protocol, self.address, self.to_port)
            && self.numbers.contains(&from.number)
    }
}

/// Returns the ports of the node of which one is to be chosen; `None` when there is nothing to choose.
fn numbers(mapping: &PortMapping) -> Result<Option<RangeInclusive<u16>>, Error> {
    let first = mapping.host_port;
    match mapping.choice {
        PortChoice::Exactly => Ok(None),
        PortChoice::UpTo(last) if last < first => Err(Error::BadPortRange { first, last }),
        PortChoice::UpTo(last) => Ok(Some(first..=last)),
        PortChoice::Any => {
            let text = std::fs::read_to_string(ANY_PORT).unwrap_or_default();
            Ok(Some(any_port(&text).unwrap_or(ANY_PORT_DEFAULT)))
        }
    }
}

fn any_port(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (words.next()?.ok()?, words.next()?.ok()?);
    (0 < first && first <= last).then_some(first..=last)
}

/// Returns a mapping as a sandbox asked for it.
pub(crate) fn asked(mapping: &Mapping) -> PortMapping {
    PortMapping {
        protocol: match mapping.from.protocol {
            Protocol::Tcp => Asked::Tcp,
            Protocol::Udp => Asked::Udp,
            Protocol::Sctp => Asked::Sctp,
        },
        container_port: mapping.to_port,
        host_port: mapping.from.number,
        choice: PortChoice::Exactly,
        host_ip: mapping.from.address.map(IpAddr::V4),
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
        let (protocol, choice) = (Asked::Tcp, PortChoice::Exactly);
        let host_ip = host_ip.map(|ip| ip.parse().unwrap());
        PortMapping { protocol, container_port, host_port, choice, host_ip }
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
    fn what_is_to_be_chosen_is_a_wish() {
        let any = PortMapping { choice: PortChoice::Any, ..asked(0, 80, None) };
        let range = PortMapping { choice: PortChoice::UpTo(8010), ..asked(8000, 80, Some("127.0.0.1")) };
        let ports = AskedPorts::parse(&[any, range.clone(), asked(0, 9, None)]).unwrap();
        assert_eq!(ports.to(Ipv4Addr::LOCALHOST), []);
        let [any, some] = ports.wishes() else { panic!("{ports:?}") };
        assert!(any.is_any && any.numbers.contains(&50_000) && some.numbers == (8000..=8010), "{ports:?}");
        let met = |number| {
            let from = NodePort { protocol: Protocol::Tcp, address: Some(Ipv4Addr::LOCALHOST), number };
            some.is_met_by(&Mapping { from, to: Ipv4Addr::LOCALHOST, to_port: 80 })
        };
        assert!(met(8000) && met(8010) && !met(8011));
        let backward = PortMapping { choice: PortChoice::UpTo(7999), ..range };
        assert_eq!(AskedPorts::parse(&[backward]).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!((any_port("32768\t60999\n"), any_port("1"), any_port("9 3")), (Some(32_768..=60_999), None, None));
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

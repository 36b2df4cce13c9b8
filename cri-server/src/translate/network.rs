//! Host name, DNS, ports and plugin arguments of a pod.

use super::path::word;
use super::{Refused, Result, known, quoted};
use crate::proto::{DnsConfig, PodSandboxMetadata, PortMapping as Asked, Protocol as AskedProtocol};
use orlop_model::sandbox::{Dns, NamespaceScope, PortChoice, PortMapping, Protocol};
use std::net::IpAddr;

/// `HOST_NAME_MAX`; sethostname(2).
const HOSTNAME_BYTES_MAX: usize = 64;
/// Longest DNS label; a name made from a pod's is cut here.
const LABEL_BYTES_MAX: usize = 63;

/// Checks a host name. A pod on the node's network keeps the node's. The interface allows an empty one only there, but its
/// own test suite sends none at all, so that a pod is then called by its own name, as Kubernetes does it.
pub(crate) fn hostname(asked: &str, metadata: &PodSandboxMetadata, network: NamespaceScope) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if asked.len() > HOSTNAME_BYTES_MAX || !asked.chars().all(good) {
        let problem = format!(
            "{} is not a host name: letters, digits, '-', '_' and '.', at most {HOSTNAME_BYTES_MAX} of them",
            quoted(asked)
        );
        return Err(Refused::invalid("hostname", problem));
    }
    Ok(match network {
        NamespaceScope::Host => String::new(),
        NamespaceScope::Sandbox if asked.is_empty() => {
            let name = metadata.name.chars().take(LABEL_BYTES_MAX);
            name.map(|c| if good(c) { c } else { '-' }).collect()
        }
        NamespaceScope::Sandbox => asked.to_owned(),
    })
}

/// Checks what `resolv.conf` shall say. Nothing asked for means the node's.
pub(crate) fn dns(asked: Option<&DnsConfig>) -> Result<Option<Dns>> {
    let Some(DnsConfig { servers, searches, options }) = asked else { return Ok(None) };
    if servers.is_empty() && searches.is_empty() && options.is_empty() {
        return Ok(None);
    }
    let words = |field: &str, words: &[String]| {
        let checked = words.iter().enumerate().map(|(i, text)| word(format!("dns_config.{field}[{i}]"), text));
        checked.collect::<Result<Vec<_>>>()
    };
    Ok(Some(Dns {
        servers: words("servers", servers)?,
        searches: words("searches", searches)?,
        options: words("options", options)?,
    }))
}

/// Checks the ports of a pod. On the node's network there is nothing to map, though the kubelet sends them.
pub(crate) fn ports(asked: &[Asked], network: NamespaceScope) -> Result<Vec<PortMapping>> {
    let mut ports: Vec<PortMapping> = Vec::with_capacity(asked.len());
    for (i, asked) in asked.iter().enumerate() {
        let field = |name: &str| format!("port_mappings[{i}].{name}");
        let port = PortMapping {
            protocol: match known(field("protocol"), asked.protocol)? {
                AskedProtocol::Tcp => Protocol::Tcp,
                AskedProtocol::Udp => Protocol::Udp,
                AskedProtocol::Sctp => Protocol::Sctp,
            },
            container_port: port(field("container_port"), asked.container_port, 1)?,
            host_port: port(field("host_port"), asked.host_port, 0)?,
            choice: PortChoice::Exactly,
            host_ip: address(&field("host_ip"), &asked.host_ip)?,
        };
        let taken = |other: &PortMapping| {
            (other.protocol, other.host_port, other.host_ip) == (port.protocol, port.host_port, port.host_ip)
        };
        if port.host_port != 0 && ports.iter().any(taken) {
            return Err(Refused::invalid(field("host_port"), format!("{} is mapped twice", port.host_port)));
        }
        ports.push(port);
    }
    Ok(match network {
        NamespaceScope::Sandbox => ports,
        NamespaceScope::Host => Vec::new(),
    })
}

fn port(field: String, number: i32, least: u16) -> Result<u16> {
    match u16::try_from(number) {
        Ok(port) if port >= least => Ok(port),
        Ok(_) | Err(_) => Err(Refused::invalid(field, format!("{number} is not a port; use {least} to 65535"))),
    }
}

fn address(field: &str, text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Refused::invalid(field, format!("{} is not an IP address", quoted(text))))
}

/// Returns the `CNI_ARGS` that Kubernetes' network plugins know. `K8S_POD_INFRA_CONTAINER_ID` is the sandbox's id, which is
/// not known yet: whoever calls a plugin adds it.
pub(crate) fn plugin_args(metadata: &PodSandboxMetadata) -> Vec<(String, String)> {
    [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", metadata.namespace.as_str()),
        ("K8S_POD_NAME", metadata.name.as_str()),
        ("K8S_POD_UID", metadata.uid.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use NamespaceScope::{Host, Sandbox};
    use orlop_model::ErrorKind::InvalidArgument;

    fn pod(name: &str) -> PodSandboxMetadata {
        PodSandboxMetadata { name: name.into(), ..Default::default() }
    }

    #[test]
    fn a_pod_without_a_host_name_is_called_by_its_own() {
        for (asked, name, network, expected) in [
            ("web-0.sub", "x", Sandbox, "web-0.sub"),
            ("", "web", Sandbox, "web"),
            ("", "wéb:1", Sandbox, "w-b-1"),
            ("", "web", Host, ""),
            ("web", "web", Host, ""),
        ] {
            assert_eq!(hostname(asked, &pod(name), network).unwrap(), expected);
        }
        assert_eq!(hostname("", &pod(&"n".repeat(200)), Sandbox).unwrap().len(), LABEL_BYTES_MAX);
    }

    #[test]
    fn host_names_that_the_kernel_or_a_file_would_misread_are_refused() {
        for bad in ["a b", "a\nb", "a/b", "ü", &"a".repeat(65)] {
            check_refused(hostname(bad, &pod("x"), Sandbox), InvalidArgument, &["hostname", "not a host name"]);
        }
    }

    #[test]
    fn no_dns_means_the_nodes() {
        assert_eq!(dns(None).unwrap(), None);
        assert_eq!(dns(Some(&DnsConfig::default())).unwrap(), None);
        let asked = DnsConfig {
            servers: vec!["10.0.0.10".into()],
            searches: vec!["svc.local".into()],
            options: vec!["ndots:8".into()],
        };
        let expected =
            Dns { servers: asked.servers.clone(), searches: asked.searches.clone(), options: asked.options.clone() };
        assert_eq!(dns(Some(&asked)).unwrap(), Some(expected));
    }

    #[test]
    fn a_dns_entry_can_not_add_a_line() {
        let asked = DnsConfig { servers: vec!["1.1.1.1\nnameserver 6.6.6.6".into()], ..Default::default() };
        check_refused(dns(Some(&asked)), InvalidArgument, &["dns_config.servers[0]", "not one word"]);
        let asked = DnsConfig { options: vec![String::new()], ..Default::default() };
        check_refused(dns(Some(&asked)), InvalidArgument, &["dns_config.options[0]"]);
    }

    fn mapping(container_port: i32, host_port: i32, host_ip: &str) -> Asked {
        Asked { protocol: 1, container_port, host_port, host_ip: host_ip.into() }
    }

    #[test]
    fn ports_are_kept_but_not_on_the_nodes_network() {
        let asked = [mapping(80, 12000, ""), mapping(81, 12000, "127.0.0.1"), mapping(82, 0, "")];
        let ports_kept = ports(&asked, Sandbox).unwrap();
        let (choice, host_ip) = (PortChoice::Exactly, None);
        let expected = PortMapping { protocol: Protocol::Udp, container_port: 80, host_port: 12000, choice, host_ip };
        assert_eq!(ports_kept[0], expected);
        assert_eq!(ports_kept[1].host_ip, Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(ports_kept.len(), 3);
        assert!(ports(&asked, Host).unwrap().is_empty());
    }

    #[test]
    fn ports_that_are_none_are_refused() {
        for (asked, says) in [
            (vec![mapping(0, 80, "")], "container_port"),
            (vec![mapping(65536, 80, "")], "65536"),
            (vec![mapping(80, -1, "")], "host_port"),
            (vec![mapping(80, 80, "localhost")], "not an IP address"),
            (vec![mapping(80, 90, ""), mapping(81, 90, "")], "twice"),
            (vec![Asked { protocol: 3, ..mapping(1, 1, "") }], "protocol"),
        ] {
            check_refused(ports(&asked, Sandbox), InvalidArgument, &["port_mappings[", says]);
        }
    }
}

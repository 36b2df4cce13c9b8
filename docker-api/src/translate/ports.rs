//! Ports of the node that lead into a container.

use super::Result;
use crate::dto::config::Config;
use crate::dto::host_config::{HostConfig, PortBinding};
use crate::http::error::ApiError;
use orlop_model::sandbox::{PortChoice, PortMapping, Protocol};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A port inside: `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Inside {
    pub(crate) port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: &'static str,
}

/// What a mapping may take of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// This port.
    Exactly(u16),
    /// One of these.
    Range(u16, u16),
    /// Any.
    Any,
}

impl Inside {
    /// Parses `80/tcp`, `80`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" | "" => "tcp",
            "udp" => "udp",
            "sctp" => "sctp",
            other => return Err(ApiError::bad(format!("invalid proto: {other}"))),
        };
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self { port, protocol }),
            Ok(_) | Err(_) => Err(ApiError::bad(format!("invalid port specification: {text:?}"))),
        }
    }

    /// Parses `80/tcp` and `8000-8010/tcp` of a filter.
    pub(crate) fn parse_range(text: &str) -> Result<Vec<Self>> {
        Self::parse_many(text)
    }

    /// Parses `80/tcp` and `8000-8010/tcp` of what is exposed.
    fn parse_many(text: &str) -> Result<Vec<Self>> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let Some((first, last)) = ports.split_once('-') else { return Self::parse(text).map(|one| vec![one]) };
        let first = Self::parse(&format!("{first}/{protocol}"))?;
        let last = Self::parse(&format!("{last}/{protocol}"))?;
        if first.port > last.port {
            return Err(ApiError::bad(format!("invalid port specification: {text:?}")));
        }
        Ok((first.port..=last.port).map(|port| Self { port, ..first }).collect())
    }

    pub(crate) fn protocol(self) -> Protocol {
        match self.protocol {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        }
    }
}

impl std::fmt::Display for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// Returns all ports that are exposed, those that are published included.
pub(crate) fn exposed(config: &Config, host: &HostConfig) -> Result<BTreeSet<Inside>> {
    let named = config.exposed_ports.keys();
    let published = host.port_bindings.iter().flatten().map(|(inside, _)| inside);
    let mut all = BTreeSet::new();
    for text in named.chain(published) {
        all.extend(Inside::parse_many(text)?);
    }
    Ok(all)
}

/// Returns the mappings asked for.
pub(crate) fn mappings(config: &Config, host: &HostConfig) -> Result<Vec<PortMapping>> {
    let mut all = Vec::new();
    for (inside, bindings) in host.port_bindings.iter().flatten() {
        let inside = Inside::parse(inside)?;
        // A port that is named without a binding gets any port.
        let any = [PortBinding::default()];
        let bindings = if bindings.is_empty() { &any[..] } else { bindings };
        for binding in bindings {
            all.push(mapping(inside, address(&binding.host_ip)?, wanted(&binding.host_port)?));
        }
    }
    if host.publish_all_ports {
        let there: BTreeSet<Inside> =
            host.port_bindings.iter().flatten().filter_map(|(inside, _)| Inside::parse(inside).ok()).collect();
        let rest = exposed(config, host)?.into_iter().filter(|inside| !there.contains(inside));
        all.extend(rest.map(|inside| mapping(inside, None, Wanted::Any)));
    }
    Ok(all)
}

fn address(text: &str) -> Result<Option<IpAddr>> {
    match text.trim_start_matches('[').trim_end_matches(']') {
        "" | "0.0.0.0" => Ok(None),
        text => text.parse().map(Some).map_err(|_| ApiError::bad(format!("invalid IP address: {text}"))),
    }
}

fn wanted(text: &str) -> Result<Wanted> {
    let bad = || ApiError::bad(format!("invalid port specification: {text:?}"));
    let port = |text: &str| text.parse::<u16>().map_err(|_| bad());
    match text.split_once('-') {
        _ if matches!(text, "" | "0") => Ok(Wanted::Any),
        None => port(text).map(Wanted::Exactly),
        Some((first, last)) => match (port(first)?, port(last)?) {
            (first, last) if first == last => Ok(Wanted::Exactly(first)),
            (first, last) if 0 < first && first < last => Ok(Wanted::Range(first, last)),
            _ => Err(bad()),
        },
    }
}

fn mapping(inside: Inside, host_ip: Option<IpAddr>, wanted: Wanted) -> PortMapping {
    let (host_port, choice) = match wanted {
        Wanted::Exactly(port) => (port, PortChoice::Exactly),
        Wanted::Range(first, last) => (first, PortChoice::UpTo(last)),
        Wanted::Any => (0, PortChoice::Any),
    };
    PortMapping { protocol: inside.protocol(), container_port: inside.port, host_port, choice, host_ip }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dto::Nothing;

    fn of(bindings: &[(&str, &[(&str, &str)])], exposed: &[&str], all: bool) -> Result<Vec<(u16, u16, PortChoice)>> {
        let binding =
            |(ip, port): &(&str, &str)| PortBinding { host_ip: (*ip).to_owned(), host_port: (*port).to_owned() };
        let bindings = bindings.iter().map(|(inside, list)| ((*inside).to_owned(), list.iter().map(binding).collect()));
        let host =
            HostConfig { port_bindings: Some(bindings.collect()), publish_all_ports: all, ..HostConfig::default() };
        let exposed_ports = exposed.iter().map(|port| ((*port).to_owned(), Nothing {})).collect();
        let config = Config { exposed_ports, ..Config::default() };
        let mappings = mappings(&config, &host)?;
        Ok(mappings.iter().map(|m| (m.container_port, m.host_port, m.choice)).collect())
    }

    #[test]
    fn ports_are_exact_from_a_range_or_any() {
        use PortChoice::{Any, Exactly, UpTo};
        assert_eq!(of(&[("80/tcp", &[("", "8080")])], &[], false).unwrap(), [(80, 8080, Exactly)]);
        assert_eq!(of(&[("80", &[("127.0.0.1", "8000-8010")])], &[], false).unwrap(), [(80, 8000, UpTo(8010))]);
        assert_eq!(of(&[("80/udp", &[("", "")]), ("81/tcp", &[])], &[], false).unwrap(), [(80, 0, Any), (81, 0, Any)]);
        assert_eq!(
            of(&[("80/tcp", &[("", "1")])], &["80/tcp", "90-91/tcp"], true).unwrap(),
            [(80, 1, Exactly), (90, 0, Any), (91, 0, Any)]
        );
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for (inside, ip, port) in [
            ("0/tcp", "", "1"),
            ("80/x", "", "1"),
            ("x", "", "1"),
            ("80/tcp", "nowhere", "1"),
            ("80/tcp", "", "70000"),
            ("80/tcp", "", "9-3"),
            ("80/tcp", "", "a-b"),
        ] {
            assert_eq!(of(&[(inside, &[(ip, port)])], &[], false).unwrap_err().status().as_u16(), 400);
        }
        assert!(of(&[], &["9-3/tcp"], true).is_err());
    }
}

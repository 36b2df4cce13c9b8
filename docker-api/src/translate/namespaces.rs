//! Which namespaces a container lives in, and what its network is told.

use super::Result;
use crate::dto::config::Config;
use crate::dto::host_config::HostConfig;
use crate::http::error::ApiError;
use orlop_model::container::{NamespaceMode, Namespaces};
use orlop_model::sandbox::{Dns, HostEntry, NamespaceScope, Networks};
use std::net::{IpAddr, Ipv4Addr};

/// Lines of name servers that the C library reads.
const SERVERS_MAX: usize = 64;

/// What a container and its sandbox have of the node, of another container, or for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) namespaces: Namespaces,
    pub(crate) network: NamespaceScope,
    pub(crate) networks: Networks,
    pub(crate) ipc: NamespaceScope,
}

/// A container named by `container:…`, found by the caller.
pub(crate) type Find<'a> = &'a (dyn Fn(&str) -> Result<NamespaceMode> + Sync);

/// Checks the modes of namespaces.
pub(crate) fn shared(config: &Config, host: &HostConfig, find: Find<'_>) -> Result<Shared> {
    let mut namespaces = Namespaces::default();
    let (network, networks) = network(config, host, &mut namespaces, find)?;
    let ipc = match host.ipc_mode.as_str() {
        "" | "private" | "shareable" => NamespaceScope::Sandbox,
        "host" => {
            namespaces.ipc = NamespaceMode::Host;
            NamespaceScope::Host
        }
        "none" => return Err(ApiError::not_built("IpcMode none")),
        other => {
            namespaces.ipc = of_container(other, find).unwrap_or_else(|| Err(invalid("IPC", other)))?;
            NamespaceScope::Sandbox
        }
    };
    namespaces.pid = match host.pid_mode.as_str() {
        "" | "private" => NamespaceMode::New,
        "host" => NamespaceMode::Host,
        other => of_container(other, find).unwrap_or_else(|| Err(invalid("PID", other)))?,
    };
    match host.uts_mode.as_str() {
        "" | "private" => {}
        "host" => namespaces.uts = NamespaceMode::Host,
        other => return Err(invalid("UTS", other)),
    }
    namespaces.cgroup = match host.cgroupns_mode.as_str() {
        "" | "private" => NamespaceMode::New,
        "host" => NamespaceMode::Host,
        other => return Err(ApiError::bad(format!("invalid cgroup namespace mode: {other}"))),
    };
    Ok(Shared { namespaces, network, networks, ipc })
}

fn network(
    config: &Config,
    host: &HostConfig,
    namespaces: &mut Namespaces,
    find: Find<'_>,
) -> Result<(NamespaceScope, Networks)> {
    let own = |names: &[&str]| {
        (NamespaceScope::Sandbox, Networks::Named(names.iter().map(|name| (*name).to_owned()).collect()))
    };
    if config.network_disabled {
        return Ok(own(&[]));
    }
    match host.network_mode.as_str() {
        "" | "default" | "bridge" => Ok(own(&["bridge"])),
        "none" => Ok(own(&[])),
        "host" => {
            if !matches!(host.uts_mode.as_str(), "" | "host") {
                return Err(ApiError::bad("conflicting options: hostname and the network mode"));
            }
            namespaces.network = NamespaceMode::Host;
            Ok((NamespaceScope::Host, Networks::Named(Vec::new())))
        }
        other => match of_container(other, find) {
            Some(found) => {
                if host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) || host.publish_all_ports {
                    return Err(ApiError::bad(
                        "conflicting options: port publishing and the container type network mode",
                    ));
                }
                namespaces.network = found?;
                Ok(own(&[]))
            }
            // Not 404: clients take that for an image that is to be pulled.
            None => Err(ApiError::bad(format!("failed to set up container networking: network {other} not found"))),
        },
    }
}

fn of_container(mode: &str, find: Find<'_>) -> Option<Result<NamespaceMode>> {
    match mode.strip_prefix("container:") {
        None => None,
        Some("") => Some(Err(ApiError::bad(format!("invalid mode: {mode:?} names no container")))),
        Some(name) => Some(find(name)),
    }
}

fn invalid(what: &str, mode: &str) -> ApiError {
    ApiError::bad(format!("invalid {what} mode: {mode}"))
}

/// Checks what `resolv.conf` says; `None` copies the node's.
pub(crate) fn dns(host: &HostConfig) -> Result<Option<Dns>> {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let dns = Dns { servers: list(&host.dns), searches: list(&host.dns_search), options: list(&host.dns_options) };
    if dns == Dns::default() {
        return Ok(None);
    }
    if dns.servers.len() > SERVERS_MAX {
        return Err(ApiError::bad(format!("more than {SERVERS_MAX} DNS servers")));
    }
    if let Some(bad) = dns.servers.iter().find(|server| server.parse::<IpAddr>().is_err()) {
        return Err(ApiError::bad(format!("bad nameserver address: invalid IP address: {bad}")));
    }
    let word = |text: &String| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if let Some(bad) = dns.searches.iter().chain(&dns.options).find(|text| !word(text)) {
        return Err(ApiError::bad(format!("{bad:?} is not a domain or option of resolv.conf")));
    }
    Ok(Some(dns))
}

/// Checks `name:address` and `name=address`; `host-gateway` stands for the node's address on the bridge.
pub(crate) fn hosts(host: &HostConfig, gateway: Ipv4Addr) -> Result<Vec<HostEntry>> {
    host.extra_hosts.iter().flatten().map(|text| entry(text, gateway)).collect()
}

fn entry(text: &str, gateway: Ipv4Addr) -> Result<HostEntry> {
    let bad = || ApiError::bad(format!("bad format for add-host: {text:?}"));
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(bad());
    }
    let address = match address.trim_start_matches('[').trim_end_matches(']') {
        "host-gateway" => IpAddr::V4(gateway),
        text => text.parse().map_err(|_| ApiError::bad(format!("invalid IP address in add-host: {text:?}")))?,
    };
    Ok(HostEntry { address, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut HostConfig)) -> Result<Shared> {
        let mut host = HostConfig::default();
        change(&mut host);
        shared(&Config::default(), &host, &|name| Err(ApiError::not_found(format!("No such container: {name}"))))
    }

    #[test]
    fn modes_choose_namespaces() {
        let plain = of(|_| ()).unwrap();
        assert_eq!(plain.networks, Networks::Named(vec!["bridge".to_owned()]));
        assert_eq!(plain.namespaces, Namespaces::default());
        let none = of(|host| host.network_mode = "none".into()).unwrap();
        assert_eq!((none.network, none.networks), (NamespaceScope::Sandbox, Networks::Named(Vec::new())));
        let host = of(|host| host.network_mode = "host".into()).unwrap();
        assert_eq!((host.network, host.namespaces.network), (NamespaceScope::Host, NamespaceMode::Host));
        assert_eq!(of(|host| host.pid_mode = "host".into()).unwrap().namespaces.pid, NamespaceMode::Host);
        assert_eq!(of(|host| host.ipc_mode = "host".into()).unwrap().ipc, NamespaceScope::Host);
        assert_eq!(of(|host| host.uts_mode = "host".into()).unwrap().namespaces.uts, NamespaceMode::Host);
    }

    #[test]
    fn modes_that_are_none_are_refused() {
        let check = |change: fn(&mut HostConfig), status: u16| {
            assert_eq!(of(change).unwrap_err().status().as_u16(), status);
        };
        check(|host| host.network_mode = "mine".into(), 400);
        check(|host| host.network_mode = "container:x".into(), 404);
        check(|host| host.network_mode = "container:".into(), 400);
        check(|host| host.pid_mode = "x".into(), 400);
        check(|host| host.ipc_mode = "x".into(), 400);
        check(|host| host.ipc_mode = "none".into(), 501);
        check(|host| host.uts_mode = "x".into(), 400);
        check(|host| host.cgroupns_mode = "x".into(), 400);
    }

    #[test]
    fn names_and_addresses_are_checked() {
        let host = |extra: &str| HostConfig { extra_hosts: Some(vec![extra.to_owned()]), ..HostConfig::default() };
        let hosts = |config: &HostConfig| hosts(config, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(hosts(&host("a:host-gateway")).unwrap()[0].address, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(hosts(&host("a=::1")).unwrap()[0].address, "::1".parse::<IpAddr>().unwrap());
        assert_eq!(hosts(&host("a:[::1]")).unwrap()[0].name, "a");
        for bad in ["a", ":1.2.3.4", "a:x", "a b:1.2.3.4"] {
            assert!(hosts(&host(bad)).is_err(), "{bad}");
        }
        let servers = |server: &str| dns(&HostConfig { dns: Some(vec![server.to_owned()]), ..HostConfig::default() });
        assert_eq!(servers("1.1.1.1").unwrap().unwrap().servers, ["1.1.1.1"]);
        assert!(servers("x").is_err());
        assert_eq!(dns(&HostConfig::default()).unwrap(), None);
    }
}

//! A whole request as what the engine creates.

use super::namespaces::Find;
use super::volumes::Sources;
use super::{Result, binds, complete, limits, namespaces, policy, ports, process, security, signal};
use crate::annex::Annex;
use crate::dto::config::CreateRequest;
use crate::dto::host_config::HostConfig;
use crate::http::error::ApiError;
use crate::volumes::VolumeUse;
use orlop_model::container::{ContainerSpec, LogPath, RootfsAccess};
use orlop_model::image::Image;
use orlop_model::record::Durability;
use orlop_model::sandbox::{NamespaceScope, SandboxEnd, SandboxSpec};
use orlop_model::{ContainerId, Namespace, NaturalKey, SandboxId};
use orlop_usecases::CreateAlone;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

/// Name of a container's log in its folder.
pub(crate) const LOG_FILE: &str = "output.log";
/// Longest host name; gethostname(2).
const HOSTNAME_BYTES_MAX: usize = 63;

/// What a translation needs to know beside the request.
pub(crate) struct Around<'a> {
    pub(crate) id: &'a ContainerId,
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a Namespace,
    pub(crate) image: &'a Image,
    /// Folder of the container's files of ours.
    pub(crate) folder: &'a Path,
    /// Host name of the node.
    pub(crate) node: &'a str,
    /// Processors of the node.
    pub(crate) cpus: usize,
    /// Address of the node on the bridge.
    pub(crate) gateway: Ipv4Addr,
    /// Finds another container whose namespace is wanted.
    pub(crate) find: Find<'a>,
    /// What mounts are made of.
    pub(crate) sources: Sources<'a>,
}

/// What is to be created.
pub(crate) struct Draft {
    pub(crate) alone: CreateAlone,
    /// Volumes that must be there before.
    pub(crate) volumes: Vec<VolumeUse>,
}

/// Translates a request.
pub(crate) fn draft(mut asked: CreateRequest, around: &Around<'_>) -> Result<Draft> {
    check_networks(&asked)?;
    complete::with_image(&mut asked.config, &complete::config_of(around.image));
    complete::with_defaults(&mut asked, around.id, around.node);
    let (config, host) = (&asked.config, &asked.host_config);
    policy::check(&host.restart_policy)?;
    policy::check_removal(host)?;
    let shared = namespaces::shared(config, host, around.find)?;
    let resources = limits::resources(&host.limits, host.oom_score_adj, around.cpus)?;
    let mounted = binds::mounted(config, host, &around.sources)?;
    let key = NaturalKey(around.id.as_str().to_owned());

    let mut sandbox = SandboxSpec::new(around.namespace.clone(), key.clone());
    sandbox.ends = SandboxEnd::WithContainer;
    sandbox.hostname = hostname(&config.hostname, shared.network)?;
    sandbox.domainname.clone_from(&config.domainname);
    sandbox.network = shared.network;
    sandbox.networks = shared.networks;
    sandbox.ipc = shared.ipc;
    sandbox.mac = mac(&asked, shared.network)?;
    sandbox.sysctls = sysctls(host, shared.network)?;
    sandbox.dns = namespaces::dns(host)?;
    sandbox.hosts = namespaces::hosts(host, around.gateway)?;
    sandbox.ports = match shared.network {
        NamespaceScope::Sandbox => ports::mappings(config, host)?,
        // The node's ports are the container's own.
        NamespaceScope::Host => Vec::new(),
    };
    sandbox.shm_bytes_max = shm(host.shm_size)?;
    sandbox.cgroup_parent = cgroup_parent(&host.cgroup_parent)?;

    let mut container =
        ContainerSpec::new(around.namespace.clone(), key, SandboxId::alone(around.id), around.image.id.clone());
    container.process = process::process(config, host, &config.hostname)?;
    container.mounts = mounted.mounts;
    container.tmpfs = mounted.tmpfs;
    container.devices = security::devices(host)?;
    container.device_rules = security::device_rules(host)?;
    container.namespaces = shared.namespaces;
    container.rootfs = if host.readonly_rootfs { RootfsAccess::ReadOnly } else { RootfsAccess::ReadWrite };
    container.security = security::security(host)?;
    container.log = log(host, around.folder)?;
    container.stop_signal = match config.stop_signal.as_str() {
        "" => None,
        text => Some(signal::parse(text)?),
    };
    let durability = durability(host);
    let mut annex = Annex::of(around.name.to_owned(), asked, &container.process.command);
    annex.unfilled = mounted.volumes.iter().any(|volume| volume.copies);
    annex.volumes.clone_from(&mounted.volumes);
    let annex = annex.bytes();
    let alone = CreateAlone { id: around.id.clone(), sandbox, container, resources, annex, durability };
    Ok(Draft { alone, volumes: mounted.volumes })
}

/// Networks named beside the mode must be the mode's.
fn check_networks(asked: &CreateRequest) -> Result<()> {
    let mode = asked.host_config.network_mode.as_str();
    let mode = if matches!(mode, "" | "default") { "bridge" } else { mode };
    for name in asked.networking_config.endpoints_config.keys() {
        let named = if name == "default" { "bridge" } else { name };
        if named != mode {
            return Err(ApiError::not_built(format!("a network beside that of the mode ({name})")));
        }
    }
    Ok(())
}

/// Returns the hardware address that is wanted, of the container or of its one network.
fn mac(asked: &CreateRequest, network: NamespaceScope) -> Result<Option<[u8; 6]>> {
    let of_networks = asked.networking_config.endpoints_config.values().map(|endpoint| &endpoint.mac_address);
    let mut all = [&asked.config.mac_address].into_iter().chain(of_networks).filter(|text| !text.is_empty());
    let Some(text) = all.next() else { return Ok(None) };
    if all.any(|other| !other.eq_ignore_ascii_case(text)) {
        return Err(ApiError::bad(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
        ));
    }
    let own = matches!(asked.host_config.network_mode.as_str(), "bridge") && network == NamespaceScope::Sandbox;
    if !own || asked.config.network_disabled {
        return Err(ApiError::bad("conflicting options: mac-address and the network mode"));
    }
    parse_mac(text).map(Some).ok_or_else(|| ApiError::bad(format!("{text} is not a valid mac address")))
}

/// Parses `02:42:ac:11:00:0a`: an address of one interface, not of a group.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let mut mac = [0; 6];
    let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
    if parts.len() != mac.len() || !parts.iter().all(is_byte) {
        return None;
    }
    for (byte, part) in mac.iter_mut().zip(parts) {
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}

/// The end of the node is a container's end, too: the records of one that is removed with that need not outlast it.
fn durability(host: &HostConfig) -> Durability {
    if host.auto_remove { Durability::Boot } else { Durability::Node }
}

fn hostname(text: &str, network: NamespaceScope) -> Result<String> {
    match network {
        // That of the node, whatever it is.
        NamespaceScope::Host => Ok(String::new()),
        NamespaceScope::Sandbox => {
            let good = text.len() <= HOSTNAME_BYTES_MAX
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
            if good { Ok(text.to_owned()) } else { Err(ApiError::bad(format!("invalid hostname format: {text:?}"))) }
        }
    }
}

fn sysctls(host: &HostConfig, network: NamespaceScope) -> Result<BTreeMap<String, String>> {
    let asked = host.sysctls.clone().unwrap_or_default();
    let of_network = asked.keys().find(|name| name.starts_with("net."));
    match (of_network, network) {
        (Some(name), NamespaceScope::Host) => {
            Err(ApiError::bad(format!("sysctl '{name}' not allowed in host network namespace")))
        }
        _ => Ok(asked),
    }
}

fn shm(bytes: i64) -> Result<Option<u64>> {
    let bad = |_| ApiError::bad("SHM size can not be less than 0");
    u64::try_from(bytes).map_err(bad).map(|bytes| (bytes != complete::SHM_BYTES.unsigned_abs()).then_some(bytes))
}

fn cgroup_parent(text: &str) -> Result<Option<String>> {
    match text {
        "" => Ok(None),
        text => Err(ApiError::not_built(format!("CgroupParent {text}"))),
    }
}

/// Checks an option of the log. How many files are kept says nothing as long as none is ended by its size.
fn log_option(driver: &str, name: &str, value: &str) -> Result<()> {
    match name {
        "max-file" => match value.parse::<u32>() {
            Ok(1..) => Ok(()),
            Ok(0) => Err(ApiError::bad("max-file cannot be less than 1")),
            Err(_) => Err(ApiError::bad(format!("invalid value for max-file: {value:?} is no number"))),
        },
        "max-size" | "compress" | "labels" | "labels-regex" | "env" | "env-regex" | "tag" | "mode" => {
            Err(ApiError::not_built(format!("the log option {name}")))
        }
        _ => Err(ApiError::bad(format!("unknown log opt '{name}' for {driver} log driver"))),
    }
}

/// Where output goes: a file whatever the driver is called, or nowhere.
fn log(host: &HostConfig, folder: &Path) -> Result<Option<LogPath>> {
    let config = &host.log_config;
    match config.driver.as_str() {
        "json-file" | "local" => {
            for (name, value) in &config.config {
                log_option(&config.driver, name, value)?;
            }
            Ok(Some(LogPath { directory: folder.to_owned(), file: LOG_FILE.into() }))
        }
        "none" => Ok(None),
        "syslog" | "journald" | "gelf" | "fluentd" | "awslogs" | "splunk" => {
            Err(ApiError::not_built(format!("the log driver {}", config.driver)))
        }
        other => Err(ApiError::bad(format!("logger: no log driver named '{other}' is registered"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_read_or_refused() {
        assert_eq!(parse_mac("02:42:ac:11:00:0A"), Some([2, 0x42, 0xac, 0x11, 0, 10]));
        for bad in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:0g",
            "2:42:ac:11:00:0a1",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "+2:42:ac:11:00:0a",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn options_of_the_log_are_known_built_or_refused() {
        let of =
            |name: &str, value: &str| log_option("json-file", name, value).map_err(|error| error.status().as_u16());
        assert_eq!(of("max-file", "100"), Ok(()));
        for (name, value, status) in
            [("max-file", "0", 400), ("max-file", "x", 400), ("max-size", "1m", 501), ("nosuch", "", 400)]
        {
            assert_eq!(of(name, value), Err(status), "{name}={value}");
        }
    }

    #[test]
    fn only_what_is_removed_at_its_end_goes_with_the_boot() {
        assert_eq!(durability(&HostConfig { auto_remove: true, ..HostConfig::default() }), Durability::Boot);
        assert_eq!(durability(&HostConfig::default()), Durability::Node);
    }
}

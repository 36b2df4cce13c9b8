//! What a built-in network is called and where it lives; checked once.

use crate::error::Error;
use orlop_cni_plugins::bridge::Bridge;
use orlop_cni_plugins::host_local::{Pool, Range};
use orlop_cni_plugins::host_ports::Rules;
use orlop_cni_plugins::masquerade::{Masquerade, TableName};
use orlop_netlink::{Cidr, LinkName};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Longest network name: it is a folder, and part of what the kernel keeps with a link.
const NAME_BYTES_MAX: usize = 64;
/// Smallest packet size that IPv4 must be able to carry. RFC 791, section 3.2.
const MTU_MIN: u32 = 68;
/// Largest packet that a length field of 16 bits can tell.
const MTU_MAX: u32 = 65_535;

/// The folder beside the addresses in which host ports are kept. The host-local plugin as a program walks over it without
/// finding a holder of its own in there.
const PORTS_FOLDER: &str = "ports";

/// Whether addresses of pods are translated where their packets leave or enter the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nat {
    /// Masquerade and host ports, by nf_tables.
    #[default]
    On,
    /// Neither, and no table: the network around the node knows the way to its pods, or something else translates.
    Off,
}

/// Settings of a built-in network. No two networks on a node may share a bridge, a subnet, a table or an address folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its name, as attachments show it.
    pub name: String,
    /// Name of its bridge.
    pub bridge: String,
    /// Its subnet; the first address is the gateway.
    pub subnet: (Ipv4Addr, u8),
    /// Whether addresses are translated.
    pub nat: Nat,
    /// Its nf_tables table, of the `inet` family.
    pub nft_table: String,
    /// Folder of folders that hold addresses, one per network, in the format of the CNI plugin host-local.
    pub ipam_dir: PathBuf,
    /// Largest packet; `None` takes that of the node's default route.
    pub mtu: Option<u32>,
}

/// The same, parsed into what the plugins take.
#[derive(Debug)]
pub(crate) struct Parts {
    pub name: String,
    pub bridge: Bridge,
    pub nat: Nat,
    pub masquerade: Masquerade,
    pub host_ports: Rules,
    /// Where the book of host ports is.
    pub ports_folder: PathBuf,
    pub pool: Pool,
}

impl Config {
    pub(crate) fn parse(self) -> Result<Parts, Error> {
        check_name(&self.name)?;
        if let Some(mtu) = self.mtu
            && !(MTU_MIN..=MTU_MAX).contains(&mtu)
        {
            return Err(Error::BadMtu { mtu, min: MTU_MIN, max: MTU_MAX });
        }
        let (address, prefix) = self.subnet;
        let range = Range::of(Cidr::new(address, prefix)?)?;
        let subnet = range.gateway().subnet();
        let folder = self.ipam_dir.join(&self.name);
        // Says who has the bridge, to people and to another daemon that was given the same name.
        let owner = format!("orlop network {} {subnet} {}", self.name, folder.display());
        let (bridge, table) = (LinkName::parse(&self.bridge)?, TableName::parse(&self.nft_table)?);
        Ok(Parts {
            host_ports: Rules { table: table.clone(), bridge: bridge.clone(), subnet },
            // A folder of its own: each change of the pool's own folder would have the pool read again.
            ports_folder: folder.join(PORTS_FOLDER),
            bridge: Bridge { name: bridge, owner, gateways: vec![range.gateway()], mtu: self.mtu },
            nat: self.nat,
            masquerade: Masquerade { table, subnets: vec![subnet] },
            pool: Pool::new(folder, vec![range]),
            name: self.name,
        })
    }
}

/// CNI specification, "Section 1": a letter or digit, then also `_`, `.` and `-`.
fn check_name(name: &str) -> Result<(), Error> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest && name.len() <= NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(Error::BadName { name: name.chars().take(100).collect(), max: NAME_BYTES_MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Config {
        Config {
            name: "default".to_owned(),
            bridge: "orlop0".to_owned(),
            subnet: (Ipv4Addr::new(10, 88, 3, 4), 16),
            nat: Nat::On,
            nft_table: "orlop".to_owned(),
            ipam_dir: PathBuf::from("ipam"),
            mtu: None,
        }
    }

    #[test]
    fn settings_become_parts() {
        let parts = good().parse().unwrap();
        assert_eq!(parts.bridge.gateways[0].to_string(), "10.88.0.1/16");
        assert_eq!(parts.masquerade.subnets[0].to_string(), "10.88.0.0/16");
        assert_eq!(parts.bridge.owner, "orlop network default 10.88.0.0/16 ipam/default");
    }

    #[test]
    fn bad_settings_are_refused_with_what_is_wrong() {
        for (config, words) in [
            (Config { name: "../x".to_owned(), ..good() }, "\"../x\" is not a network name"),
            (Config { bridge: "a/b".to_owned(), ..good() }, "\"a/b\" is not a link name"),
            (Config { subnet: (Ipv4Addr::LOCALHOST, 31), ..good() }, "too small"),
            (Config { subnet: (Ipv4Addr::LOCALHOST, 33), ..good() }, "at most /32"),
            (Config { nft_table: "0".to_owned(), ..good() }, "\"0\" is not a table name"),
            (Config { mtu: Some(10), ..good() }, "MTU 10"),
        ] {
            let error = config.parse().unwrap_err();
            assert_eq!(error.kind(), orlop_model::ErrorKind::InvalidArgument);
            assert!(orlop_model::Failure::from(error).message.contains(words), "{words}");
        }
    }
}

//! Links: bridges, veth pairs, and what a pod's link is made of. rtnetlink(7), `linux/if_link.h`.

use crate::message::{Nest, Request, attribute, attributes, i32_at, text, u32_at};
use libc::{AF_UNSPEC, IFF_UP, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of `struct ifinfomsg`.
const FIXED: usize = 16;
/// Longest name, without the zero byte: `IFNAMSIZ` - 1.
pub const LINK_NAME_BYTES_MAX: usize = 15;
/// Longest alias the kernel keeps: `IFALIASZ` - 1.
pub const ALIAS_BYTES_MAX: usize = 255;

// What libc does not name. `linux/if_link.h`, `linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IF_OPER_UP: u8 = 6;

/// The name of a link, as the kernel accepts it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(String);

/// Why a string is not the name of a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a link name: 1 to {LINK_NAME_BYTES_MAX} bytes, none of them '/', ':' or white space, not '.' or '..'"
)]
pub struct BadLinkName(pub String);

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether someone wants it up.
    pub up: bool,
    /// Whether it passes packets. From Linux 6.8 on, looking a single link up first has the kernel finish what it owes the
    /// link after a change; before, that happens in the background, soon.
    pub running: bool,
    /// What it is (`bridge`, `veth`); `None` for real hardware and loopback.
    pub kind: Option<String>,
    /// Largest packet.
    pub mtu: u32,
    /// Index of the bridge it is plugged into.
    pub master: Option<u32>,
    /// Index of the other end of a veth pair, in that end's namespace.
    pub peer: Option<u32>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Free text given to it; ours say whose it is.
    pub alias: Option<String>,
}

/// What passed over a link, since it was made. `struct rtnl_link_stats64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// A veth pair, one end here and one born in a pod.
#[derive(Clone, Debug)]
pub struct Veth<'a> {
    /// Name of the end here.
    pub name: &'a LinkName,
    /// Bridge that the end here is plugged into.
    pub master: u32,
    /// Name of the end inside.
    pub inner_name: &'a LinkName,
    /// Hardware address of the end inside.
    pub inner_mac: Mac,
    /// Largest packet, of both ends.
    pub mtu: u32,
}

/// Whether a port of a bridge may send back what it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hairpin {
    /// It may: a pod reaches itself through an address that leads back to it.
    On,
    /// It may not.
    Off,
}

// === impl LinkName, Mac ===

impl LinkName {
    /// Parses a name.
    ///
    /// # Errors
    /// When the kernel would not take it.
    pub fn parse(text: &str) -> Result<Self, BadLinkName> {
        let length = (1..=LINK_NAME_BYTES_MAX).contains(&text.len());
        let letters = text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
        if length && letters && text != "." && text != ".." {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadLinkName(text.chars().take(100).collect()))
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Returns as much of an alias as the kernel keeps.
#[must_use]
pub fn alias_kept(alias: &str) -> &str {
    &alias[..alias.floor_char_boundary(ALIAS_BYTES_MAX)]
}

// === Requests ===

/// Makes a bridge that is still down. Refused with `EEXIST` when the name is taken.
#[must_use]
pub fn create_bridge(name: &LinkName, mac: Mac) -> Request {
    Request::new(format!("make bridge {name}"), libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &fixed(0, 0, 0))
        .put_text(libc::IFLA_IFNAME, name.as_str())
        .put(libc::IFLA_ADDRESS, &mac.0)
        .put_nested(libc::IFLA_LINKINFO, Nest::new().put_text(libc::IFLA_INFO_KIND, "bridge"))
}

/// Makes a veth pair in one message: the end here plugged into its bridge and still down, so that nothing reaches a pod
/// that is half set up; the other end born in `namespace` with its final name and hardware address, and up.
/// Refused with `EEXIST` when either name is taken.
#[must_use]
pub fn create_veth(veth: &Veth<'_>, namespace: BorrowedFd<'_>) -> Request {
    let what = format!("make veth pair {} on the node, {} inside", veth.name, veth.inner_name);
    let namespace = u32::try_from(namespace.as_raw_fd()).expect("an open descriptor is not negative");
    let peer = Nest::after(&fixed(0, 0, 0))
        .put_text(libc::IFLA_IFNAME, veth.inner_name.as_str())
        .put(libc::IFLA_ADDRESS, &veth.inner_mac.0)
        .put_u32(libc::IFLA_MTU, veth.mtu)
        .put_u32(libc::IFLA_NET_NS_FD, namespace);
    let info = Nest::new()
        .put_text(libc::IFLA_INFO_KIND, "veth")
        .put_nested(libc::IFLA_INFO_DATA, Nest::new().put_nested(VETH_INFO_PEER, peer));
    Request::new(what, libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &fixed(0, 0, 0))
        .put_text(libc::IFLA_IFNAME, veth.name.as_str())
        .put_u32(libc::IFLA_MASTER, veth.master)
        .put_u32(libc::IFLA_MTU, veth.mtu)
        .put_nested(libc::IFLA_LINKINFO, info)
}

/// Sets what can't be set while a port of a bridge is made: alias and hairpin.
#[must_use]
pub fn set_up_port(name: &LinkName, alias: &str, hairpin: Hairpin) -> Request {
    let mode = match hairpin {
        Hairpin::On => 1,
        Hairpin::Off => 0,
    };
    let info = Nest::new()
        .put_text(libc::IFLA_INFO_SLAVE_KIND, "bridge")
        .put_nested(libc::IFLA_INFO_SLAVE_DATA, Nest::new().put(IFLA_BRPORT_MODE, &[mode]));
    Request::new(format!("set up {name} as a port of its bridge"), libc::RTM_NEWLINK, 0, &fixed(0, 0, 0))
        .put_text(libc::IFLA_IFNAME, name.as_str())
        .put(libc::IFLA_IFALIAS, alias_kept(alias).as_bytes())
        .put_nested(libc::IFLA_LINKINFO, info)
}

/// Gives a link its alias.
#[must_use]
pub fn set_alias(name: &LinkName, alias: &str) -> Request {
    set(name, format!("name the owner of {name}"), 0, 0).put(libc::IFLA_IFALIAS, alias_kept(alias).as_bytes())
}

/// Keeps a link from giving itself a link-local IPv6 address, and so from waiting for its duplicate detection.
/// Refused with `EAFNOSUPPORT` where the kernel or the link is without IPv6.
#[must_use]
pub fn set_no_own_ipv6(name: &LinkName) -> Request {
    let family = u16::try_from(libc::AF_INET6).expect("address families are small");
    let none = Nest::new().put(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    set(name, format!("keep {name} without an IPv6 address of its own"), 0, 0)
        .put_nested(libc::IFLA_AF_SPEC, Nest::new().put_nested(family, none))
}

/// Sets the largest packet of a link.
#[must_use]
pub fn set_mtu(name: &LinkName, mtu: u32) -> Request {
    set(name, format!("set the MTU of {name} to {mtu}"), 0, 0).put_u32(libc::IFLA_MTU, mtu)
}

/// Brings a link up.
#[must_use]
pub fn set_up(name: &LinkName) -> Request {
    set(name, format!("bring {name} up"), IFF_UP, IFF_UP)
}

/// Takes a link down: nothing passes any more, whatever the other end does.
#[must_use]
pub fn set_down(name: &LinkName) -> Request {
    set(name, format!("take {name} down"), 0, IFF_UP)
}

/// Deletes a link; waits for the kernel to be done with it, some 20 ms. Refused with `ENODEV` when it is not there.
#[must_use]
pub fn delete(name: &LinkName) -> Request {
    Request::new(format!("delete link {name}"), libc::RTM_DELLINK, 0, &fixed(0, 0, 0))
        .put_text(libc::IFLA_IFNAME, name.as_str())
}

pub(crate) fn get_by_name(name: &LinkName) -> Request {
    Request::new(format!("look up link {name}"), libc::RTM_GETLINK, 0, &fixed(0, 0, 0))
        .put_text(libc::IFLA_IFNAME, name.as_str())
}

pub(crate) fn get_by_index(index: u32) -> Request {
    Request::new(format!("look up link {index}"), libc::RTM_GETLINK, 0, &fixed(index, 0, 0))
}

pub(crate) fn dump() -> Request {
    Request::new("list links", libc::RTM_GETLINK, NLM_F_DUMP, &fixed(0, 0, 0))
}

fn set(name: &LinkName, what: String, flags: i32, change: i32) -> Request {
    Request::new(what, libc::RTM_SETLINK, 0, &fixed(0, flags, change)).put_text(libc::IFLA_IFNAME, name.as_str())
}

fn fixed(index: u32, flags: i32, change: i32) -> [u8; FIXED] {
    let mut bytes = [0; FIXED];
    bytes[0] = u8::try_from(AF_UNSPEC).expect("address families are small");
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

// === Answers ===

pub(crate) fn read(payload: &[u8]) -> Option<Link> {
    let flags = i32_at(payload, 8)?;
    let mut link = Link {
        index: u32_at(payload, 4)?,
        name: String::new(),
        up: flags & IFF_UP != 0,
        running: false,
        kind: None,
        mtu: 0,
        master: None,
        peer: None,
        mac: None,
        alias: None,
    };
    for (kind, value) in attributes(payload.get(FIXED..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_OPERSTATE => link.running = value == [IF_OPER_UP],
            libc::IFLA_MTU => link.mtu = u32_at(value, 0)?,
            libc::IFLA_MASTER => link.master = u32_at(value, 0),
            libc::IFLA_LINK => link.peer = u32_at(value, 0),
            libc::IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
            libc::IFLA_IFALIAS => link.alias = Some(text(value)),
            libc::IFLA_LINKINFO => link.kind = attribute(value, libc::IFLA_INFO_KIND).map(text),
            _ => {}
        }
    }
    Some(link)
}

/// Reads the name and the counters of a link.
pub(crate) fn read_traffic(payload: &[u8]) -> Option<(String, Traffic)> {
    let inner = payload.get(FIXED..)?;
    let stats = attribute(inner, libc::IFLA_STATS64)?;
    // Two counts of packets come first.
    let counter = |at: usize| Some(u64::from_ne_bytes(stats.get(8 * at..8 * at + 8)?.try_into().ok()?));
    let traffic =
        Traffic { rx_bytes: counter(2)?, tx_bytes: counter(3)?, rx_errors: counter(4)?, tx_errors: counter(5)? };
    Some((text(attribute(inner, libc::IFLA_IFNAME)?), traffic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_refuses_are_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "a:b", "a\0", "sixteen-bytes-xx", "é"] {
            assert!(LinkName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["lo", "eth0", "veth0123456789a", "br-x.1"] {
            assert_eq!(LinkName::parse(good).unwrap().as_str(), good);
        }
    }
}

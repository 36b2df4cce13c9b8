//! The bridge plugin: a bridge with the gateway's address, and for each pod a veth pair plugged into it ([`plug`]).
//!
//! A link of ours carries an alias that says whose it is; a link with our name and another alias is not touched.

mod port;

pub use port::{Port, Unplugged, delete, owned, plug, port_name, unplug};

use crate::error::{Error, Result};
use crate::sysctl::{self, Missing};
use nix::errno::Errno;
use orlop_netlink::{Cidr, Link, LinkName, Mac, RouteSocket, address, link};
use std::net::IpAddr;

/// Largest packet where no default route says otherwise: Ethernet's.
const MTU_DEFAULT: u32 = 1500;
/// Smallest packet size with which a link can carry IPv6. RFC 8200, section 5.
const MTU_IPV6_MIN: u32 = 1280;

/// A bridge as wanted.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Its name.
    pub name: LinkName,
    /// Its alias, by which it is known as ours.
    pub owner: String,
    /// Its addresses, one per subnet: the pods' gateways. Not empty.
    pub gateways: Vec<Cidr>,
    /// Largest packet; `None` takes that of the node's default route.
    pub mtu: Option<u32>,
}

/// A bridge that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub name: LinkName,
    /// Its index.
    pub index: u32,
    /// Largest packet of its pods.
    pub mtu: u32,
    /// Whether its links can carry IPv6, and so would give themselves addresses.
    ipv6: bool,
}

// === The bridge ===

/// Makes the bridge unless it is there, with addresses and forwarding.
///
/// # Errors
/// When the name or the subnet is in use by others, or the kernel refuses.
pub fn ensure(node: &mut RouteSocket, wanted: &Bridge) -> Result<Made> {
    let tried = || Error::netlink(format!("set up bridge {}", wanted.name));
    let found = find(node, wanted)?;
    let mtu = match wanted.mtu {
        Some(mtu) => mtu,
        None => default_mtu(node)?,
    };
    let link = match found {
        Some(link) => link,
        None => {
            let requests = [link::create_bridge(&wanted.name, mac(wanted.gateways[0].address()))];
            node.perform(&requests).map_err(tried())?;
            must_find(node, &wanted.name)?
        }
    };
    let ipv6 = sysctl::has_ipv6() && mtu >= MTU_IPV6_MIN;
    let made = Made { name: wanted.name.clone(), index: link.index, mtu, ipv6 };
    // Before it is up: a pod must not be able to tell the node where its default route leads (CVE-2020-10749).
    sysctl::set(&format!("ipv6/conf/{}/accept_ra", wanted.name), "0", Missing::IsFine)?;
    let mut requests = vec![link::set_alias(&wanted.name, &wanted.owner)];
    if link.mtu != mtu {
        requests.push(link::set_mtu(&wanted.name, mtu));
    }
    if made.ipv6 {
        requests.push(link::set_no_own_ipv6(&wanted.name));
    }
    requests.extend(wanted.gateways.iter().map(|gateway| address::add(link.index, *gateway)));
    requests.push(link::set_up(&wanted.name));
    node.perform(&requests).map_err(tried())?;
    forward(&wanted.gateways)?;
    Ok(made)
}

/// Says whether the bridge is still there and up.
///
/// # Errors
/// When the kernel does not answer.
pub fn is_there(node: &mut RouteSocket, made: &Made) -> Result<bool> {
    let tried = Error::netlink(format!("look at bridge {}", made.name));
    let link = node.link_by_name(&made.name).map_err(tried)?;
    Ok(link.is_some_and(|link| link.up && link.index == made.index))
}

/// Says whether the bridge could be made: neither its name nor its subnets are in use by others.
/// Returns it when it is there.
///
/// # Errors
/// When it could not be made, or the kernel does not answer.
pub fn find(node: &mut RouteSocket, wanted: &Bridge) -> Result<Option<Link>> {
    let tried = || Error::netlink(format!("look for bridge {}", wanted.name));
    let found = node.link_by_name(&wanted.name).map_err(tried())?;
    if let Some(link) = &found
        && !is_own_bridge(link, wanted)
    {
        return Err(taken(link));
    }
    if found.is_none() {
        refuse_overlap(node, wanted)?;
    }
    Ok(found)
}

/// Deletes the bridge. Quiet when it is not there.
///
/// # Errors
/// When the name is in use by others, or the kernel refuses.
pub fn remove(node: &mut RouteSocket, wanted: &Bridge) -> Result<()> {
    let tried = || Error::netlink(format!("delete bridge {}", wanted.name));
    match node.link_by_name(&wanted.name).map_err(tried())? {
        None => Ok(()),
        Some(link) if !is_own_bridge(&link, wanted) => Err(taken(&link)),
        Some(_) => quiet_if_gone(node.perform(&[link::delete(&wanted.name)])).map_err(tried()),
    }
}

/// Finds a route to addresses of ours over a link that is not ours: pods there could not be reached. A wider route, as a
/// VPN's, is fine, since ours is preferred.
fn refuse_overlap(node: &mut RouteSocket, wanted: &Bridge) -> Result<()> {
    let tried = || Error::netlink("look for a route to the network's subnet");
    for route in node.routes().map_err(tried())? {
        let within = |gateway: &&Cidr| gateway.prefix() <= route.to.prefix() && gateway.contains(route.to.address());
        if let Some(gateway) = wanted.gateways.iter().find(within) {
            let link = match route.link {
                Some(index) => node.link_by_index(index).map_err(tried())?,
                None => None,
            };
            let link = link.map_or_else(|| "several links".to_owned(), |link| link.name);
            return Err(Error::Overlap { subnet: gateway.subnet(), route: route.to, link });
        }
    }
    Ok(())
}

fn default_mtu(node: &mut RouteSocket) -> Result<u32> {
    let tried = || Error::netlink("look for the node's default route");
    let mut smallest = None;
    for route in node.routes().map_err(tried())?.iter().filter(|route| route.to.prefix() == 0) {
        if let Some(index) = route.link
            && let Some(link) = node.link_by_index(index).map_err(tried())?
        {
            smallest = Some(smallest.map_or(link.mtu, |mtu: u32| mtu.min(link.mtu)));
        }
    }
    Ok(smallest.unwrap_or(MTU_DEFAULT))
}

/// Lets the node pass packets on. It stays so: others may have come to rely on it, and nothing tells who did.
fn forward(gateways: &[Cidr]) -> Result<()> {
    for gateway in gateways {
        match gateway.address() {
            IpAddr::V4(_) => sysctl::set("ipv4/ip_forward", "1", Missing::Fails)?,
            IpAddr::V6(_) => sysctl::set("ipv6/conf/all/forwarding", "1", Missing::Fails)?,
        }
    }
    Ok(())
}

// === Names and owners ===

/// Returns the hardware address that goes with an address: whoever gets the address next has the same, so that what others
/// remember of it is still right. The first byte says that no maker of hardware gave it.
#[must_use]
pub fn mac(address: IpAddr) -> Mac {
    let tail = match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [a, b, c, d]
        }
    };
    let [a, b, c, d] = tail;
    Mac([0x0a, 0x58, a, b, c, d])
}

fn must_find(socket: &mut RouteSocket, name: &LinkName) -> Result<Link> {
    let found = socket.link_by_name(name).map_err(Error::netlink(format!("look for {name}")))?;
    found.ok_or_else(|| Error::Vanished { name: name.to_string() })
}

fn is_owned(link: &Link, owner: &str) -> bool {
    link.alias.as_deref() == Some(link::alias_kept(owner))
}

/// A daemon may have died between making a bridge and naming its owner; then the hardware address we chose tells.
fn is_own_bridge(link: &Link, wanted: &Bridge) -> bool {
    let born = link.alias.is_none() && link.mac == Some(mac(wanted.gateways[0].address()));
    link.kind.as_deref() == Some("bridge") && (born || is_owned(link, &wanted.owner))
}

fn quiet_if_gone(result: orlop_netlink::Result<()>) -> orlop_netlink::Result<()> {
    match result {
        Err(error) if error.is(Errno::ENODEV) => Ok(()),
        other => other,
    }
}

fn taken(link: &Link) -> Error {
    let kind = link.kind.as_deref().unwrap_or("a device");
    let alias = link.alias.as_deref().map_or_else(|| "no alias".to_owned(), |alias| format!("alias {alias:?}"));
    Error::Taken { what: "link", name: link.name.clone(), found: format!("{kind}, {alias}") }
}

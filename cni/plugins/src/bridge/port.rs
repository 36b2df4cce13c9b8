//! A pod's link: a veth pair, one end in the bridge, the other the pod's interface.

use super::{Made, is_owned, mac, must_find, quiet_if_gone, taken};
use crate::error::{Error, Result};
use nix::errno::Errno;
use orlop_netlink::link::{Hairpin, Mac, Veth};
use orlop_netlink::{Cidr, Link, LinkName, RouteSocket, address, link, route};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Longest wait for a link that is up to pass packets. The kernel does it in the background, at once unless it is busy.
const RUNNING_WAIT: Duration = Duration::from_secs(5);
/// How often the link is looked at meanwhile; from Linux 6.8 on the first look is enough.
const RUNNING_POLL: Duration = Duration::from_millis(1);

/// A pod's connection to a bridge.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// Name of the end on the node.
    pub name: &'a LinkName,
    /// Its alias, by which it is known as this pod's.
    pub owner: &'a str,
    /// Name of the end inside.
    pub interface: &'a LinkName,
    /// The pod's addresses, the primary one first. Not empty.
    pub addresses: &'a [Cidr],
    /// Hardware address of the end inside; `None` goes with the primary address.
    pub mac: Option<Mac>,
    /// Where its default routes lead.
    pub gateways: &'a [Cidr],
}

/// What became of a pod's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplugged {
    /// Nothing was there.
    Gone,
    /// It is down: nothing passes, even if its namespace lives on. The kernel deletes it with that namespace.
    Down,
}

/// Connects a pod: its link, addresses and default routes; plugged in last, so that nobody reaches a pod half set up.
///
/// # Errors
/// When a name is in use by others, or the kernel refuses. What was made by then stays; [`delete`] undoes it.
pub fn plug(
    node: &mut RouteSocket,
    pod: &mut RouteSocket,
    namespace: BorrowedFd<'_>,
    made: &Made,
    port: &Port<'_>,
) -> Result<()> {
    create_pair(node, pod, namespace, made, port)?;
    let inner = must_find(pod, port.interface)?;
    let mut requests = Vec::new();
    if made.ipv6 {
        requests.push(link::set_no_own_ipv6(port.interface));
    }
    requests.push(link::set_up(port.interface));
    requests.extend(port.addresses.iter().map(|own| address::add(inner.index, *own)));
    requests.extend(port.gateways.iter().map(|gateway| route::add_default(inner.index, gateway.address())));
    pod.perform(&requests).map_err(Error::netlink(format!("set up {} inside the pod", port.interface)))?;

    // Hairpin, so that with br_netfilter a pod reaches itself through a service or a port of the node that leads to it.
    let mut requests = vec![link::set_up_port(port.name, port.owner, Hairpin::On)];
    if made.ipv6 {
        requests.push(link::set_no_own_ipv6(port.name));
    }
    requests.push(link::set_up(port.name));
    node.perform(&requests).map_err(Error::netlink(format!("plug {} into the bridge", port.name)))?;

    // Each end begins to pass packets only when the kernel has seen, in the background, that the other is up; the bridge,
    // when it has seen its first port. A pod whose first packet is lost waits a second for the next.
    wait_until_running(node, port.name)?;
    wait_until_running(node, &made.name)?;
    wait_until_running(pod, port.interface)
}

fn wait_until_running(socket: &mut RouteSocket, name: &LinkName) -> Result<()> {
    let deadline = Instant::now() + RUNNING_WAIT;
    while !must_find(socket, name)?.running {
        if Instant::now() >= deadline {
            return Err(Error::NotRunning { name: name.to_string(), after: RUNNING_WAIT });
        }
        std::thread::sleep(RUNNING_POLL);
    }
    Ok(())
}

/// Makes the veth pair, or finds the one that an earlier attempt made for this very namespace.
fn create_pair(
    node: &mut RouteSocket,
    pod: &mut RouteSocket,
    namespace: BorrowedFd<'_>,
    made: &Made,
    port: &Port<'_>,
) -> Result<()> {
    let tried = || Error::netlink("make the pod's link");
    let inner_mac = port.mac.unwrap_or_else(|| mac(port.addresses[0].address()));
    let veth = Veth { name: port.name, master: made.index, inner_name: port.interface, inner_mac, mtu: made.mtu };
    let create = [link::create_veth(&veth, namespace)];
    match node.perform(&create) {
        Ok(()) => return Ok(()),
        Err(error) if error.is(Errno::EEXIST) => {}
        Err(error) => return Err(tried()(error)),
    }
    let inner = pod.link_by_name(port.interface).map_err(tried())?;
    let Some(outer) = node.link_by_name(port.name).map_err(tried())? else {
        // The name on the node is free, so it was the name inside that is in use.
        return match inner {
            Some(inner) => Err(taken(&inner)),
            // Or the pair vanished in between, with the namespace of an earlier run.
            None => node.perform(&create).map_err(tried()),
        };
    };
    if !is_owned_or_unnamed(&outer, port.owner) {
        return Err(taken(&outer));
    }
    if let Some(inner) = inner {
        let pair = inner.peer == Some(outer.index) && outer.peer == Some(inner.index);
        if pair && inner.mac == Some(inner_mac) && outer.master == Some(made.index) {
            return Ok(());
        }
    }
    // It leads into the namespace of an earlier run that is not gone yet, or hangs on a bridge that was deleted.
    delete(node, port.name, port.owner)?;
    node.perform(&create).map_err(tried())
}

/// Makes sure that nothing passes over a pod's link any more, so that its address can be given to another.
///
/// Does not delete it: that waits some 20 ms for the kernel, and the pod's namespace, which is usually on its way out
/// already, takes the link with it.
///
/// # Errors
/// When the kernel refuses.
pub fn unplug(node: &mut RouteSocket, name: &LinkName, owner: &str) -> Result<Unplugged> {
    let tried = || Error::netlink(format!("unplug {name}"));
    match node.link_by_name(name).map_err(tried())? {
        None => Ok(Unplugged::Gone),
        // Someone else has the name, so ours can't be there.
        Some(link) if !is_owned_or_unnamed(&link, owner) => Ok(Unplugged::Gone),
        Some(link) if !link.up => Ok(Unplugged::Down),
        Some(_) => match node.perform(&[link::set_down(name)]) {
            Ok(()) => Ok(Unplugged::Down),
            Err(error) if error.is(Errno::ENODEV) => Ok(Unplugged::Gone),
            Err(error) => Err(tried()(error)),
        },
    }
}

/// Deletes a pod's link. Quiet when it is not there.
///
/// # Errors
/// When the kernel refuses.
pub fn delete(node: &mut RouteSocket, name: &LinkName, owner: &str) -> Result<()> {
    let tried = || Error::netlink(format!("delete {name}"));
    match node.link_by_name(name).map_err(tried())? {
        Some(link) if is_owned_or_unnamed(&link, owner) => {
            quiet_if_gone(node.perform(&[link::delete(name)])).map_err(tried())
        }
        // Gone, or someone else has the name, so ours can't be there.
        None | Some(_) => Ok(()),
    }
}

/// Lists the links whose alias begins so.
///
/// # Errors
/// When the kernel does not answer.
pub fn owned(node: &mut RouteSocket, owner_begins: &str) -> Result<Vec<Link>> {
    let links = node.links().map_err(Error::netlink("list the node's links"))?;
    Ok(links.into_iter().filter(|link| link.alias.as_ref().is_some_and(|a| a.starts_with(owner_begins))).collect())
}

// === Names and owners ===

/// Returns the name of a pod's link on the node: the same for the same pod on the same bridge, so that a second run finds
/// it. `veth` and 11 hex digits of an FNV-1a hash; with 1000 pods two collide on one node in 35 million, and the alias shows.
#[must_use]
pub fn port_name(bridge: &LinkName, pod: &str) -> LinkName {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = bridge.as_str().bytes().chain([0]).chain(pod.bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    LinkName::parse(&format!("veth{:011x}", hash >> 20)).expect("4 letters and 11 digits are a link name")
}

/// A daemon may have died between making a pod's link and naming its owner; the link's own name is a hash of the pod's id.
fn is_owned_or_unnamed(link: &Link, owner: &str) -> bool {
    link.alias.is_none() || is_owned(link, owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_names_are_stable_and_differ_by_pod_and_bridge() {
        let bridge = LinkName::parse("orlop0").unwrap();
        let other = LinkName::parse("orlop1").unwrap();
        let name = port_name(&bridge, "abc");
        // Changing the hash would lose the links of running pods over an upgrade.
        assert_eq!(name.as_str(), "veth1dc6169e37b");
        assert_eq!(name, port_name(&bridge, "abc"));
        assert_ne!(name, port_name(&bridge, "abd"));
        assert_ne!(name, port_name(&other, "abc"));
    }
}

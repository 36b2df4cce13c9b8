//! Route requests against the kernel, in namespaces of the test's own.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use nix::errno::Errno;
use orlop_netlink::link::{Hairpin, Veth};
use orlop_netlink::{Cidr, LinkName, Mac, RouteSocket, address, link, route};
use orlop_sys::netns;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

fn inside(ns: &OwnedFd) -> RouteSocket {
    netns::inside(ns.as_fd(), || RouteSocket::open().unwrap()).unwrap()
}

fn name(text: &str) -> LinkName {
    LinkName::parse(text).unwrap()
}

const BRIDGE_MAC: Mac = Mac([0x0a, 0x58, 10, 1, 0, 1]);
const POD_MAC: Mac = Mac([0x0a, 0x58, 10, 1, 0, 2]);

#[test]
fn pod_link_is_born_inside_with_all_it_needs() {
    let (node, pod) = (netns::create().unwrap(), netns::create().unwrap());
    let (mut here, mut there) = (inside(&node), inside(&pod));
    let bridge = name("br0");
    here.perform(&[link::create_bridge(&bridge, BRIDGE_MAC), link::set_up(&bridge)]).unwrap();
    let master = here.link_by_name(&bridge).unwrap().unwrap();
    assert_eq!((master.kind.as_deref(), master.mac, master.up), (Some("bridge"), Some(BRIDGE_MAC), true));

    let (outer, inner) = (name("vethabc"), name("eth0"));
    let veth = Veth { name: &outer, master: master.index, inner_name: &inner, inner_mac: POD_MAC, mtu: 1400 };
    here.perform(&[link::create_veth(&veth, pod.as_fd()), link::set_up_port(&outer, "whose it is", Hairpin::On)])
        .unwrap();
    let port = here.link_by_name(&outer).unwrap().unwrap();
    assert_eq!((port.master, port.mtu, port.up), (Some(master.index), 1400, false));
    assert_eq!(port.alias.as_deref(), Some("whose it is"));

    let end = there.link_by_name(&inner).unwrap().unwrap();
    assert_eq!((end.mac, end.mtu, end.up, end.peer), (Some(POD_MAC), 1400, false, Some(port.index)));
    let own = Cidr::new(Ipv4Addr::new(10, 1, 0, 2), 24).unwrap();
    let setting = [
        link::set_up(&name("lo")),
        link::set_no_own_ipv6(&inner),
        link::set_up(&inner),
        address::add(end.index, own),
        route::add_default(end.index, Ipv4Addr::new(10, 1, 0, 1).into()),
    ];
    there.perform(&setting).unwrap();
    there.perform(&setting).unwrap();
    here.perform(&[link::set_up(&outer)]).unwrap();
    let addresses: Vec<_> =
        there.addresses().unwrap().into_iter().filter(|a| a.link == end.index).map(|a| a.address).collect();
    assert_eq!(addresses, [own], "no address but the one given");
    assert!(there.routes().unwrap().iter().any(|r| r.to.prefix() == 0 && r.link == Some(end.index)));

    here.perform(&[link::delete(&outer)]).unwrap();
    assert_eq!(there.link_by_name(&inner).unwrap(), None);
}

#[test]
fn refusals_carry_the_request_the_errno_and_the_kernels_words() {
    let node = netns::create().unwrap();
    let mut here = inside(&node);
    let missing = name("nothere");
    let error = here.perform(&[link::set_up(&missing)]).unwrap_err();
    assert!(error.is(Errno::ENODEV), "{error}");
    assert!(error.to_string().starts_with("bring nothere up: "), "{error}");
    assert_eq!(here.link_by_name(&missing).unwrap(), None);

    let bridge = name("br0");
    here.perform(&[link::create_bridge(&bridge, BRIDGE_MAC)]).unwrap();
    assert!(here.perform(&[link::create_bridge(&bridge, BRIDGE_MAC)]).unwrap_err().is(Errno::EEXIST));
    let index = here.link_by_name(&bridge).unwrap().unwrap().index;
    // The gateway is nowhere near: the kernel says so in words.
    let error = here
        .perform(&[link::set_up(&bridge), route::add_default(index, Ipv4Addr::new(192, 0, 2, 1).into())])
        .unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENETUNREACH));
    assert!(error.to_string().contains("Nexthop has invalid gateway"), "{error}");
}

#[test]
fn first_refusal_of_a_call_is_told_and_the_socket_stays_usable() {
    let node = netns::create().unwrap();
    let mut here = inside(&node);
    let (bridge, missing) = (name("br0"), name("nothere"));
    let error = here
        .perform(&[link::set_down(&missing), link::create_bridge(&bridge, BRIDGE_MAC), link::delete(&missing)])
        .unwrap_err();
    assert!(error.to_string().starts_with("take nothere down"), "{error}");
    assert!(here.link_by_name(&bridge).unwrap().is_some());
}

#[test]
fn dump_longer_than_one_answer_is_read_whole() {
    let node = netns::create().unwrap();
    let mut here = inside(&node);
    let names: Vec<_> = (0..150).map(|n| name(&format!("br{n}"))).collect();
    let requests: Vec<_> = names.iter().map(|name| link::create_bridge(name, BRIDGE_MAC)).collect();
    here.perform(&requests).unwrap();
    let seen = here.links().unwrap();
    assert!(names.iter().all(|name| seen.iter().any(|link| link.name == name.as_str())));
}

//! Deaths between any two steps, and daemons that come back.

use crate::ground::{Node, Pod, cidr, ip, listen, name, run, seen_from};
use orlop_cni_plugins::bridge::port_name;
use orlop_cni_plugins::host_local::{Pool, Range};
use orlop_model::ports::Network;
use orlop_netlink::link::{self, Veth};
use orlop_netlink::{Mac, address};
use orlop_network::Ended;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Where an attach died.
#[derive(Clone, Copy, Debug)]
enum Death {
    AddressReserved,
    LinkMade,
    HalfConfigured,
    AllButAnswered,
}

const DEATHS: [Death; 4] = [Death::AddressReserved, Death::LinkMade, Death::HalfConfigured, Death::AllButAnswered];

/// Leaves behind what a daemon that died there would.
fn die(node: &Node, pod: &Pod, death: Death) {
    if matches!(death, Death::AllButAnswered) {
        pod.address(&node.network(node.config()));
        return;
    }
    // The bridge is there, as from an earlier pod.
    let network = node.network(node.config());
    let earlier = Pod::new("earlier");
    earlier.address(&network);
    run(network.detach(&earlier.id)).unwrap();
    let mut pool = Pool::new(node.ipam().join("default"), vec![Range::of(cidr("10.88.0.0", 16)).unwrap()]);
    pool.reserve(pod.id.as_str(), "eth0").unwrap();
    if matches!(death, Death::AddressReserved) {
        return;
    }
    let mut here = node.route();
    let master = here.link_by_name(&name("orlop0")).unwrap().unwrap().index;
    let (outer, inner) = (port_name(&name("orlop0"), pod.id.as_str()), name("eth0"));
    let inner_mac = Mac([0x0a, 0x58, 10, 88, 0, 3]);
    let veth = Veth { name: &outer, master, inner_name: &inner, inner_mac, mtu: 1500 };
    here.perform(&[link::create_veth(&veth, pod.ns.as_fd())]).unwrap();
    if matches!(death, Death::HalfConfigured) {
        let mut there = pod.route();
        let index = there.link_by_name(&inner).unwrap().unwrap().index;
        there.perform(&[link::set_up(&inner), address::add(index, cidr("10.88.0.3", 16))]).unwrap();
    }
}

#[test]
fn attach_that_died_anywhere_is_finished_by_the_next() {
    for death in DEATHS {
        let node = Node::new();
        let pod = Pod::new("a");
        die(&node, &pod, death);
        let network = node.network(node.config());
        assert_eq!(run(network.leftovers()).unwrap(), std::slice::from_ref(&pod.id), "{death:?}");
        let own = pod.address(&network);
        let (listener, gateway) = listen(&node.ns, ip("10.88.0.1"));
        assert_eq!(seen_from(&pod.ns, &listener, gateway), own, "{death:?}");
    }
}

#[test]
fn attach_that_died_anywhere_is_undone_by_detach() {
    for death in DEATHS {
        let node = Node::new();
        let pod = Pod::new("a");
        let links = node.link_names();
        die(&node, &pod, death);
        let network = node.network(node.config());
        run(network.detach(&pod.id)).unwrap();
        assert_eq!(run(network.leftovers()).unwrap(), [], "{death:?}");
        drop(pod);
        assert_eq!(run(network.end()).unwrap(), Ended::Removed, "{death:?}");
        // The kernel takes namespaces down one after another, and their links with them.
        let deadline = Instant::now() + Duration::from_secs(30);
        while node.link_names() != links {
            assert!(Instant::now() < deadline, "{death:?}: {:?} instead of {links:?}", node.link_names());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn pods_keep_their_network_over_a_restart() {
    let node = Node::new();
    let outside = node.outside(1500);
    let first = node.network(node.config());
    let (a, b) = (Pod::new("a"), Pod::new("b"));
    let own = a.address(&first);
    let (listener, to) = listen(&outside, ip("192.0.2.2"));
    let rules = node.nft(&["-a", "list", "ruleset"]);
    drop(first);
    assert_eq!(seen_from(&a.ns, &listener, to), ip("192.0.2.1"));

    let second = node.network(node.config());
    run(second.ready()).unwrap();
    assert_ne!(b.address(&second), own);
    assert_eq!(node.nft(&["-a", "list", "ruleset"]), rules, "found again, not made again");
    assert_eq!(seen_from(&a.ns, &listener, to), ip("192.0.2.1"));
    assert_eq!(run(second.leftovers()).unwrap(), [a.id.clone(), b.id.clone()]);
}

#[test]
fn sandbox_started_again_gets_a_new_link_while_the_old_namespace_lingers() {
    let node = Node::new();
    let network = node.network(node.config());
    let old = Pod::new("a");
    old.address(&network);
    run(network.detach(&old.id)).unwrap();
    let new = Pod::new("a");
    let own = new.address(&network);
    let (listener, gateway) = listen(&node.ns, ip("10.88.0.1"));
    assert_eq!(seen_from(&new.ns, &listener, gateway), own);
    assert!(old.route().links().unwrap().iter().all(|link| link.name != "eth0"));
}

#[test]
fn bridge_that_someone_deleted_is_made_again() {
    let node = Node::new();
    let network = node.network(node.config());
    let (a, b) = (Pod::new("a"), Pod::new("b"));
    a.address(&network);
    node.route().perform(&[link::delete(&name("orlop0"))]).unwrap();
    let own_b = b.address(&network);
    let own_a = a.address(&network);
    let (listener, to) = listen(&a.ns, own_a);
    assert_eq!(seen_from(&b.ns, &listener, to), own_b, "attached again, it is plugged into the new bridge");
}

//! Who reaches whom.

use crate::ground::{Node, Pod, connect, ip, listen, run, seen_from};
use orlop_model::ports::Network;
use orlop_network::Config;
use std::net::Ipv4Addr;

#[test]
fn pods_reach_each_other_themselves_and_the_gateway_at_once() {
    let node = Node::new();
    let network = node.network(node.config());
    let (a, b) = (Pod::new("a"), Pod::new("b"));
    let (own_a, own_b) = (a.address(&network), b.address(&network));
    assert_eq!((own_a, own_b), (ip("10.88.0.2"), ip("10.88.0.3")));

    let (listener, to) = listen(&a.ns, own_a);
    assert_eq!(seen_from(&b.ns, &listener, to), own_b);
    assert_eq!(seen_from(&a.ns, &listener, to), own_a);
    assert_eq!(seen_from(&node.ns, &listener, to), ip("10.88.0.1"));
    let (listener, to) = listen(&a.ns, ip("127.0.0.1"));
    assert_eq!(seen_from(&a.ns, &listener, to), ip("127.0.0.1"));
    let (listener, to) = listen(&node.ns, ip("10.88.0.1"));
    assert_eq!(seen_from(&b.ns, &listener, to), own_b, "the node sees the pod itself, not a masquerade");
}

#[test]
fn outside_sees_the_node_and_takes_its_packet_size() {
    let node = Node::new();
    let outside = node.outside(1400);
    let network = node.network(node.config());
    let pod = Pod::new("a");
    pod.address(&network);
    let (listener, to) = listen(&outside, ip("192.0.2.2"));
    assert_eq!(seen_from(&pod.ns, &listener, to), ip("192.0.2.1"));
    let links = pod.route().links().unwrap();
    assert_eq!(links.iter().find(|link| link.name == "eth0").unwrap().mtu, 1400);
}

#[test]
fn pod_has_no_address_but_its_own() {
    let node = Node::new();
    let network = node.network(node.config());
    let pod = Pod::new("a");
    pod.address(&network);
    let mut addresses: Vec<String> =
        pod.route().addresses().unwrap().iter().map(|found| found.address.to_string()).collect();
    addresses.sort();
    // No link-local IPv6 address, so nothing waits for its duplicate detection.
    assert_eq!(addresses, ["10.88.0.2/16", "127.0.0.1/8", "::1/128"]);
    let of_bridge =
        node.route().addresses().unwrap().into_iter().filter(|found| !found.address.address().is_loopback());
    assert_eq!(of_bridge.map(|found| found.address.to_string()).collect::<Vec<_>>(), ["10.88.0.1/16"]);
}

#[test]
fn detached_pod_that_lives_on_reaches_nobody_and_its_address_works_elsewhere() {
    let node = Node::new();
    let network = node.network(Config { subnet: (Ipv4Addr::new(10, 88, 0, 0), 30), ..node.config() });
    let (old, new) = (Pod::new("old"), Pod::new("new"));
    let own = old.address(&network);
    let (listener, gateway) = listen(&node.ns, ip("10.88.0.1"));
    assert_eq!(seen_from(&old.ns, &listener, gateway), own);
    run(network.detach(&old.id)).unwrap();
    assert!(connect(&old.ns, gateway).is_err());
    assert_eq!(new.address(&network), own);
    assert_eq!(seen_from(&new.ns, &listener, gateway), own);
    assert!(connect(&old.ns, gateway).is_err());
}

#[test]
fn two_networks_side_by_side_do_not_mind_each_other() {
    let node = Node::new();
    let outside = node.outside(1500);
    let first = node.network(node.config());
    let other = Config {
        name: "other".to_owned(),
        bridge: "orlop1".to_owned(),
        subnet: (Ipv4Addr::new(10, 89, 0, 0), 16),
        nat: orlop_network::Nat::On,
        nft_table: "orlop-other".to_owned(),
        ..node.config()
    };
    let second = node.network(other);
    let (a, b) = (Pod::new("same"), Pod::new("same"));
    assert_eq!(a.address(&first), ip("10.88.0.2"));
    assert_eq!(b.address(&second), ip("10.89.0.2"));
    let (listener, to) = listen(&outside, ip("192.0.2.2"));
    assert_eq!(seen_from(&a.ns, &listener, to), ip("192.0.2.1"));
    assert_eq!(seen_from(&b.ns, &listener, to), ip("192.0.2.1"));

    run(first.detach(&a.id)).unwrap();
    run(first.end()).unwrap();
    assert_eq!(seen_from(&b.ns, &listener, to), ip("192.0.2.1"));
    assert_eq!(run(second.leftovers()).unwrap().len(), 1);
}

#[test]
fn masquerade_that_others_flushed_comes_back() {
    let node = Node::new();
    let outside = node.outside(1500);
    let network = node.network(node.config());
    let pod = Pod::new("a");
    pod.address(&network);
    let (listener, to) = listen(&outside, ip("192.0.2.2"));
    node.nft(&["flush", "ruleset"]);
    assert!(connect(&pod.ns, to).is_err());
    run(network.ready()).unwrap();
    assert_eq!(seen_from(&pod.ns, &listener, to), ip("192.0.2.1"));
}

#[test]
fn what_passed_over_pods_is_counted_from_their_side() {
    let node = Node::new();
    let network = node.network(node.config());
    let (server, client, nobody) = (Pod::new("server"), Pod::new("client"), Pod::new("nobody"));
    let to = server.address(&network);
    client.address(&network);
    let (listener, to) = listen(&server.ns, to);
    const BYTES: usize = 300_000;
    let mut sent = connect(&client.ns, to).unwrap();
    let (mut received, _) = listener.accept().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut sent, &[7; BYTES]).unwrap());
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut received, &mut all).unwrap();
    writer.join().unwrap();
    assert_eq!(all.len(), BYTES);
    let ids = [server.id.clone(), nobody.id.clone(), client.id.clone()];
    let usages = run(network.usage(&ids)).unwrap();
    let [server, nobody, client] = usages.as_slice() else { panic!("{usages:?}") };
    assert_eq!(nobody, &[]);
    assert_eq!(server[0].name, "eth0");
    assert!(server[0].rx_bytes >= BYTES as u64 && server[0].tx_bytes < BYTES as u64, "{server:?}");
    assert!(client[0].tx_bytes >= BYTES as u64 && client[0].rx_bytes < BYTES as u64, "{client:?}");
    assert_eq!((client[0].rx_errors, client[0].tx_errors), (0, 0));
}

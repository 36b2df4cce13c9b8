//! Ports of the node from reservation to end: who gets one, who is refused, what a crash or a restart leaves.

use crate::ground::{Node, Pod, cidr, connect, ip, name, run, seen_from, tcp, udp};
use orlop_cni_plugins::host_local::{Pool, Range};
use orlop_cni_plugins::host_ports::{Book, Mapping, NodePort, Protocol};
use orlop_model::ErrorKind;
use orlop_model::ports::Network;
use orlop_model::sandbox::{PortMapping, Protocol as Asked};
use orlop_netlink::nft::NftSocket;
use orlop_netlink::{Mac, link};
use orlop_network::{Config, Ended};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 12000);
const EVERYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 12000);

/// How many elements `nft` lists in each set and map of the table.
fn elements(node: &Node) -> Vec<(String, usize)> {
    let all: serde_json::Value = serde_json::from_str(&node.nft(&["-j", "list", "ruleset"])).unwrap();
    let sets = all["nftables"].as_array().unwrap().iter().filter_map(|object| object.get("map").or(object.get("set")));
    let count = |set: &serde_json::Value| set["elem"].as_array().map_or(0, Vec::len);
    let mut counts: Vec<_> = sets.map(|set| (set["name"].as_str().unwrap().to_owned(), count(set))).collect();
    counts.sort();
    counts
}

fn counts(by_address: usize, by_port: usize, led: usize) -> Vec<(String, usize)> {
    [("by_address", by_address), ("by_port", by_port), ("led", led)].map(|(name, n)| (name.to_owned(), n)).into()
}

#[test]
fn rules_read_back_as_they_are_meant() {
    let node = Node::new();
    let network = node.network(node.config());
    let ports = [
        tcp(12000, 80),
        udp(12000, 53),
        PortMapping { protocol: Asked::Sctp, ..tcp(12000, 36412) },
        PortMapping { host_ip: Some(ip("192.0.2.1")), ..tcp(12001, 80) },
    ];
    Pod::new("a").publish(&network, &ports).unwrap();
    let text = node.nft(&["list", "table", "inet", "orlop"]);
    for expected in [
        "tcp . 12000 : 10.88.0.2 . 80",
        "udp . 12000 : 10.88.0.2 . 53",
        "sctp . 12000 : 10.88.0.2 . 36412",
        "192.0.2.1 . tcp . 12001 : 10.88.0.2 . 80",
        "tcp . 12001 . 10.88.0.2 . 80",
        "dnat ip to ip daddr . meta l4proto . th dport map @by_address",
        "dnat ip to meta l4proto . th dport map @by_port",
        "ip daddr != 127.0.0.0/8 fib daddr type local jump host_ports",
        "meta nfproto ipv4 fib daddr type local jump host_ports",
        "oifname \"orlop0\" ip saddr 127.0.0.0/8 masquerade",
        "oifname \"orlop0\" ip saddr 10.88.0.0/16 ct status dnat",
        "meta l4proto . ct original proto-dst . ip daddr . th dport @led masquerade",
        "iifname \"orlop0\" ip daddr 127.0.0.0/8 drop",
        "iifname \"orlop0\" ip saddr 127.0.0.0/8 drop",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    assert_eq!(elements(&node), counts(1, 3, 4));
    let local = |link: &str| {
        node.inside(|| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{link}/route_localnet")).unwrap())
    };
    assert_eq!(["orlop0", "all", "default", "lo"].map(local), ["1\n", "0\n", "0\n", "0\n"]);
}

#[test]
fn attach_and_detach_may_each_come_twice_and_the_end_takes_all() {
    let node = Node::new();
    let before = node.nft(&["list", "ruleset"]);
    let network = node.network(node.config());
    let pod = Pod::new("a");
    let ports = [tcp(12000, 80), udp(12000, 80)];
    let first = pod.publish(&network, &ports).unwrap();
    assert_eq!(pod.publish(&network, &ports).unwrap(), first);
    let server = pod.serve(80);
    seen_from(&node.ns, &server, LOCAL);
    assert_eq!(elements(&node), counts(0, 2, 2));
    assert_eq!(run(network.end()).unwrap(), Ended::Kept(1));

    run(network.detach(&pod.id)).unwrap();
    run(network.detach(&pod.id)).unwrap();
    assert_eq!(elements(&node), counts(0, 0, 0));
    assert_eq!(fs::read_dir(node.ipam().join("default/ports")).unwrap().count(), 0);
    assert!(connect(&node.ns, LOCAL).is_err());
    node.sees_free(LOCAL);
    assert_eq!(run(network.end()).unwrap(), Ended::Removed);
    assert_eq!(node.nft(&["list", "ruleset"]), before);
    assert_eq!(fs::read_dir(node.ipam()).unwrap().count(), 0);

    pod.publish(&network, &ports).unwrap();
    seen_from(&node.ns, &server, LOCAL);
}

#[test]
fn sandbox_that_comes_back_with_other_ports_has_those_alone() {
    let node = Node::new();
    let network = node.network(node.config());
    let pod = Pod::new("a");
    pod.publish(&network, &[tcp(12000, 80), tcp(12001, 80)]).unwrap();
    pod.publish(&network, &[tcp(12000, 81)]).unwrap();
    assert_eq!(elements(&node), counts(0, 1, 1));
    seen_from(&node.ns, &pod.serve(81), LOCAL);
    pod.publish(&network, &[]).unwrap();
    assert_eq!(elements(&node), counts(0, 0, 0));
}

#[test]
fn port_of_another_sandbox_is_refused_until_it_is_free() {
    let node = Node::new();
    let network = node.network(node.config());
    let (first, second) = (Pod::new("first"), Pod::new("second"));
    first.publish(&network, &[tcp(12000, 80)]).unwrap();
    let server = first.serve(80);
    let at = PortMapping { host_ip: Some(ip("127.0.0.1")), ..tcp(12000, 80) };
    for wanted in [tcp(12000, 81), at] {
        let failure = second.publish(&network, &[tcp(12001, 80), wanted]).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::AlreadyExists);
        assert!(failure.message.contains("port 12000/tcp of the node"), "{}", failure.message);
        assert!(failure.message.contains("leads into sandbox first already"), "{}", failure.message);
    }
    assert_eq!(run(network.leftovers()).unwrap(), std::slice::from_ref(&first.id), "nothing is left of the attempts");
    assert_eq!(elements(&node), counts(0, 1, 1));
    seen_from(&node.ns, &server, LOCAL);

    run(network.detach(&first.id)).unwrap();
    second.publish(&network, &[tcp(12000, 80)]).unwrap();
    seen_from(&node.ns, &second.serve(80), LOCAL);
}

#[test]
fn port_of_a_process_is_refused_and_a_port_of_a_pod_is_refused_to_processes() {
    let node = Node::new();
    let network = node.network(node.config());
    let pod = Pod::new("a");
    let listener = node.inside(|| TcpListener::bind(EVERYWHERE).unwrap());
    let words = format!("(process {})", std::process::id());
    // It is looked for as long as nobody is held up by that, which may be too short on a busy machine.
    let named = (0..20).any(|_| {
        let failure = pod.publish(&network, &[tcp(12000, 80)]).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unavailable);
        assert!(failure.message.contains("port 12000/tcp of the node is in use by"), "{}", failure.message);
        failure.message.contains(&words)
    });
    assert!(named, "nobody says {words}");
    assert_eq!(run(network.leftovers()).unwrap(), []);

    drop(listener);
    pod.publish(&network, &[tcp(12000, 80)]).unwrap();
    node.inside(|| TcpListener::bind(EVERYWHERE).unwrap_err());
    run(network.detach(&pod.id)).unwrap();
    node.sees_free(EVERYWHERE);
}

#[test]
fn two_networks_of_one_node_can_not_both_have_a_port() {
    let node = Node::new();
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
    let (a, b) = (Pod::new("a"), Pod::new("b"));
    a.publish(&first, &[tcp(12000, 80)]).unwrap();
    assert_eq!(b.publish(&second, &[tcp(12000, 80)]).unwrap_err().kind, ErrorKind::Unavailable);
    b.publish(&second, &[tcp(12001, 80)]).unwrap();
    let (in_first, in_second) = (a.serve(80), b.serve(80));
    assert_eq!(seen_from(&node.ns, &in_first, LOCAL), ip("10.88.0.1"));
    assert_eq!(seen_from(&node.ns, &in_second, (Ipv4Addr::LOCALHOST, 12001).into()), ip("10.89.0.1"));
    assert_eq!(
        seen_from(&a.ns, &in_second, (ip("10.88.0.1"), 12001).into()),
        ip("10.89.0.1"),
        "as the node, by masquerade"
    );
}

#[test]
fn failed_attach_leaves_no_port() {
    let node = Node::new();
    let network = node.network(node.config());
    let (pod, other) = (Pod::new("a"), Pod::new("b"));
    other.publish(&network, &[tcp(12001, 80)]).unwrap();
    pod.route().perform(&[link::create_bridge(&name("eth0"), Mac([2, 0, 0, 0, 0, 9]))]).unwrap();
    assert_eq!(pod.publish(&network, &[tcp(12000, 80)]).unwrap_err().kind, ErrorKind::WrongState);
    assert_eq!(elements(&node), counts(0, 1, 1));
    assert!(!node.ipam().join("default/ports/a").exists());
    node.sees_free(LOCAL);
    let six = PortMapping { host_ip: Some(ip("::1")), ..tcp(12000, 80) };
    let failure = pod.publish(&network, &[six]).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Unsupported);
    assert!(failure.message.contains("port 12000 can't be at ::1"), "{}", failure.message);
}

#[test]
fn ports_work_on_over_a_restart_and_stay_reserved() {
    let node = Node::new();
    let first = node.network(node.config());
    let (pod, other) = (Pod::new("a"), Pod::new("b"));
    pod.publish(&first, &[tcp(12000, 80)]).unwrap();
    let server = pod.serve(80);
    let rules = node.nft(&["-a", "list", "ruleset"]);
    drop(first);
    seen_from(&node.ns, &server, LOCAL);

    let second = node.network(node.config());
    run(second.ready()).unwrap();
    assert_eq!(node.nft(&["-a", "list", "ruleset"]), rules, "found again, not made again");
    seen_from(&node.ns, &server, LOCAL);
    assert_eq!(other.publish(&second, &[tcp(12000, 80)]).unwrap_err().kind, ErrorKind::AlreadyExists);
    node.inside(|| TcpListener::bind(LOCAL).unwrap_err());
    run(second.detach(&pod.id)).unwrap();
    assert_eq!(elements(&node), counts(0, 0, 0));
}

#[test]
fn rules_that_others_deleted_or_changed_come_back() {
    let node = Node::new();
    let network = node.network(node.config());
    let (pod, other) = (Pod::new("a"), Pod::new("b"));
    pod.publish(&network, &[tcp(12000, 80), tcp(12001, 80)]).unwrap();
    let server = pod.serve(80);
    for damage in [
        vec!["flush", "ruleset"],
        vec!["flush", "chain", "inet", "orlop", "output"],
        vec!["flush", "map", "inet", "orlop", "by_port"],
        vec!["delete element inet orlop by_port { tcp . 12000 }"],
        vec![
            "delete element inet orlop by_port { tcp . 12000 }; add element inet orlop by_port { tcp . 12000 : 10.88.9.9 . 1 }",
        ],
    ] {
        node.nft(&damage);
        assert!(connect(&node.ns, LOCAL).is_err(), "{damage:?}");
        run(network.ready()).unwrap();
        seen_from(&node.ns, &server, LOCAL);
        node.nft(&["add element inet orlop by_port { tcp . 12009 : 10.88.9.9 . 1 }"]);
        run(network.ready()).unwrap();
        assert_eq!(elements(&node), counts(0, 2, 2), "{damage:?}");
    }
    // And in the middle of things, with nobody looking: who stays has its ports back.
    other.publish(&network, &[tcp(12009, 80)]).unwrap();
    node.nft(&["flush", "ruleset"]);
    run(network.detach(&other.id)).unwrap();
    run(network.ready()).unwrap();
    seen_from(&node.ns, &server, LOCAL);
    assert_eq!(elements(&node), counts(0, 2, 2));
    node.nft(&["flush", "map", "inet", "orlop", "by_port"]);
    run(network.detach(&pod.id)).unwrap();
    assert_eq!(elements(&node), counts(0, 0, 0));
    node.nft(&["flush", "ruleset"]);
    other.publish(&network, &[tcp(12000, 80)]).unwrap();
    seen_from(&node.ns, &other.serve(80), LOCAL);
    node.nft(&["flush", "ruleset"]);
    run(network.detach(&other.id)).unwrap();
    assert_eq!(run(network.end()).unwrap(), Ended::Removed);
}

/// Where a daemon died.
#[derive(Clone, Copy, Debug)]
enum Death {
    PortsWritten,
    PortsOpened,
    RulesGone,
    PortsErased,
    FileTorn,
    AddressGone,
}

const DEATHS: [Death; 6] = [
    Death::PortsWritten,
    Death::PortsOpened,
    Death::RulesGone,
    Death::PortsErased,
    Death::FileTorn,
    Death::AddressGone,
];

/// Leaves behind what a daemon that died there would.
fn die(node: &Node, pod: &Pod, death: Death) {
    let file = node.ipam().join("default/ports").join(pod.id.as_str());
    match death {
        Death::PortsWritten => {
            let mut pool = Pool::new(node.ipam().join("default"), vec![Range::of(cidr("10.88.0.0", 16)).unwrap()]);
            pool.reserve(pod.id.as_str(), "eth0").unwrap();
            let from = NodePort { protocol: Protocol::Tcp, address: None, number: 12000 };
            let mut book = Book::open(node.ipam().join("default/ports")).unwrap();
            let to = Ipv4Addr::new(10, 88, 0, 2);
            book.write(pod.id.as_str(), vec![Mapping { from, to, to_port: 80 }]).unwrap();
        }
        Death::PortsOpened | Death::RulesGone | Death::PortsErased | Death::FileTorn | Death::AddressGone => {
            pod.publish(&node.network(node.config()), &[tcp(12000, 80)]).unwrap();
            match death {
                Death::PortsWritten | Death::PortsOpened => {}
                Death::RulesGone => node.nft(&["flush", "ruleset"]).clear(),
                Death::PortsErased => {
                    node.nft(&["flush map inet orlop by_port; flush set inet orlop led"]);
                    fs::remove_file(file).unwrap();
                }
                Death::FileTorn => fs::write(file, "tcp 0.0").unwrap(),
                Death::AddressGone => fs::remove_file(node.ipam().join("default/10.88.0.2")).unwrap(),
            }
        }
    }
}

#[test]
fn attach_that_died_anywhere_is_finished_by_the_next() {
    for death in DEATHS {
        let node = Node::new();
        let pod = Pod::new("a");
        die(&node, &pod, death);
        let network = node.network(node.config());
        run(network.ready()).unwrap();
        assert_eq!(run(network.leftovers()).unwrap(), std::slice::from_ref(&pod.id), "{death:?}");
        pod.publish(&network, &[tcp(12000, 80)]).unwrap();
        seen_from(&node.ns, &pod.serve(80), LOCAL);
        assert_eq!(elements(&node), counts(0, 1, 1), "{death:?}");
    }
}

#[test]
fn attach_that_died_anywhere_is_undone_by_detach() {
    for death in DEATHS {
        for looked in [false, true] {
            let node = Node::new();
            let (pod, other) = (Pod::new("a"), Pod::new("b"));
            die(&node, &pod, death);
            let network = node.network(node.config());
            if looked {
                run(network.ready()).unwrap();
            }
            run(network.detach(&pod.id)).unwrap();
            run(network.detach(&pod.id)).unwrap();
            assert_eq!(run(network.leftovers()).unwrap(), [], "{death:?}");
            other.publish(&network, &[tcp(12000, 80)]).unwrap();
            seen_from(&node.ns, &other.serve(80), LOCAL);
            assert_eq!(elements(&node), counts(0, 1, 1), "{death:?}");
            run(network.detach(&other.id)).unwrap();
            assert_eq!(run(network.end()).unwrap(), Ended::Removed, "{death:?}");
            assert_eq!(node.nft(&["list", "ruleset"]), "", "{death:?}");
            assert_eq!(fs::read_dir(node.ipam()).unwrap().count(), 0, "{death:?}");
        }
    }
}

#[test]
fn five_hundred_ports_are_one_transaction() {
    let node = Node::new();
    let network = node.network(node.config());
    let (first, second) = (Pod::new("a"), Pod::new("b"));
    first.publish(&network, &[tcp(9, 9)]).unwrap();
    let mut nft = node.inside(|| NftSocket::open().unwrap());
    let before = nft.generation().unwrap();
    let ports: Vec<PortMapping> = (0..500).map(|n| tcp(12000 + n, 80)).collect();
    second.publish(&network, &ports).unwrap();
    assert_eq!(nft.generation().unwrap(), before + 1);
    assert_eq!(elements(&node), counts(0, 501, 501));
    let server = second.serve(80);
    for port in [12000, 12250, 12499] {
        seen_from(&node.ns, &server, (Ipv4Addr::LOCALHOST, port).into());
    }
    run(network.detach(&second.id)).unwrap();
    assert_eq!(nft.generation().unwrap(), before + 2);
    assert_eq!(elements(&node), counts(0, 1, 1));
}

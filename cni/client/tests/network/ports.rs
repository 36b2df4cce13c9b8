//! Who reaches a pod by a port of the node, and who doesn't.

use crate::ground::{Node, Pod, connect, ip, name, run, seen_from, tcp, udp};
use orlop_model::ports::Network;
use orlop_model::sandbox::PortMapping;
use orlop_netlink::{RouteSocket, route};
use orlop_sys::netns;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

/// Longest wait for a datagram.
const DATAGRAM_WAIT: Duration = Duration::from_millis(900);
/// How long nothing must come before it counts as never.
const NEVER: Duration = Duration::from_millis(200);

fn to(address: &str, port: u16) -> SocketAddr {
    (ip(address), port).into()
}

fn datagrams(ns: &OwnedFd, port: u16) -> UdpSocket {
    let socket = netns::inside(ns.as_fd(), || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()).unwrap();
    socket.set_read_timeout(Some(DATAGRAM_WAIT)).unwrap();
    socket
}

/// Sends a datagram there and back, and returns the address that the server sees.
fn echoed(client: &UdpSocket, server: &UdpSocket, to: SocketAddr) -> IpAddr {
    let mut buffer = [0; 16];
    client.send_to(b"there", to).unwrap();
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"there");
    server.send_to(b"back", from).unwrap();
    let (length, answered) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], answered), (b"back".as_slice(), to), "the answer comes from where it was sent to");
    from.ip()
}

/// With and without bridged packets passing through the rules for routed ones, as Kubernetes wants and others don't.
fn each_way_of_bridging(node: &Node, work: impl Fn(&str)) {
    const SETTING: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if !fs::exists(SETTING).unwrap() {
        return work("without br_netfilter");
    }
    for value in ["0", "1"] {
        node.inside(|| fs::write(SETTING, value).unwrap());
        work(&format!("bridge-nf-call-iptables {value}"));
    }
}

#[test]
fn tcp_port_is_reached_from_everywhere() {
    let node = Node::new();
    let outside = node.outside(1500);
    let network = node.network(node.config());
    let (pod, other) = (Pod::new("a"), Pod::new("b"));
    other.address(&network);
    pod.publish(&network, &[tcp(12000, 80)]).unwrap();
    let server = pod.serve(80);
    let gateway = ip("10.88.0.1");
    each_way_of_bridging(&node, |way| {
        for (who, ns, address, seen) in [
            ("outside", &outside, "192.0.2.1", ip("192.0.2.2")),
            ("the node by 127.0.0.1", &node.ns, "127.0.0.1", gateway),
            ("the node by another loopback address", &node.ns, "127.8.9.1", gateway),
            ("the node by its own address", &node.ns, "192.0.2.1", ip("192.0.2.1")),
            ("the node by the gateway", &node.ns, "10.88.0.1", gateway),
            ("the pod itself", &pod.ns, "192.0.2.1", gateway),
            ("the pod itself by the gateway", &pod.ns, "10.88.0.1", gateway),
            ("another pod", &other.ns, "192.0.2.1", gateway),
            ("another pod by the gateway", &other.ns, "10.88.0.1", gateway),
        ] {
            assert_eq!(seen_from(ns, &server, to(address, 12000)), seen, "{who}, {way}");
        }
        // And by the pod's own address nothing has changed.
        assert_eq!(seen_from(&other.ns, &server, to("10.88.0.3", 80)), ip("10.88.0.2"), "{way}");
    });
}

#[test]
fn udp_port_is_reached_from_everywhere() {
    let node = Node::new();
    let outside = node.outside(1500);
    let network = node.network(node.config());
    let (pod, other) = (Pod::new("a"), Pod::new("b"));
    other.address(&network);
    pod.publish(&network, &[udp(12000, 53)]).unwrap();
    let server = datagrams(&pod.ns, 53);
    let gateway = ip("10.88.0.1");
    each_way_of_bridging(&node, |way| {
        for (who, ns, address, seen) in [
            ("outside", &outside, "192.0.2.1", ip("192.0.2.2")),
            ("the node by 127.0.0.1", &node.ns, "127.0.0.1", gateway),
            ("the node by its own address", &node.ns, "192.0.2.1", ip("192.0.2.1")),
            ("the pod itself", &pod.ns, "192.0.2.1", gateway),
            ("another pod", &other.ns, "10.88.0.1", gateway),
        ] {
            assert_eq!(echoed(&datagrams(ns, 0), &server, to(address, 12000)), seen, "{who}, {way}");
        }
    });
}

#[test]
fn pods_and_what_the_node_passes_on_are_left_alone() {
    let node = Node::new();
    let outside = node.outside(1500);
    let network = node.network(node.config());
    let (pod, other) = (Pod::new("a"), Pod::new("b"));
    other.address(&network);
    // The same number inside and out, as it is most of the time.
    pod.publish(&network, &[tcp(80, 80)]).unwrap();
    let (inner, outer) = (pod.serve(80), netns::inside(outside.as_fd(), || TcpListener::bind("0.0.0.0:80").unwrap()));
    each_way_of_bridging(&node, |way| {
        assert_eq!(
            seen_from(&other.ns, &inner, to("10.88.0.3", 80)),
            ip("10.88.0.2"),
            "neighbours see each other, {way}"
        );
        let outer = outer.as_ref().unwrap();
        assert_eq!(seen_from(&other.ns, outer, to("192.0.2.2", 80)), ip("192.0.2.1"), "port 80 elsewhere, {way}");
        assert_eq!(seen_from(&node.ns, outer, to("192.0.2.2", 80)), ip("192.0.2.1"), "port 80 elsewhere, {way}");
    });
    // Another protocol and another port are closed as ever.
    assert!(connect(&node.ns, to("127.0.0.1", 81)).is_err());
    let client = datagrams(&node.ns, 0);
    client.connect(to("127.0.0.1", 80)).unwrap();
    client.send(b"x").unwrap();
    assert!(client.recv(&mut [0; 1]).is_err());
}

#[test]
fn port_at_one_address_is_reached_by_it_alone() {
    let node = Node::new();
    let outside = node.outside(1500);
    let network = node.network(node.config());
    let (here, there) = (Pod::new("a"), Pod::new("b"));
    let at = |address: &str, port, inner| PortMapping { host_ip: Some(ip(address)), ..tcp(port, inner) };
    here.publish(&network, &[at("127.0.0.1", 12000, 80)]).unwrap();
    there.publish(&network, &[at("192.0.2.1", 12000, 80), at("0.0.0.0", 12001, 80)]).unwrap();
    let (on_loopback, on_wan) = (here.serve(80), there.serve(80));
    assert_eq!(seen_from(&node.ns, &on_loopback, to("127.0.0.1", 12000)), ip("10.88.0.1"));
    assert_eq!(seen_from(&node.ns, &on_wan, to("192.0.2.1", 12000)), ip("192.0.2.1"));
    assert_eq!(seen_from(&outside, &on_wan, to("192.0.2.1", 12000)), ip("192.0.2.2"));
    assert_eq!(seen_from(&here.ns, &on_wan, to("192.0.2.1", 12000)), ip("10.88.0.1"));
    assert!(connect(&node.ns, to("10.88.0.1", 12000)).is_err());
    assert!(connect(&there.ns, to("10.88.0.1", 12000)).is_err());
    assert_eq!(seen_from(&node.ns, &on_wan, to("127.0.0.1", 12001)), ip("10.88.0.1"));
}

/// Lets a namespace send to 127.0.0.1 over its default route, as someone hostile would.
fn send_loopback_out(ns: &OwnedFd) {
    netns::inside(ns.as_fd(), || fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap()).unwrap();
}

#[test]
fn loopback_of_the_node_is_not_reached_from_elsewhere() {
    let node = Node::new();
    let outside = node.outside(1500);
    let network = node.network(node.config());
    let (pod, hostile) = (Pod::new("a"), Pod::new("b"));
    hostile.address(&network);
    pod.publish(&network, &[tcp(12000, 80)]).unwrap();
    let (server, private) = (pod.serve(80), node.inside(|| TcpListener::bind("127.0.0.1:9999").unwrap()));
    assert_eq!(seen_from(&node.ns, &server, to("127.0.0.1", 12000)), ip("10.88.0.1"));
    assert_eq!(seen_from(&node.ns, &private, to("127.0.0.1", 9999)), ip("127.0.0.1"));

    // Without a loopback of its own a pod takes its default route to 127.0.0.1.
    let removed = netns::inside(hostile.ns.as_fd(), || {
        Command::new("ip").args(["address", "delete", "127.0.0.1/8", "dev", "lo"]).status().unwrap()
    });
    assert!(removed.unwrap().success());
    send_loopback_out(&hostile.ns);
    let mut there = netns::inside(outside.as_fd(), || RouteSocket::open().unwrap()).unwrap();
    let index = there.link_by_name(&name("eth0")).unwrap().unwrap().index;
    there.perform(&[route::add_default(index, ip("192.0.2.1"))]).unwrap();
    send_loopback_out(&outside);
    each_way_of_bridging(&node, |way| {
        for (who, ns) in [("a pod", &hostile.ns), ("outside", &outside)] {
            assert!(!reaches(ns, 12000), "{who} reaches the pod's port, {way}");
            assert!(!reaches(ns, 9999), "{who} reaches a private service, {way}");
        }
    });
    // It is the rules that keep them out; without them the test would see it.
    node.nft(&["flush", "chain", "inet", "orlop", "loopback_guard"]);
    assert_eq!(seen_from(&hostile.ns, &private, to("127.0.0.1", 9999)), ip("10.88.0.2"));
    node.nft(&["flush", "chain", "inet", "orlop", "prerouting"]);
    node.nft(&["add rule inet orlop prerouting fib daddr type local jump host_ports comment \"orlop: any\""]);
    assert_eq!(seen_from(&outside, &server, to("127.0.0.1", 12000)), ip("192.0.2.2"));
    run(network.ready()).unwrap();
    assert!(!reaches(&hostile.ns, 9999));
    assert!(!reaches(&outside, 12000));
}

/// Says whether a connection to a port of 127.0.0.1 comes about; what is dropped gives no answer.
fn reaches(ns: &OwnedFd, port: u16) -> bool {
    netns::inside(ns.as_fd(), || TcpStream::connect_timeout(&to("127.0.0.1", port), NEVER)).unwrap().is_ok()
}

#[test]
fn who_keeps_sending_datagrams_reaches_the_pod_that_has_the_port_now() {
    // With few ports and with many, since the kernel is asked in another way then.
    for number in [1, 20] {
        let node = Node::new();
        let outside = node.outside(1500);
        let network = node.network(node.config());
        let client = datagrams(&outside, 0);
        let service = to("192.0.2.1", 12000);
        // There is a pod, so that connections are tracked.
        Pod::new("other").address(&network);
        client.send_to(b"nobody", service).unwrap();
        std::thread::sleep(Duration::from_millis(20));

        let ports: Vec<PortMapping> = (0..number).map(|n| udp(12000 + n, 53)).collect();
        let (first, second) = (Pod::new("first"), Pod::new("second"));
        first.publish(&network, &ports).unwrap();
        let server = datagrams(&first.ns, 53);
        assert_eq!(echoed(&client, &server, service), ip("192.0.2.2"));
        run(network.detach(&first.id)).unwrap();
        second.publish(&network, &ports).unwrap();
        let server = datagrams(&second.ns, 53);
        assert_eq!(echoed(&client, &server, service), ip("192.0.2.2"));

        run(network.detach(&second.id)).unwrap();
        client.send_to(b"late", service).unwrap();
        server.set_read_timeout(Some(NEVER)).unwrap();
        assert!(server.recv(&mut [0; 16]).is_err());
    }
}

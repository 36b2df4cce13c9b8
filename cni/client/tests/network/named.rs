//! Several networks on one node, of which a sandbox names one; ports of the node that are chosen for it.

use crate::ground::{Node, Pod, connect, ip, listen, run, seen_from, spec, tcp};
use orlop_model::ErrorKind;
use orlop_model::ports::Network;
use orlop_model::sandbox::{Networks as Named, PortChoice, PortMapping, SandboxSpec};
use orlop_network::{Ended, Networks};
use std::net::{IpAddr, TcpListener};

fn networks(node: &Node) -> Networks {
    Networks::new(node.network(node.config()), vec![node.network(node.second())])
}

#[test]
fn sandbox_is_on_the_network_that_it_names_and_on_no_other() {
    let node = Node::new();
    let outside = node.outside(1500);
    let networks = networks(&node);
    let (web, pod) = (Pod::new("web"), Pod::new("pod"));
    let attachment = web.join(&networks, "bridge", &[]).unwrap();
    assert_eq!((attachment.network.as_str(), attachment.interface.as_str()), ("bridge", "eth0"));
    assert_eq!((attachment.addresses[0], attachment.prefixes[0]), (ip("10.99.0.2"), 24));
    assert_eq!((attachment.gateway, attachment.mac.as_str()), (Some(ip("10.99.0.1")), "0a:58:0a:63:00:02"));
    assert_eq!(web.join(&networks, "bridge", &[]).unwrap(), attachment);
    let of_pod = run(networks.attach(&pod.id, &spec(), pod.namespace())).unwrap();
    assert_eq!((of_pod[0].network.as_str(), of_pod[0].addresses[0]), ("default", ip("10.88.0.2")));
    // Each network leaves as the node.
    let (listener, address) = listen(&outside, ip("192.0.2.2"));
    assert_eq!(seen_from(&web.ns, &listener, address), ip("192.0.2.1"));
    let usage = run(networks.usage(&[web.id.clone(), pod.id.clone()])).unwrap();
    assert_eq!(usage.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    let refused = web.join(&networks, "absent", &[]).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotFound);
    assert!(refused.message.contains("network absent not found"), "{refused}");
    assert_eq!(run(networks.leftovers()).unwrap().len(), 2);
    assert_eq!(run(networks.end()).unwrap(), Ended::Kept(2));
    for id in [&web.id, &pod.id] {
        run(networks.detach(id)).unwrap();
        run(networks.detach(id)).unwrap();
    }
    assert_eq!(run(networks.end()).unwrap(), Ended::Removed);
    assert!(!node.link_names().iter().any(|name| name == "orlop0" || name == "second0"));
}

#[test]
fn sandbox_without_a_network_has_its_loopback() {
    let node = Node::new();
    let networks = networks(&node);
    let pod = Pod::new("a");
    let spec = SandboxSpec { networks: Named::Named(Vec::new()), ..spec() };
    assert_eq!(run(networks.attach(&pod.id, &spec, pod.namespace())).unwrap(), []);
    let (_listener, address) = listen(&pod.ns, ip("127.0.0.1"));
    connect(&pod.ns, address).unwrap();
    let two = SandboxSpec { networks: Named::Named(vec!["bridge".to_owned(), "default".to_owned()]), ..spec };
    let refused = run(networks.attach(&pod.id, &two, pod.namespace())).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unsupported);
}

#[test]
fn port_that_may_be_any_is_chosen_told_and_kept() {
    let node = Node::new();
    node.outside(1500);
    let mut networks = networks(&node);
    let (web, other) = (Pod::new("web"), Pod::new("other"));
    let any = PortMapping { choice: PortChoice::Any, ..tcp(0, 80) };
    let local = PortMapping { host_ip: Some(ip("127.0.0.1")), ..any.clone() };
    let asked = [any.clone(), local.clone(), tcp(12000, 81)];
    let attachment = web.join(&networks, "bridge", &asked).unwrap();
    let chosen: Vec<(u16, u16)> = attachment.ports.iter().map(|port| (port.host_port, port.container_port)).collect();
    assert_eq!(chosen.len(), 3, "{chosen:?}");
    assert!(chosen.iter().all(|(host, _)| *host != 0) && chosen.contains(&(12000, 81)), "{chosen:?}");
    let on = |at: Option<IpAddr>| {
        let is = |port: &&PortMapping| port.host_ip == at && port.container_port == 80;
        attachment.ports.iter().find(is).unwrap().host_port
    };
    let _listener = web.serve(80);
    connect(&node.ns, (ip("127.0.0.1"), on(None)).into()).unwrap();
    connect(&node.ns, (ip("127.0.0.1"), on(Some(ip("127.0.0.1")))).into()).unwrap();
    // Again, and after the daemon died in between: the same.
    assert_eq!(web.join(&networks, "bridge", &asked).unwrap(), attachment);
    drop(networks);
    networks = self::networks(&node);
    assert_eq!(web.join(&networks, "bridge", &asked).unwrap(), attachment);
    let next = other.join(&networks, "bridge", &[any]).unwrap();
    assert_ne!(next.ports[0].host_port, on(None));
    for id in [&web.id, &other.id] {
        run(networks.detach(id)).unwrap();
    }
    assert_eq!(run(networks.end()).unwrap(), Ended::Removed);
}

#[test]
fn port_of_a_range_is_the_first_that_nobody_has() {
    let node = Node::new();
    let networks = networks(&node);
    let (one, two, three) = (Pod::new("one"), Pod::new("two"), Pod::new("three"));
    let range = PortMapping { choice: PortChoice::UpTo(8002), ..tcp(8000, 80) };
    let _taken = node.inside(|| TcpListener::bind("0.0.0.0:8000").unwrap());
    let port = |pod: &Pod| pod.join(&networks, "bridge", std::slice::from_ref(&range)).map(|a| a.ports[0].host_port);
    assert_eq!((port(&one).unwrap(), port(&two).unwrap()), (8001, 8002));
    let refused = port(&three).unwrap_err();
    assert!(
        refused.message.contains("8000 to 8002") && refused.message.contains("all ports are allocated"),
        "{refused}"
    );
    run(networks.detach(&one.id)).unwrap();
    assert_eq!(port(&three).unwrap(), 8001);
}

#[test]
fn port_that_is_taken_is_refused_in_words_that_docker_users_know() {
    let node = Node::new();
    let networks = networks(&node);
    let (one, two, pod) = (Pod::new("one"), Pod::new("two"), Pod::new("pod"));
    one.join(&networks, "bridge", &[tcp(8080, 80)]).unwrap();
    let refused = two.join(&networks, "bridge", &[tcp(8080, 80)]).unwrap_err();
    assert!(refused.message.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{refused}");
    // On the other network of the node, too.
    let spec = SandboxSpec { ports: vec![tcp(8080, 80)], ..spec() };
    let refused = run(networks.attach(&pod.id, &spec, pod.namespace())).unwrap_err();
    assert!(refused.message.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{refused}");
    assert_eq!(run(networks.leftovers()).unwrap(), std::slice::from_ref(&one.id));
}

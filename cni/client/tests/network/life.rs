//! From the first pod to the end, and all that is refused.

use crate::ground::{Node, Pod, ip, name, run, spec, tcp};
use orlop_model::ports::Network;
use orlop_model::sandbox::{NamespaceScope, SandboxSpec};
use orlop_model::{ErrorKind, SandboxId};
use orlop_netlink::{Mac, address, link};
use orlop_network::{Config, DefaultNetwork, Ended, Nat};
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Enough pods at once to show a race, as a node starting up has them.
const MANY: usize = 50;

#[test]
fn nothing_is_there_before_the_first_pod_nor_after_the_end() {
    let node = Node::new();
    let before = (node.link_names(), node.nft(&["list", "ruleset"]), node.route().routes().unwrap());
    let network = node.network(node.config());
    run(network.ready()).unwrap();
    assert_eq!(run(network.end()).unwrap(), Ended::Removed);
    assert_eq!(node.link_names(), before.0);

    let (a, b) = (Pod::new("a"), Pod::new("b"));
    a.address(&network);
    b.address(&network);
    assert_eq!(run(network.end()).unwrap(), Ended::Kept(2));
    assert!(node.nft(&["list", "ruleset"]).contains("masquerade"));
    for pod in [&a, &b] {
        run(network.detach(&pod.id)).unwrap();
    }
    // Their namespaces live on, so the kernel has not taken their links.
    assert_eq!(run(network.end()).unwrap(), Ended::Removed);
    assert_eq!(run(network.end()).unwrap(), Ended::Removed);
    let after = (node.link_names(), node.nft(&["list", "ruleset"]), node.route().routes().unwrap());
    assert_eq!(after, before);
    assert_eq!(fs::read_dir(node.ipam()).unwrap().count(), 0);

    a.address(&network);
    run(network.detach(&a.id)).unwrap();
    run(network.end()).unwrap();
}

#[test]
fn network_that_translates_nothing_attaches_pods_without_a_table_and_refuses_host_ports() {
    let node = Node::new();
    let network = node.network(Config { nat: Nat::Off, ..node.config() });
    run(network.ready()).unwrap();
    let pod = Pod::new("a");
    pod.address(&network);
    assert_eq!(node.nft(&["list", "ruleset"]), "");
    let other = Pod::new("b");
    let asked = SandboxSpec { ports: vec![tcp(8080, 80)], ..spec() };
    let failure = run(network.attach(&other.id, &asked, other.namespace())).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Unsupported);
    assert!(failure.message.contains("8080/tcp") && failure.message.contains("nat is off"), "{}", failure.message);
    assert_eq!(run(network.leftovers()).unwrap(), std::slice::from_ref(&pod.id));
    run(network.detach(&pod.id)).unwrap();
    assert_eq!(run(network.end()).unwrap(), Ended::Removed);
}

#[test]
fn attach_and_detach_may_each_come_twice() {
    let node = Node::new();
    let network = node.network(node.config());
    let pod = Pod::new("a");
    let first = pod.attach(&network).unwrap();
    assert_eq!(pod.attach(&network).unwrap(), first);
    assert_eq!(run(network.leftovers()).unwrap(), std::slice::from_ref(&pod.id));
    run(network.detach(&pod.id)).unwrap();
    run(network.detach(&pod.id)).unwrap();
    run(network.detach(&SandboxId::parse("never-there").unwrap())).unwrap();
    assert_eq!(run(network.leftovers()).unwrap(), []);
}

#[test]
fn detach_works_when_the_namespace_is_gone() {
    let node = Node::new();
    let network = node.network(node.config());
    let Pod { id, ns } = Pod::new("a");
    Pod { id: id.clone(), ns: ns.try_clone().unwrap() }.address(&network);
    drop(ns);
    run(network.detach(&id)).unwrap();
    assert_eq!(run(network.leftovers()).unwrap(), []);
}

#[test]
fn addresses_go_round_and_a_full_subnet_says_so() {
    let node = Node::new();
    let network = node.network(Config { subnet: (Ipv4Addr::new(10, 88, 0, 0), 29), ..node.config() });
    let pods: Vec<Pod> = (0..5).map(|n| Pod::new(&format!("pod{n}"))).collect();
    for (pod, last) in pods.iter().zip(2..) {
        assert_eq!(pod.address(&network), ip(&format!("10.88.0.{last}")));
    }
    let late = Pod::new("late");
    let failure = late.attach(&network).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Exhausted);
    assert_eq!(
        failure.message,
        "attach sandbox late to network default: no address is free in 10.88.0.0/29: 5 are held; \
         remove pods, or give the network a wider subnet"
    );
    run(network.detach(&pods[3].id)).unwrap();
    run(network.detach(&pods[1].id)).unwrap();
    assert_eq!(late.address(&network), ip("10.88.0.3"));
    run(network.detach(&late.id)).unwrap();
    assert_eq!(late.address(&network), ip("10.88.0.5"), "not the one just given back");
}

#[test]
fn many_pods_at_once_get_an_address_each() {
    let node = Node::new();
    let network = Arc::new(node.network(node.config()));
    let pods: Vec<Arc<Pod>> = (0..MANY).map(|n| Arc::new(Pod::new(&format!("pod{n}")))).collect();
    let all = async {
        let mut tasks = tokio::task::JoinSet::new();
        for pod in &pods {
            let (network, pod): (Arc<DefaultNetwork>, _) = (Arc::clone(&network), Arc::clone(pod));
            tasks.spawn(async move { network.attach(&pod.id, &spec(), pod.namespace()).await.unwrap() });
        }
        tasks.join_all().await
    };
    let addresses: BTreeSet<_> = run(all).into_iter().map(|attachments| attachments[0].addresses[0]).collect();
    assert_eq!(addresses.len(), MANY);
    let ports = node.route().links().unwrap().into_iter().filter(|link| link.master.is_some() && link.up);
    assert_eq!(ports.count(), MANY);
    for pod in &pods {
        run(network.detach(&pod.id)).unwrap();
    }
    drop(pods);
    run(network.end()).unwrap();
}

#[test]
fn failed_attach_leaves_nothing() {
    let node = Node::new();
    let network = node.network(node.config());
    let pod = Pod::new("a");
    pod.route().perform(&[link::create_bridge(&name("eth0"), Mac([2, 0, 0, 0, 0, 9]))]).unwrap();
    let failure = pod.attach(&network).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::WrongState);
    assert!(failure.message.contains("link eth0 is there already and not ours"), "{}", failure.message);
    assert_eq!(run(network.leftovers()).unwrap(), []);
    assert!(node.link_names().iter().all(|name| !name.starts_with("veth")));
}

#[test]
fn socket_that_is_none_is_refused() {
    let node = Node::new();
    let network = node.network(node.config());
    let pod = Pod::new("a");
    let mut inside = pod.namespace();
    inside.route_socket = fs::File::open("/dev/null").unwrap().into();
    let failure = run(network.attach(&pod.id, &spec(), inside)).unwrap_err();
    assert!(failure.message.contains("use the socket made in the pod's network namespace"), "{}", failure.message);
    assert_eq!(run(network.leftovers()).unwrap(), []);
}

#[test]
fn host_network_attaches_to_nothing_and_its_ports_lead_nowhere() {
    let node = Node::new();
    let network = node.network(node.config());
    let pod = Pod::new("a");
    let host = SandboxSpec { network: NamespaceScope::Host, ports: vec![tcp(80, 80)], ..spec() };
    assert_eq!(run(network.attach(&pod.id, &host, pod.namespace())).unwrap(), []);
    assert_eq!(run(network.leftovers()).unwrap(), []);
    let unmapped = SandboxSpec { ports: vec![tcp(0, 80)], ..spec() };
    assert_eq!(run(network.attach(&pod.id, &unmapped, pod.namespace())).unwrap().len(), 1);
    assert!(!node.nft(&["list", "ruleset"]).contains("by_port"), "no host port, no rules for them");
}

#[test]
fn names_and_subnets_of_others_are_left_alone() {
    let node = Node::new();
    let bridge = name("taken0");
    let mut here = node.route();
    here.perform(&[link::create_bridge(&bridge, Mac([2, 0, 0, 0, 0, 9])), link::set_up(&bridge)]).unwrap();
    let index = here.link_by_name(&bridge).unwrap().unwrap().index;
    here.perform(&[address::add(index, crate::ground::cidr("10.99.7.1", 24))]).unwrap();
    node.nft(&[
        "add table inet theirs; add chain inet theirs postrouting { type nat hook postrouting priority 100; }; \
                add rule inet theirs postrouting accept",
    ]);
    let rules = node.nft(&["list", "ruleset"]);
    for (config, words) in [
        (Config { bridge: "taken0".to_owned(), ..node.config() }, "link taken0 is there already and not ours"),
        (
            Config { subnet: (Ipv4Addr::new(10, 99, 0, 0), 16), ..node.config() },
            "subnet 10.99.0.0/16 is in use: 10.99.7.0/24 leads over taken0; choose another subnet",
        ),
        (Config { nft_table: "theirs".to_owned(), ..node.config() }, "nft table theirs is there already and not ours"),
    ] {
        let network = node.network(config);
        let pod = Pod::new("a");
        let failure = pod.attach(&network).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::WrongState);
        assert!(failure.message.contains(words), "{}", failure.message);
        assert_eq!(run(network.leftovers()).unwrap(), []);
    }
    assert_eq!(node.nft(&["list", "ruleset"]), rules);
}

#[test]
fn second_daemon_with_the_same_bridge_is_told_whose_it_is() {
    let node = Node::new();
    let first = node.network(node.config());
    Pod::new("a").address(&first);
    let second = node.network(Config { ipam_dir: node.folder.path().join("elsewhere"), ..node.config() });
    let failure = run(second.ready()).unwrap_err();
    assert!(failure.message.contains("orlop network default 10.88.0.0/16"), "{}", failure.message);
}

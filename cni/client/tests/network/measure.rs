//! How long it takes. Not a test of a bound: the figures depend on who else uses the machine.

use crate::ground::{Node, Pod, name, run, spec, tcp, udp};
use orlop_cni_plugins::bridge::port_name;
use orlop_model::ports::Network;
use orlop_model::sandbox::{PortMapping, SandboxSpec};
use orlop_netlink::link;
use std::time::{Duration, Instant};

const ROUNDS: usize = 100;

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

#[test]
#[ignore = "a measurement: run it with --ignored --nocapture on a quiet machine"]
fn time_of_attach_and_detach() {
    let node = Node::new();
    let network = node.network(node.config());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for dying in [false, true] {
        let (mut attach, mut detach) = (Vec::new(), Vec::new());
        let mut kept = Vec::new();
        for n in 0..ROUNDS {
            let Pod { id, ns } = Pod::new(&format!("pod{dying}{n}"));
            let namespace = Pod { id: id.clone(), ns: ns.try_clone().unwrap() }.namespace();
            let before = Instant::now();
            runtime.block_on(network.attach(&id, &spec(), namespace)).unwrap();
            attach.push(before.elapsed());
            if dying {
                drop(ns);
            } else {
                kept.push(ns);
            }
            let before = Instant::now();
            runtime.block_on(network.detach(&id)).unwrap();
            detach.push(before.elapsed());
        }
        eprintln!("namespace dying: {dying}; attach {:?}, detach {:?} (median, 99th)", median(attach), median(detach));
    }
    run(network.end()).unwrap();
}

/// What a detach would cost if it deleted the link.
#[test]
#[ignore = "a measurement: run it with --ignored --nocapture on a quiet machine"]
fn time_of_deleting_a_link() {
    let node = Node::new();
    let network = node.network(node.config());
    let mut here = node.route();
    let mut times = Vec::new();
    for n in 0..ROUNDS {
        let pod = Pod::new(&format!("pod{n}"));
        pod.address(&network);
        let port = port_name(&name("orlop0"), pod.id.as_str());
        let before = Instant::now();
        here.perform(&[link::delete(&port)]).unwrap();
        times.push(before.elapsed());
        run(network.detach(&pod.id)).unwrap();
    }
    eprintln!("delete {:?} (median, 99th)", median(times));
    run(network.end()).unwrap();
}

/// What ports of the node add, by their number, on a node where others have some already.
#[test]
#[ignore = "a measurement: run it with --ignored --nocapture on a quiet machine"]
fn time_of_host_ports() {
    let node = Node::new();
    let network = node.network(node.config());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let others = Pod::new("others");
    let many: Vec<PortMapping> = (0..500).map(|n| tcp(30000 + n, 80)).collect();
    others.publish(&network, &many).unwrap();
    let publish: [fn(u16, u16) -> PortMapping; 2] = [tcp, udp];
    for (protocol, port) in ["tcp", "udp"].into_iter().zip(publish) {
        for number in [0, 1, 10, 500] {
            let (mut attach, mut detach) = (Vec::new(), Vec::new());
            let spec = SandboxSpec { ports: (0..number).map(|n| port(12000 + n, 80)).collect(), ..spec() };
            for n in 0..ROUNDS {
                let pod = Pod::new(&format!("{protocol}{number}-{n}"));
                let namespace = pod.namespace();
                let before = Instant::now();
                runtime.block_on(network.attach(&pod.id, &spec, namespace)).unwrap();
                attach.push(before.elapsed());
                let before = Instant::now();
                runtime.block_on(network.detach(&pod.id)).unwrap();
                detach.push(before.elapsed());
            }
            eprintln!(
                "{number} {protocol} ports; attach {:?}, detach {:?} (median, 99th)",
                median(attach),
                median(detach)
            );
        }
    }
    run(network.detach(&others.id)).unwrap();
    run(network.end()).unwrap();
}

//! How long it takes. Not a test of a bound: the figures depend on who else uses the machine.

use crate::ground::{Node, Pod, name, run, spec};
use orlop_cni_plugins::bridge::port_name;
use orlop_model::ports::Network;
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

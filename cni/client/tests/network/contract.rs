//! The built-in networks keep every contract of the network port, against the kernel.

use crate::ground::{Node, Pod};
use orlop_contract::network::{NetworkGround, PLACES};
use orlop_model::SandboxId;
use orlop_model::ports::{Network, NetworkNamespace};
use orlop_network::{Config, Networks};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A node with a network of as many addresses as the contracts want.
struct Ground {
    node: Node,
    network: Networks,
    pods: BTreeMap<SandboxId, Pod>,
}

impl Ground {
    fn new() -> Self {
        let node = Node::new();
        Self { network: open(&node), node, pods: BTreeMap::new() }
    }
}

fn open(node: &Node) -> Networks {
    // Of the eight addresses of a /29 three are the network's, the bridge's and the broadcast's.
    const _: () = assert!(PLACES == 8 - 3);
    let pods = node.network(Config { subnet: (Ipv4Addr::new(10, 88, 0, 0), 29), ..node.config() });
    Networks::new(pods, vec![node.network(node.second())])
}

impl NetworkGround for Ground {
    fn network(&self) -> &dyn Network {
        &self.network
    }

    fn namespace(&mut self, id: &SandboxId) -> NetworkNamespace {
        self.pods.entry(id.clone()).or_insert_with(|| Pod::new(id.as_str())).namespace()
    }

    fn drop_namespace(&mut self, id: &SandboxId) {
        self.pods.remove(id);
    }

    fn restart(&mut self) {
        self.network = open(&self.node);
    }
}

macro_rules! ground {
    ($name:expr) => {{
        let _ = $name;
        Ground::new()
    }};
}

orlop_contract::network!([tokio::test], ground);

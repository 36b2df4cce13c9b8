//! Networks in memory.

use crate::{Bug, Node, World};
use orlop_model::SandboxId;
use orlop_model::error::Result;
use orlop_model::ports::{Answer, Network, NetworkNamespace};
use orlop_model::sandbox::{NamespaceScope, Networks, SandboxSpec};
use orlop_model::sandbox_state::Attachment;
use orlop_model::usage::InterfaceUsage;
use std::net::Ipv4Addr;

/// The first address of a pod.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

impl Network for World {
    fn attach<'a>(
        &'a self,
        id: &'a SandboxId,
        spec: &'a SandboxSpec,
        _namespace: NetworkNamespace,
    ) -> Answer<'a, Result<Vec<Attachment>>> {
        Box::pin(async move {
            self.begins().await;
            let network = match (spec.network, &spec.networks) {
                (NamespaceScope::Host, _) => return Ok(Vec::new()),
                (NamespaceScope::Sandbox, Networks::Default) => "sim".to_owned(),
                (NamespaceScope::Sandbox, Networks::Named(names)) => match names.as_slice() {
                    [] => return Ok(Vec::new()),
                    [name, ..] => name.clone(),
                },
            };
            let address = {
                let mut node = self.node();
                node.makes_of_sandbox("the address", id);
                node.reserve_address(id)
            };
            self.effect("attach").await?;
            let addresses = vec![address.into()];
            self.answers(vec![Attachment { network, interface: "eth0".to_owned(), addresses, ..Attachment::default() }])
                .await
        })
    }

    fn detach<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("detach").await?;
            {
                let mut node = self.node();
                node.gives_address_back(id);
                if !node.has(Bug::AddressKept) {
                    node.addresses.remove(id);
                }
            }
            self.answers(()).await
        })
    }

    fn usage<'a>(&'a self, ids: &'a [SandboxId]) -> Answer<'a, Result<Vec<Vec<InterfaceUsage>>>> {
        let attached = self.node().addresses.clone();
        let one = |id: &SandboxId| {
            let usage =
                InterfaceUsage { name: "eth0".to_owned(), rx_bytes: 1, rx_errors: 0, tx_bytes: 2, tx_errors: 0 };
            if attached.contains_key(id) { vec![usage] } else { Vec::new() }
        };
        let all = ids.iter().map(one).collect();
        Box::pin(std::future::ready(Ok(all)))
    }

    fn leftovers(&self) -> Answer<'_, Result<Vec<SandboxId>>> {
        let addresses = self.node().addresses.keys().cloned().collect();
        Box::pin(std::future::ready(Ok(addresses)))
    }

    fn ready(&self) -> Answer<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Node {
    /// Returns the address of a sandbox: the one it has, or the first that nobody has.
    fn reserve_address(&mut self, id: &SandboxId) -> Ipv4Addr {
        let held = &self.addresses;
        let free = || (FIRST_ADDRESS..).find(|address| !held.values().any(|taken| taken == address));
        let address = held.get(id).copied().or_else(free).unwrap_or(FIRST_ADDRESS);
        self.addresses.insert(id.clone(), address);
        address
    }
}

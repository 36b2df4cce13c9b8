//! Networks in memory.

use crate::{Bug, World};
use orlop_model::SandboxId;
use orlop_model::error::Result;
use orlop_model::ports::{Answer, Network, NetworkNamespace};
use orlop_model::sandbox::SandboxSpec;
use orlop_model::sandbox_state::Attachment;

impl Network for World {
    fn attach<'a>(
        &'a self,
        id: &'a SandboxId,
        _spec: &'a SandboxSpec,
        _namespace: NetworkNamespace,
    ) -> Answer<'a, Result<Vec<Attachment>>> {
        Box::pin(async move {
            self.begins().await;
            {
                let mut node = self.node();
                node.makes_of_sandbox("the address", id);
                node.addresses.insert(id.clone());
            }
            self.effect("attach").await?;
            let addresses = vec![std::net::Ipv4Addr::new(10, 0, 0, 2).into()];
            self.answers(vec![Attachment { network: "sim".to_owned(), interface: "eth0".to_owned(), addresses }]).await
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

    fn leftovers(&self) -> Answer<'_, Result<Vec<SandboxId>>> {
        let addresses = self.node().addresses.iter().cloned().collect();
        Box::pin(std::future::ready(Ok(addresses)))
    }

    fn ready(&self) -> Answer<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

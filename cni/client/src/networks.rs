//! All networks of a node as one port: the pod network, and others that sandboxes ask for by name.

use crate::default_network::{DefaultNetwork, Ended};
use crate::error::Error;
use orlop_model::error::Result;
use orlop_model::ports::{Answer, Network, NetworkNamespace};
use orlop_model::sandbox::{NamespaceScope, Networks as Asked, SandboxSpec};
use orlop_model::sandbox_state::Attachment;
use orlop_model::usage::InterfaceUsage;
use orlop_model::{Failure, SandboxId};
use std::collections::BTreeSet;
use tracing::warn;

/// The networks of a node. A sandbox that names none is attached to the first one alone.
#[derive(Debug)]
pub struct Networks {
    pods: DefaultNetwork,
    others: Vec<DefaultNetwork>,
}

impl Networks {
    /// Puts networks together. No two have a name, bridge, subnet, table or folder in common.
    #[must_use]
    pub fn new(pods: DefaultNetwork, others: Vec<DefaultNetwork>) -> Self {
        Self { pods, others }
    }

    /// Removes what was made for each network that no sandbox is attached to.
    ///
    /// # Errors
    /// The first failure; all are ended nevertheless.
    pub async fn end(&self) -> Result<Ended> {
        let mut ended = self.pods.end().await;
        for other in &self.others {
            ended = match (ended, other.end().await) {
                (Err(failure), _) | (Ok(_), Err(failure)) => Err(failure),
                (Ok(Ended::Kept(one)), Ok(Ended::Kept(two))) => Ok(Ended::Kept(one + two)),
                (Ok(Ended::Removed), Ok(ended)) | (Ok(ended), Ok(Ended::Removed)) => Ok(ended),
            };
        }
        ended
    }

    async fn attach(&self, id: &SandboxId, spec: &SandboxSpec, inside: NetworkNamespace) -> Result<Vec<Attachment>> {
        match (spec.network, &spec.networks) {
            (NamespaceScope::Host, _) => Ok(Vec::new()),
            (NamespaceScope::Sandbox, Asked::Default) => Network::attach(&self.pods, id, spec, inside).await,
            (NamespaceScope::Sandbox, Asked::Named(names)) => match names.as_slice() {
                [] => self.pods.loopback(id, inside).await.map(|()| Vec::new()),
                [name] => {
                    let refused = |error| Failure::from(error).while_trying(format!("attach sandbox {id}"));
                    let network = self.all().find(|network| network.name() == name);
                    let network = network.ok_or_else(|| refused(Error::NoNetwork(name.clone())))?;
                    Network::attach(network, id, spec, inside).await
                }
                many => Err(Error::ManyNetworks(many.len()).into()),
            },
        }
    }

    /// Goes on after a failure, so that one network never keeps the addresses of another.
    async fn detach(&self, id: &SandboxId) -> Result<()> {
        let mut detached = Network::detach(&self.pods, id).await;
        for other in &self.others {
            let other = other.detach_holder(id).await;
            detached = detached.and(other);
        }
        detached
    }

    async fn usage(&self, ids: &[SandboxId]) -> Result<Vec<Vec<InterfaceUsage>>> {
        let mut usage = Network::usage(&self.pods, ids).await?;
        for other in &self.others {
            for (all, more) in usage.iter_mut().zip(Network::usage(other, ids).await?) {
                all.extend(more);
            }
        }
        Ok(usage)
    }

    async fn leftovers(&self) -> Result<Vec<SandboxId>> {
        let mut ids = BTreeSet::new();
        for network in self.all() {
            ids.extend(Network::leftovers(network).await?);
        }
        Ok(ids.into_iter().collect())
    }

    /// The node is ready when pods can be attached; what is wrong with another network is only told.
    async fn ready(&self) -> Result<()> {
        for other in &self.others {
            if let Err(failure) = Network::ready(other).await {
                warn!(network = other.name(), error = %failure, "a network can't be used now");
            }
        }
        Network::ready(&self.pods).await
    }

    fn all(&self) -> impl Iterator<Item = &DefaultNetwork> {
        std::iter::once(&self.pods).chain(&self.others)
    }
}

impl Network for Networks {
    fn attach<'a>(
        &'a self,
        id: &'a SandboxId,
        spec: &'a SandboxSpec,
        namespace: NetworkNamespace,
    ) -> Answer<'a, Result<Vec<Attachment>>> {
        Box::pin(self.attach(id, spec, namespace))
    }

    fn detach<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, Result<()>> {
        Box::pin(self.detach(id))
    }

    fn usage<'a>(&'a self, ids: &'a [SandboxId]) -> Answer<'a, Result<Vec<Vec<InterfaceUsage>>>> {
        Box::pin(self.usage(ids))
    }

    fn leftovers(&self) -> Answer<'_, Result<Vec<SandboxId>>> {
        Box::pin(self.leftovers())
    }

    fn ready(&self) -> Answer<'_, Result<()>> {
        Box::pin(self.ready())
    }
}

//! The built-in network as the Network port.

use crate::asked_ports::AskedPorts;
use crate::config::Config;
use crate::error::Error;
use crate::moments::Moments;
use crate::worker::Worker;
use orlop_model::error::Result;
use orlop_model::ports::{Answer, Failpoints, Network, NetworkNamespace, Unhindered};
use orlop_model::sandbox::{NamespaceScope, SandboxSpec};
use orlop_model::sandbox_state::Attachment;
use orlop_model::usage::InterfaceUsage;
use orlop_model::{Failure, SandboxId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest attach. Some ten calls to the kernel, each bounded by itself, and a place in the queue; the kubelet gives a
/// sandbox two minutes.
pub const ATTACH_WAIT: Duration = Duration::from_secs(30);
/// Longest detach; it fails rather than hold up the driver, which tries again.
pub const DETACH_WAIT: Duration = Duration::from_secs(30);
/// Longest listing and check: a status must answer while the kubelet waits.
pub const LOOK_WAIT: Duration = Duration::from_secs(10);
/// Longest end: a bridge takes some 20 ms, as does each link left behind.
pub const END_WAIT: Duration = Duration::from_secs(60);

/// The built-in network.
pub struct DefaultNetwork {
    name: String,
    worker: Worker,
}

/// What came of an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing of the network is left.
    Removed,
    /// Pods still hold this many addresses, so all of it stays.
    Kept(usize),
}

impl DefaultNetwork {
    /// Makes the network in the network namespace of the calling thread. The bridge comes with the first pod.
    ///
    /// # Errors
    /// When a setting can't be right, or no thread or socket can be made.
    pub fn new(config: Config) -> Result<Self, Error> {
        Self::with_failpoints(config, Arc::new(Unhindered))
    }

    /// The same, where tests interfere.
    ///
    /// # Errors
    /// Likewise.
    pub fn with_failpoints(config: Config, failpoints: Arc<dyn Failpoints>) -> Result<Self, Error> {
        let name = config.name.clone();
        Ok(Self { name, worker: Worker::start(config.parse()?, Moments(failpoints))? })
    }

    /// Removes bridge, nft table and address folder, unless a pod is attached. Forwarding stays on: others may have come
    /// to rely on it.
    ///
    /// # Errors
    /// When the kernel refuses, or not in time.
    pub async fn end(&self) -> Result<Ended> {
        let ended = self.worker.run(END_WAIT, |node| node.end()).await;
        match ended.map_err(|error| self.failed("end", error))? {
            0 => Ok(Ended::Removed),
            held => Ok(Ended::Kept(held)),
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives a sandbox its loopback and nothing else.
    pub(crate) async fn loopback(&self, id: &SandboxId, inside: NetworkNamespace) -> Result<()> {
        let done = self.worker.run(ATTACH_WAIT, move |node| node.loopback(inside)).await;
        done.map_err(|error| self.failed(&format!("give sandbox {id} its loopback beside"), error))
    }

    /// Detaches a sandbox if it has anything of this network.
    pub(crate) async fn detach_holder(&self, id: &SandboxId) -> Result<()> {
        let owned = id.clone();
        let detached = self.worker.run(DETACH_WAIT, move |node| node.detach_holder(&owned)).await;
        detached.map_err(|error| self.failed(&format!("detach sandbox {id} from"), error))
    }

    async fn attach(&self, id: &SandboxId, spec: &SandboxSpec, inside: NetworkNamespace) -> Result<Vec<Attachment>> {
        match spec.network {
            NamespaceScope::Host => return Ok(Vec::new()),
            NamespaceScope::Sandbox => {}
        }
        let tried = || format!("attach sandbox {id} to");
        let mac = spec.mac.map(orlop_netlink::link::Mac);
        let ports = AskedPorts::parse(&spec.ports).map_err(|error| self.failed(&tried(), error))?;
        let owned = id.clone();
        let attached = self.worker.run(ATTACH_WAIT, move |node| node.attach(&owned, &ports, mac, inside)).await;
        attached.map(|attachment| vec![attachment]).map_err(|error| self.failed(&tried(), error))
    }

    async fn detach(&self, id: &SandboxId) -> Result<()> {
        let owned = id.clone();
        let detached = self.worker.run(DETACH_WAIT, move |node| node.detach(&owned)).await;
        detached.map_err(|error| self.failed(&format!("detach sandbox {id} from"), error))
    }

    async fn holders(&self) -> Result<Vec<SandboxId>> {
        let holders = self.worker.run(LOOK_WAIT, |node| node.holders()).await;
        holders.map_err(|error| self.failed("list the sandboxes of", error))
    }

    async fn traffic(&self, ids: &[SandboxId]) -> Result<Vec<Vec<InterfaceUsage>>> {
        let owned = ids.to_vec();
        let traffic = self.worker.run(LOOK_WAIT, move |node| node.traffic(&owned)).await;
        let traffic = traffic.map_err(|error| self.failed("read what passed over", error))?;
        Ok(traffic.into_iter().map(|interface| interface.into_iter().collect()).collect())
    }

    async fn check(&self) -> Result<()> {
        let ready = self.worker.run(LOOK_WAIT, |node| node.ready()).await;
        ready.map_err(|error| self.failed("check", error))
    }

    fn failed(&self, tried: &str, error: Error) -> Failure {
        Failure::from(error).while_trying(format!("{tried} network {}", self.name))
    }
}

impl Network for DefaultNetwork {
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
        Box::pin(self.traffic(ids))
    }

    fn leftovers(&self) -> Answer<'_, Result<Vec<SandboxId>>> {
        Box::pin(self.holders())
    }

    fn ready(&self) -> Answer<'_, Result<()>> {
        Box::pin(self.check())
    }
}

impl fmt::Debug for DefaultNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultNetwork").field("name", &self.name).finish_non_exhaustive()
    }
}

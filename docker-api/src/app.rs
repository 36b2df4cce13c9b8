//! What every request shares.

use crate::annex::Annex;
use crate::events::Events;
use crate::metrics::DockerMetrics;
use crate::names::Names;
use orlop_model::record::Durability;
use orlop_model::{Namespace, Timestamp};
use orlop_usecases::{Facade, Policy};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

/// The partition of what clients of this API make.
const NAMESPACE: &str = "docker";

/// Settings of the facade.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of containers' logs and files of ours; survives a boot.
    pub folder: PathBuf,
    /// Version of the daemon.
    pub version: &'static str,
    /// The network of containers that ask for none.
    pub bridge: Bridge,
}

/// The network `bridge`, for who asks what it is.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Its link on the node.
    pub link: String,
    /// Its first address.
    pub network: Ipv4Addr,
    /// Length of its prefix, bits.
    pub prefix: u8,
}

impl Bridge {
    /// Returns the address that the node has in it.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }

    pub(crate) fn ipam(&self) -> Value {
        json!([{ "Subnet": format!("{}/{}", self.network, self.prefix), "Gateway": self.gateway() }])
    }
}

/// Returns the partition of what clients of this API make.
#[must_use]
pub fn namespace() -> Namespace {
    Namespace(NAMESPACE.to_owned())
}

/// Returns what the engine refuses these clients, and when: Docker's containers outlast a boot and start again.
#[must_use]
pub fn policy() -> Policy {
    Policy {
        durability: Durability::Node,
        restart: true,
        in_not_ready: true,
        // Names are ours, and unique: two requests are never the same.
        difference: |_, _| Some("request".to_owned()),
    }
}

/// What every request shares.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) facade: Facade,
    pub(crate) config: Config,
    pub(crate) metrics: DockerMetrics,
    pub(crate) names: Names,
    pub(crate) events: Events,
    /// When this daemon began to serve.
    pub(crate) began: Timestamp,
}

impl App {
    pub(crate) fn new(facade: Facade, config: Config, metrics: DockerMetrics) -> Arc<Self> {
        let named = facade.containers().into_iter().map(|view| (Annex::read(&view).name, view.asked.id.clone()));
        let names = Names::of(named.collect::<Vec<_>>());
        Arc::new(Self { facade, config, metrics, names, events: Events::default(), began: crate::time::now() })
    }
}

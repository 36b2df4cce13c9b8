//! The network as seen from its thread: what attach, detach and the rest do, step by step.

use crate::asked_ports::{self, AskedPorts};
use crate::config::{Nat, Parts};
use crate::error::Error;
use crate::host_ports::HostPorts;
use crate::moments::Moments;
use crate::worker::Stage;
use orlop_cni_plugins::bridge::{self, Bridge, Made, Port};
use orlop_cni_plugins::host_local::Pool;
use orlop_cni_plugins::masquerade::{self, Masquerade};
use orlop_cni_plugins::{Error as Plugin, Seen, loopback};
use orlop_model::SandboxId;
use orlop_model::effect::NetworkEffect as Part;
use orlop_model::ports::NetworkNamespace;
use orlop_model::sandbox_state::Attachment;
use orlop_model::usage::InterfaceUsage;
use orlop_netlink::link::Mac;
use orlop_netlink::nft::NftSocket;
use orlop_netlink::{Cidr, LinkName, RouteSocket, Traffic};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use tracing::{info, warn};

/// The interface that a pod's addresses are on.
const INTERFACE: &str = "eth0";

/// All that the thread owns.
pub(crate) struct Node {
    route: RouteSocket,
    nft: NftSocket,
    name: String,
    bridge: Bridge,
    nat: Nat,
    masquerade: Masquerade,
    pool: Pool,
    host_ports: HostPorts,
    interface: LinkName,
    /// What aliases of our pods' links begin with.
    owner_begins: String,
    /// The bridge, once it was made or found.
    made: Option<Made>,
    /// When the masquerade was last seen whole.
    seen: Option<Seen>,
    stage: Stage,
    moments: Moments,
}

impl Node {
    pub(crate) fn new(parts: Parts, moments: Moments, stage: Stage) -> Result<Self, Error> {
        Ok(Self {
            route: RouteSocket::open().map_err(Error::OwnSocket)?,
            nft: NftSocket::open().map_err(Error::OwnSocket)?,
            owner_begins: format!("orlop pod on {}: ", parts.bridge.name),
            host_ports: HostPorts::new(parts.name.clone(), parts.host_ports, parts.ports_folder)?,
            name: parts.name,
            bridge: parts.bridge,
            nat: parts.nat,
            masquerade: parts.masquerade,
            pool: parts.pool,
            interface: LinkName::parse(INTERFACE)?,
            made: None,
            seen: None,
            stage,
            moments,
        })
    }

    /// Attaches a pod. On failure nothing is left of the attempt but what could not be undone.
    pub(crate) fn attach(
        &mut self,
        id: &SandboxId,
        ports: &AskedPorts,
        mac: Option<Mac>,
        inside: NetworkNamespace,
    ) -> Result<Attachment, Error> {
        let mut pod = RouteSocket::over(inside.route_socket).map_err(Error::PodSocket)?;
        self.stage.set("bring up the pod's loopback");
        loopback::up(&mut pod)?;
        self.ensure()?;
        // The reservations are the journal: written before anything leads to the pod, and erased when nothing does any more.
        // Whatever a crash leaves between is found by them, and detached.
        match self.connect(id, ports, mac, inside.namespace.as_fd(), &mut pod) {
            Ok(addresses) => Ok(self.attachment(id, &addresses, mac)),
            Err(error) => Err(self.undo(id, error)),
        }
    }

    /// Says only that its loopback is up: for a pod that no network is attached to.
    pub(crate) fn loopback(&mut self, inside: NetworkNamespace) -> Result<(), Error> {
        let mut pod = RouteSocket::over(inside.route_socket).map_err(Error::PodSocket)?;
        self.stage.set("bring up the pod's loopback");
        Ok(loopback::up(&mut pod)?)
    }

    fn attachment(&self, id: &SandboxId, addresses: &[Cidr], mac: Option<Mac>) -> Attachment {
        let mac = mac.or_else(|| addresses.first().map(|own| bridge::mac(own.address())));
        Attachment {
            network: self.name.clone(),
            interface: INTERFACE.to_owned(),
            addresses: addresses.iter().map(|own| own.address()).collect(),
            prefixes: addresses.iter().map(|own| own.prefix()).collect(),
            gateway: self.bridge.gateways.first().map(|own| own.address()),
            mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
            ports: self.host_ports.of(id.as_str()).iter().map(asked_ports::asked).collect(),
        }
    }

    fn connect(
        &mut self,
        id: &SandboxId,
        ports: &AskedPorts,
        mac: Option<Mac>,
        namespace: BorrowedFd<'_>,
        pod: &mut RouteSocket,
    ) -> Result<Vec<Cidr>, Error> {
        let moments = self.moments.clone();
        self.stage.set("reserve an address");
        let reserve = || Ok(self.pool.reserve(id.as_str(), INTERFACE)?);
        let addresses = moments.around(Part::ReserveAddress, reserve)?;
        moments.around(Part::ReservePorts, || self.reserve_ports(id, ports, &addresses))?;
        moments.around(Part::Plug, || self.plug(id, mac, namespace, pod, &addresses))?;
        moments.around(Part::OpenPorts, || self.open_ports(id))?;
        Ok(addresses)
    }

    /// Detaches a pod if it has anything of this network.
    pub(crate) fn detach_holder(&mut self, id: &SandboxId) -> Result<(), Error> {
        self.stage.set("look whether the pod holds an address");
        let holds = self.pool.held()?.values().any(|holder| holder.id == id.as_str());
        if holds || self.host_ports.held().contains_key(id.as_str()) { self.detach(id) } else { Ok(()) }
    }

    /// Detaches a pod: no port leads to it, whoever held its link, nothing passes over it any more, and its address is free.
    pub(crate) fn detach(&mut self, id: &SandboxId) -> Result<(), Error> {
        let moments = self.moments.clone();
        self.stage.set("close the pod's host ports");
        let closed = moments.around(Part::ClosePorts, || self.host_ports.close(&mut self.nft, id.as_str()));
        self.stage.set("unplug the pod's link");
        let (name, owner) = (self.port_name(id), self.owner(id));
        moments.around(Part::Unplug, || Ok(bridge::unplug(&mut self.route, &name, &owner)?))?;
        // Only now: a pod whose ports can't be closed is unplugged all the same.
        closed?;
        self.stage.set("give the host ports back");
        moments.around(Part::ReleasePorts, || self.host_ports.forget(id.as_str()))?;
        self.stage.set("give the address back");
        moments.around(Part::ReleaseAddress, || Ok(self.pool.release(id.as_str(), INTERFACE)?))
    }

    /// Lists who holds an address or a host port.
    pub(crate) fn holders(&mut self) -> Result<Vec<SandboxId>, Error> {
        self.stage.set("list the addresses held");
        let mut ids: BTreeSet<&str> = self.pool.held()?.values().map(|holder| holder.id.as_str()).collect();
        ids.extend(self.host_ports.held().keys().map(String::as_str));
        let parsed = ids.into_iter().filter_map(|id| {
            let parsed = SandboxId::parse(id);
            if let Err(error) = &parsed {
                warn!(network = self.name, holder = id, %error, "an address or port is held under an id that is none of ours");
            }
            parsed.ok()
        });
        Ok(parsed.collect())
    }

    /// Says whether a pod could be attached now. Once the bridge is there, also from before a restart, repairs what others
    /// deleted.
    pub(crate) fn ready(&mut self) -> Result<(), Error> {
        self.stage.set("look at the bridge");
        if self.made.is_some() || bridge::find(&mut self.route, &self.bridge)?.is_some() {
            return self.ensure();
        }
        match self.nat {
            Nat::On => {}
            Nat::Off => return Ok(()),
        }
        self.stage.set("look at nf_tables");
        self.nft.generation().map_err(|source| {
            let tried = "ask nf_tables (CONFIG_NF_TABLES) for its state".to_owned();
            Error::Plugin(Plugin::Netlink { tried, source })
        })?;
        Ok(())
    }

    /// Says what passed over the links of pods, as the pods see it; `None` for one that has none.
    ///
    /// Read at the end of the link that is here, all pods in one call: what it sends, the pod receives.
    pub(crate) fn traffic(&mut self, ids: &[SandboxId]) -> Result<Vec<Option<InterfaceUsage>>, Error> {
        self.stage.set("read the counters of links");
        let links = self.route.traffic().map_err(|source| {
            Error::Plugin(Plugin::Netlink { tried: "read the counters of links".to_owned(), source })
        })?;
        let links: HashMap<String, Traffic> = links.into_iter().collect();
        let name = self.interface.as_str();
        let seen = |here: &Traffic| InterfaceUsage {
            name: name.to_owned(),
            rx_bytes: here.tx_bytes,
            rx_errors: here.tx_errors,
            tx_bytes: here.rx_bytes,
            tx_errors: here.rx_errors,
        };
        Ok(ids.iter().map(|id| links.get(self.port_name(id).as_str()).map(seen)).collect())
    }

    /// Removes bridge, table and folders unless a pod holds an address or port. Returns how many do.
    pub(crate) fn end(&mut self) -> Result<usize, Error> {
        self.stage.set("list the addresses held");
        let mut holders: BTreeSet<&str> = self.pool.held()?.values().map(|holder| holder.id.as_str()).collect();
        holders.extend(self.host_ports.held().keys().map(String::as_str));
        if !holders.is_empty() {
            return Ok(holders.len());
        }
        self.stage.set("delete links of pods that are gone");
        self.sweep()?;
        self.stage.set("delete the bridge");
        bridge::remove(&mut self.route, &self.bridge)?;
        match self.nat {
            Nat::On => {
                self.stage.set("delete the nft table");
                masquerade::remove(&mut self.nft, &self.masquerade)?;
            }
            Nat::Off => {}
        }
        self.stage.set("delete the folders");
        self.host_ports.remove()?;
        self.pool.remove()?;
        self.made = None;
        self.seen = None;
        Ok(0)
    }

    /// Makes bridge, masquerade and host ports unless they are there.
    fn ensure(&mut self) -> Result<(), Error> {
        self.stage.set("look at the bridge");
        if let Some(made) = &self.made
            && !bridge::is_there(&mut self.route, made)?
        {
            warn!(network = self.name, bridge = %self.bridge.name, "the bridge was deleted or taken down; making it again");
            self.made = None;
        }
        if self.made.is_none() {
            self.stage.set("make the bridge");
            self.made = Some(bridge::ensure(&mut self.route, &self.bridge)?);
            info!(network = self.name, bridge = %self.bridge.name, "the bridge is up");
            self.stage.set("delete links of pods that are gone");
            self.sweep()?;
        }
        match self.nat {
            Nat::On => {}
            Nat::Off => return Ok(()),
        }
        self.stage.set("set up masquerade");
        self.seen = Some(masquerade::ensure(&mut self.nft, &self.masquerade, self.seen)?);
        self.stage.set("set up host ports");
        self.host_ports.ensure(&mut self.nft)
    }

    fn reserve_ports(&mut self, id: &SandboxId, ports: &AskedPorts, addresses: &[Cidr]) -> Result<(), Error> {
        self.stage.set("reserve host ports");
        let own = addresses.iter().find_map(|own| match own.address() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        let mut wanted = own.map(|own| ports.to(own)).unwrap_or_default();
        if let Some(own) = own {
            self.host_ports.choose(id.as_str(), own, ports.wishes(), &mut wanted)?;
        }
        if let (Nat::Off, Some(first)) = (self.nat, wanted.first()) {
            return Err(Error::NoNat(first.from));
        }
        self.host_ports.reserve(&mut self.nft, id.as_str(), wanted)
    }

    fn open_ports(&mut self, id: &SandboxId) -> Result<(), Error> {
        self.stage.set("open host ports");
        self.host_ports.open(&mut self.nft, id.as_str())
    }

    fn plug(
        &mut self,
        id: &SandboxId,
        mac: Option<Mac>,
        namespace: BorrowedFd<'_>,
        pod: &mut RouteSocket,
        addresses: &[Cidr],
    ) -> Result<(), Error> {
        self.stage.set("make the pod's link");
        let made = self.made.clone().expect("ensure() was called before");
        let (name, owner) = (self.port_name(id), self.owner(id));
        let port = Port {
            name: &name,
            owner: &owner,
            interface: &self.interface,
            addresses,
            mac,
            gateways: &self.bridge.gateways,
        };
        bridge::plug(&mut self.route, pod, namespace, &made, &port)?;
        Ok(())
    }

    /// Takes a failed attach back: ports and link first, and only then the address.
    fn undo(&mut self, id: &SandboxId, why: Error) -> Error {
        self.stage.set("undo a failed attach");
        let (name, owner) = (self.port_name(id), self.owner(id));
        let closed = self.host_ports.close(&mut self.nft, id.as_str());
        let deleted = bridge::delete(&mut self.route, &name, &owner).map_err(Error::from);
        let undone = closed.and(deleted).and_then(|()| self.host_ports.forget(id.as_str()));
        match undone.and_then(|()| Ok(self.pool.release(id.as_str(), INTERFACE)?)) {
            Ok(()) => why,
            Err(source) => {
                let attach = orlop_model::Failure::because(why.kind(), &why).message;
                Error::NotUndone { attach, source: Box::new(source) }
            }
        }
    }

    /// Deletes links of pods that hold no address: they were unplugged, but their namespace lives on.
    fn sweep(&mut self) -> Result<(), Error> {
        let held: BTreeSet<String> = self.pool.held()?.values().map(|holder| holder.id.clone()).collect();
        for link in bridge::owned(&mut self.route, &self.owner_begins)? {
            let owner = link.alias.as_deref().unwrap_or_default();
            let pod = owner.strip_prefix(&self.owner_begins).unwrap_or_default();
            if !held.contains(pod) {
                bridge::delete(&mut self.route, &LinkName::parse(&link.name)?, owner)?;
            }
        }
        Ok(())
    }

    fn port_name(&self, id: &SandboxId) -> LinkName {
        bridge::port_name(&self.bridge.name, id.as_str())
    }

    fn owner(&self, id: &SandboxId) -> String {
        format!("{}{id}", self.owner_begins)
    }
}

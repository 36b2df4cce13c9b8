//! The host ports of a network: book, claims and rules, in the order in which a crash does no harm.

use crate::asked_ports::Wish;
use crate::error::Error;
use nix::errno::Errno;
use orlop_cni_plugins::host_ports::{Book, Claims, Mapping, NodePort, Protocol, Rules};
use orlop_cni_plugins::{Error as Plugin, Seen};
use orlop_netlink::conntrack::{ConntrackSocket, Forgotten, Udp};
use orlop_netlink::nft::NftSocket;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use tracing::{debug, warn};

/// All that leads from ports of the node into pods.
#[derive(Debug)]
pub(crate) struct HostPorts {
    network: String,
    rules: Rules,
    book: Book,
    claims: Claims,
    conntrack: ConntrackSocket,
    /// When the rules were last seen whole.
    seen: Option<Seen>,
    /// The last port that was chosen for someone who wanted any.
    last_chosen: Option<u16>,
}

// === impl HostPorts ===

impl HostPorts {
    pub(crate) fn new(network: String, rules: Rules, folder: PathBuf) -> Result<Self, Error> {
        let book = Book::open(folder)?;
        for sandbox in book.unreadable() {
            warn!(
                network,
                sandbox, "the record of its host ports can't be read; they lead nowhere until it runs again"
            );
        }
        let conntrack = ConntrackSocket::open().map_err(Error::OwnSocket)?;
        Ok(Self { network, rules, book, claims: Claims::default(), conntrack, seen: None, last_chosen: None })
    }

    /// Returns a sandbox's ports.
    pub(crate) fn of(&self, id: &str) -> &[Mapping] {
        self.book.of(id)
    }

    /// Returns which sandbox has which ports.
    pub(crate) fn held(&self) -> &BTreeMap<String, Vec<Mapping>> {
        self.book.held()
    }

    /// Makes the rules unless they are there, with all ports of the book; also those from before a restart, and those that
    /// others deleted. Networks that never had a host port have no such rules.
    pub(crate) fn ensure(&mut self, nft: &mut NftSocket) -> Result<(), Error> {
        if self.book.held().is_empty() {
            return Ok(());
        }
        self.seen = Some(self.rules.ensure(nft, self.book.held().values().flatten(), self.seen)?);
        for (id, mappings) in self.book.held() {
            if let Err(error) = self.claims.claim(id, &ports(mappings)) {
                warn!(network = self.network, sandbox = id, %error, "a port was taken while no daemon ran; the sandbox keeps it");
                self.claims.give_up(id);
            }
        }
        Ok(())
    }

    /// Reserves ports for a sandbox, before anything leads there. Quiet when it has them.
    ///
    /// When it fails, none of them is reserved.
    pub(crate) fn reserve(&mut self, nft: &mut NftSocket, id: &str, wanted: Vec<Mapping>) -> Result<(), Error> {
        let had = self.book.of(id);
        if had == wanted {
            return Ok(());
        }
        if !had.is_empty() {
            // Left by an earlier life of the sandbox.
            self.close(nft, id)?;
            self.forget(id)?;
        }
        let ports = ports(&wanted);
        self.book.check(id, &ports)?;
        self.claims.claim(id, &ports)?;
        if let Err(error) = self.book.write(id, wanted) {
            self.claims.release(id);
            return Err(error.into());
        }
        Ok(())
    }

    /// Chooses ports of the node for those that asked for any: the ones they have already, or the first free ones.
    pub(crate) fn choose(
        &mut self,
        id: &str,
        to: Ipv4Addr,
        wishes: &[Wish],
        taken: &mut Vec<Mapping>,
    ) -> Result<(), Error> {
        let had = self.book.of(id).to_vec();
        for wish in wishes {
            let mine = |mapping: &&Mapping| wish.is_met_by(mapping) && mapping.to == to && !taken.contains(mapping);
            let mapping = match had.iter().find(mine) {
                Some(mapping) => *mapping,
                None => self.first_free(id, to, wish, taken)?,
            };
            taken.push(mapping);
        }
        Ok(())
    }

    fn first_free(&mut self, id: &str, to: Ipv4Addr, wish: &Wish, taken: &[Mapping]) -> Result<Mapping, Error> {
        let (first, last) = (*wish.numbers.start(), *wish.numbers.end());
        // Round robin, as with addresses: a port that was just given back is not at once another's.
        let from =
            self.last_chosen.filter(|last| wish.numbers.contains(last)).map_or(first, |last| last.saturating_add(1));
        let ports = (from..=last).chain(first..from).map(|number| NodePort {
            protocol: wish.protocol,
            address: wish.address,
            number,
        });
        let is_ours = |port: &NodePort| {
            taken.iter().any(|mapping| mapping.from.overlaps(port)) || self.book.check(id, [port]).is_err()
        };
        let Some(from) = Claims::first_free(ports.filter(|port| !is_ours(port)))? else {
            let address = wish.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
            return Err(Plugin::NoPortFree { first, last, address }.into());
        };
        if wish.is_any {
            self.last_chosen = Some(from.number);
        }
        Ok(Mapping { from, to, to_port: wish.to_port })
    }

    /// Leads the reserved ports into the pod. Quiet when they lead there.
    pub(crate) fn open(&mut self, nft: &mut NftSocket, id: &str) -> Result<(), Error> {
        let mappings = self.book.of(id).to_vec();
        if mappings.is_empty() {
            return Ok(());
        }
        match self.seen {
            None => self.ensure(nft)?,
            Some(seen) => match self.rules.open(nft, &mappings, seen) {
                Ok(seen) => self.seen = seen,
                // Not as they were a moment ago.
                Err(error) if is_stale(&error) => {
                    self.seen = None;
                    self.ensure(nft)?;
                }
                Err(error) => return Err(error.into()),
            },
        }
        // Who sent to the port before has an entry that says that it leads nowhere.
        let udp = mappings.iter().filter(|mapping| mapping.from.protocol == Protocol::Udp);
        let stale: Vec<Udp> =
            udp.map(|mapping| Udp::To { address: mapping.from.address, port: mapping.from.number }).collect();
        self.forget_connections(&stale);
        Ok(())
    }

    /// Leads a sandbox's ports nowhere. They stay reserved. Quiet when it has none.
    pub(crate) fn close(&mut self, nft: &mut NftSocket, id: &str) -> Result<(), Error> {
        let mappings = self.book.of(id).to_vec();
        if mappings.is_empty() {
            return Ok(());
        }
        self.seen = self.rules.close(nft, &mappings, self.seen)?;
        // Who keeps sending would keep being led to an address that may soon be another pod's.
        let mut pods: Vec<Ipv4Addr> = mappings
            .iter()
            .filter(|mapping| mapping.from.protocol == Protocol::Udp)
            .map(|mapping| mapping.to)
            .collect();
        pods.dedup();
        let stale: Vec<Udp> = pods.into_iter().map(Udp::AnsweredBy).collect();
        self.forget_connections(&stale);
        Ok(())
    }

    /// Gives a sandbox's ports back, once they lead nowhere. Quiet when it has none.
    pub(crate) fn forget(&mut self, id: &str) -> Result<(), Error> {
        self.book.erase(id)?;
        self.claims.release(id);
        Ok(())
    }

    /// Deletes the book; the rules go with their table.
    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        self.book.remove()?;
        self.seen = None;
        Ok(())
    }

    /// Without it, who sends on may wait for up to two minutes; that is no reason to fail.
    fn forget_connections(&mut self, which: &[Udp]) {
        match self.conntrack.forget(which) {
            Ok(Forgotten::Yes) => {}
            Ok(Forgotten::Unsupported) => {
                debug!(
                    network = self.network,
                    "this kernel can't forget udp connections by port; they end by themselves"
                );
            }
            Err(error) => {
                warn!(network = self.network, %error, "udp connections may go on leading to where they began")
            }
        }
    }
}

fn ports(mappings: &[Mapping]) -> Vec<NodePort> {
    mappings.iter().map(|mapping| mapping.from).collect()
}

/// Says whether the kernel refused because the table isn't as it was last seen.
fn is_stale(error: &Plugin) -> bool {
    match error {
        Plugin::Netlink { source, .. } => source.is(Errno::ENOENT) || source.is(Errno::EEXIST),
        Plugin::File { .. }
        | Plugin::Locked { .. }
        | Plugin::Exhausted { .. }
        | Plugin::Taken { .. }
        | Plugin::Overlap { .. }
        | Plugin::Vanished { .. }
        | Plugin::NotRunning { .. }
        | Plugin::PortHeld { .. }
        | Plugin::PortInUse { .. }
        | Plugin::NoPortFree { .. }
        | Plugin::PortNotReserved { .. }
        | Plugin::BadTableName { .. }
        | Plugin::TooSmall { .. } => false,
    }
}

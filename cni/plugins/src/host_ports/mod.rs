//! The portmap plugin: ports of the node that lead into pods.
//!
//! [`Book`] keeps on disk which pod has which port, [`Claims`] keeps processes of the node from taking one meanwhile, and
//! [`Rules`] sends packets: base chains and maps once per network, then one element of a map for each port, so that the
//! thousandth port costs what the first did.
//!
//! Invariant: a port is in the book before the kernel leads it anywhere, and until it leads nowhere.

mod book;
mod claim;
mod rules;
mod user;

pub use book::Book;
pub use claim::Claims;
pub use rules::Rules;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePort {
    /// Its protocol.
    pub protocol: Protocol,
    /// The address of the node; `None` is every address.
    pub address: Option<Ipv4Addr>,
    /// Its number, not 0.
    pub number: u16,
}

/// A port of the node that leads into a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mapping {
    /// The port of the node.
    pub from: NodePort,
    /// The pod's address.
    pub to: Ipv4Addr,
    /// The port inside.
    pub to_port: u16,
}

// === impl Protocol ===

impl Protocol {
    /// Every protocol.
    pub(crate) const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Returns its name as files and messages have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Returns its number in an IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

// === impl NodePort ===

impl NodePort {
    /// Says whether a packet could be meant for both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let addresses = match (self.address, other.address) {
            (Some(own), Some(other)) => own == other,
            (None, _) | (_, None) => true,
        };
        addresses && (self.protocol, self.number) == (other.protocol, other.number)
    }

    /// Returns address and number as bind(2) would be told, for messages.
    #[must_use]
    pub fn socket(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address.unwrap_or(Ipv4Addr::UNSPECIFIED), self.number)
    }
}

impl fmt::Display for NodePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}/{} of the node", self.number, self.protocol.name())?;
        match self.address {
            Some(address) => write!(f, " at {address}"),
            None => Ok(()),
        }
    }
}

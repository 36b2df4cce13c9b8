//! What can go wrong while a network is set up or taken down.

use crate::host_ports::NodePort;
use nix::errno::Errno;
use orlop_netlink::Cidr;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// Shorthand for what this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A plugin that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused or did not answer.
    #[error("{tried}")]
    Netlink {
        /// What was tried.
        tried: String,
        /// Why not.
        #[source]
        source: orlop_netlink::Error,
    },
    /// A file could not be read or written.
    #[error("{tried} {}", path.display())]
    File {
        /// What was tried.
        tried: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Someone else held the lock of a pool all the time.
    #[error("wait for the lock {}: held by another process for {} s", path.display(), after.as_secs())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// Every address is held.
    #[error("no address is free in {subnet}: {held} are held; remove pods, or give the network a wider subnet")]
    Exhausted {
        /// The subnet.
        subnet: Cidr,
        /// How many are held.
        held: usize,
    },
    /// A name is in use for something else.
    #[error("{what} {name} is there already and not ours ({found}); delete it, or choose another name for ours")]
    Taken {
        /// What has the name.
        what: &'static str,
        /// The name.
        name: String,
        /// What was found instead.
        found: String,
    },
    /// Addresses of the subnet are reached over another link.
    #[error("subnet {subnet} is in use: {route} leads over {link}; choose another subnet")]
    Overlap {
        /// The subnet wanted.
        subnet: Cidr,
        /// The route in its way.
        route: Cidr,
        /// The link of that route.
        link: String,
    },
    /// The kernel said that it made a link but does not know it.
    #[error("link {name} vanished while it was set up")]
    Vanished {
        /// Its name.
        name: String,
    },
    /// A link that is up passes no packets.
    #[error("link {name} is up but passes no packets after {} s", after.as_secs())]
    NotRunning {
        /// Its name.
        name: String,
        /// How long was waited.
        after: Duration,
    },
    /// A port of the node belongs to another pod.
    // The second half is what users of Docker, and their scripts, know.
    #[error(
        "{port} leads into {holder} already; stop that one, or choose another port: Bind for {} failed: port is already allocated",
        port.socket()
    )]
    PortHeld {
        /// Which.
        port: NodePort,
        /// The id of the pod.
        holder: String,
    },
    /// A process of the node has the port.
    #[error(
        "{port} is in use by {user}; end it, or choose another port: Bind for {} failed: port is already allocated",
        port.socket()
    )]
    PortInUse {
        /// Which.
        port: NodePort,
        /// Who it is, as far as that can be told.
        user: String,
    },
    /// No port of some that could be chosen is free.
    #[error(
        "none of the ports {first} to {last} of the node is free: Bind for {address} failed: all ports are allocated"
    )]
    NoPortFree {
        /// The first of them.
        first: u16,
        /// The last.
        last: u16,
        /// The address.
        address: Ipv4Addr,
    },
    /// A port could not be reserved for another reason.
    #[error("reserve {port}")]
    PortNotReserved {
        /// Which.
        port: NodePort,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// A name that nf_tables or this crate does not take.
    #[error("{name:?} is not a table name: a letter, then letters, digits, '_' and '-', at most {max} in all")]
    BadTableName {
        /// The name.
        name: String,
        /// How long one may be.
        max: usize,
    },
    /// A subnet that holds no address for a pod.
    #[error("subnet {subnet} is too small: it must hold a gateway and at least one pod")]
    TooSmall {
        /// The subnet.
        subnet: Cidr,
    },
}

impl Error {
    /// Makes an error of a netlink call, saying what it was for.
    pub(crate) fn netlink(tried: impl Into<String>) -> impl FnOnce(orlop_netlink::Error) -> Self {
        let tried = tried.into();
        move |source| Self::Netlink { tried, source }
    }
}

//! What can go wrong with a network, and of which kind that is.

use nix::errno::Errno;
use orlop_cni_plugins::Error as Plugin;
use orlop_cni_plugins::host_ports::NodePort;
use orlop_model::{ErrorKind, Failure};
use orlop_netlink::{BadCidr, BadLinkName};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// A network that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A plugin failed.
    #[error(transparent)]
    Plugin(#[from] Plugin),
    /// A name that the kernel does not take for a link.
    #[error("set up the network")]
    BadLinkName(#[from] BadLinkName),
    /// A subnet that is none.
    #[error("set up the network")]
    BadSubnet(#[from] BadCidr),
    /// A network name that could mean a path.
    #[error(
        "{name:?} is not a network name: a letter or digit, then letters, digits, '_', '.' and '-', at most {max} in all"
    )]
    BadName {
        /// The name.
        name: String,
        /// How long one may be.
        max: usize,
    },
    /// A packet size that IPv4 can't have.
    #[error("MTU {mtu} is not possible: {min} to {max} are")]
    BadMtu {
        /// What was asked for.
        mtu: u32,
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// A failpoint wanted it so.
    #[error("{0}")]
    Failpoint(Failure),
    /// The socket given for the pod is none.
    #[error("use the socket made in the pod's network namespace")]
    PodSocket(#[source] orlop_netlink::Error),
    /// A socket could not be opened.
    #[error("open a socket to the kernel's network")]
    OwnSocket(#[source] orlop_netlink::Error),
    /// No thread could be made.
    #[error("start the network's thread")]
    Thread(#[source] io::Error),
    /// A port of the node was asked for at an IPv6 address.
    #[error("port {port} can't be at {address}: pods of this network have IPv4 alone; give an IPv4 address, or none")]
    HostIpv6 {
        /// The port.
        port: u16,
        /// The address.
        address: Ipv6Addr,
    },
    /// A port of the node was asked for where nothing is translated.
    #[error("host port {0} can't lead into a pod: this node translates no addresses (its setting nat is off)")]
    NoNat(NodePort),
    /// A port of the node was asked for at an address that no node can have.
    #[error("port {port} can't be at {address}: it is no address of a node")]
    BadHostIp {
        /// The port.
        port: u16,
        /// The address.
        address: Ipv4Addr,
    },
    /// A port of the node that leads to no port of the pod.
    #[error("{0} leads to port 0 of the pod: give the container port")]
    NoContainerPort(NodePort),
    /// A range of ports that is none.
    #[error("the ports {first} to {last} of the node are no range that a port can be chosen from")]
    BadPortRange {
        /// Its first port.
        first: u16,
        /// Its last.
        last: u16,
    },
    /// A network that is not on this node.
    #[error("network {0} not found")]
    NoNetwork(String),
    /// More networks than can be attached.
    #[error("{0} networks are asked for; attaching to more than one is not built yet in orlop")]
    ManyNetworks(usize),
    /// A port of the node was asked for twice.
    #[error("{0} is asked for twice, with two container ports")]
    PortTwice(NodePort),
    /// More ports of the node than one pod can have.
    #[error("{asked} ports of the node are asked for, at most {max} can lead into one pod")]
    TooManyPorts {
        /// How many were asked for.
        asked: usize,
        /// How many are possible.
        max: usize,
    },
    /// Too much is waiting.
    #[error("the network is busy: {0} jobs are waiting for it; try again")]
    Busy(usize),
    /// It took too long.
    #[error("not done within {} s; the network is still busy: {stage}", after.as_secs())]
    TimedOut {
        /// What the thread was doing.
        stage: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The thread is gone.
    #[error("the network's thread has ended; orlopd must be restarted")]
    Ended,
    /// Undoing a failed attach failed too: the address stays reserved until a detach succeeds.
    #[error("{attach}; and undoing it failed")]
    NotUndone {
        /// Why it was undone.
        attach: String,
        /// Why that failed.
        #[source]
        source: Box<Error>,
    },
}

impl Error {
    /// Returns the class, as the facades need it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failpoint(failure) => failure.kind,
            Self::Plugin(error) => plugin_kind(error),
            Self::BadLinkName(_) | Self::BadSubnet(_) | Self::BadName { .. } | Self::BadMtu { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::PodSocket(error) | Self::OwnSocket(error) => netlink_kind(error),
            Self::Thread(_) => ErrorKind::Exhausted,
            Self::HostIpv6 { .. } | Self::NoNat(_) => ErrorKind::Unsupported,
            Self::NoNetwork(_) => ErrorKind::NotFound,
            Self::ManyNetworks(_) => ErrorKind::Unsupported,
            Self::BadPortRange { .. } => ErrorKind::InvalidArgument,
            Self::BadHostIp { .. } | Self::NoContainerPort(_) | Self::PortTwice(_) | Self::TooManyPorts { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::Busy(_) => ErrorKind::Unavailable,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::Ended => ErrorKind::Internal,
            Self::NotUndone { source, .. } => source.kind(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::because(error.kind(), &error)
    }
}

fn plugin_kind(error: &Plugin) -> ErrorKind {
    match error {
        Plugin::Netlink { source, .. } => netlink_kind(source),
        Plugin::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => ErrorKind::Exhausted,
        Plugin::File { .. } | Plugin::Vanished { .. } => ErrorKind::Internal,
        Plugin::Locked { .. } | Plugin::NotRunning { .. } => ErrorKind::Unavailable,
        Plugin::Exhausted { .. } => ErrorKind::Exhausted,
        Plugin::Taken { .. } | Plugin::Overlap { .. } => ErrorKind::WrongState,
        Plugin::PortHeld { .. } => ErrorKind::AlreadyExists,
        // Whoever has it may end.
        Plugin::PortInUse { .. } | Plugin::NoPortFree { .. } => ErrorKind::Unavailable,
        Plugin::PortNotReserved { source, .. } => errno_kind(*source),
        Plugin::BadTableName { .. } | Plugin::TooSmall { .. } => ErrorKind::InvalidArgument,
    }
}

fn netlink_kind(error: &orlop_netlink::Error) -> ErrorKind {
    match error.errno() {
        Some(errno) => errno_kind(errno),
        None if matches!(error, orlop_netlink::Error::Silent { .. }) => ErrorKind::TimedOut,
        None => ErrorKind::Internal,
    }
}

fn errno_kind(errno: Errno) -> ErrorKind {
    if matches!(errno, Errno::EPERM | Errno::EACCES) {
        ErrorKind::Denied
    } else if matches!(errno, Errno::ENOMEM | Errno::ENOBUFS | Errno::EMFILE | Errno::ENFILE) {
        ErrorKind::Exhausted
    } else if matches!(errno, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) {
        ErrorKind::Unsupported
    } else {
        ErrorKind::Internal
    }
}

//! Sockets that keep the node's own processes off a port that leads into a pod.
//!
//! A port is claimed by bind(2), and the socket is kept, never listening, as long as the pod has the port. Asking only once
//! would do for those who are there already. But a process that came later would listen without ever hearing anything, and
//! two networks on one node, of one daemon or of two, know nothing of each other's books: with the socket kept, each is told
//! `EADDRINUSE` as of any other port in use. What is sent never comes to the socket, since the rules lead it away.
//! A daemon that ends lets go, so that between two daemons a process may take the port; the pod keeps it all the same.
//!
//! What is let go may still be held for a moment: a child of the daemon has all its descriptors between fork(2) and
//! execve(2), which closes them. So a port that was free by the book but is in use is asked for again for a while.

use super::{NodePort, Protocol, user};
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where the kernel shows that it has SCTP. Making a socket would load it, with all its faults, into a node that may never
/// have wanted it; and without it nobody can hold a port of it.
const SCTP_IS_LOADED: &str = "/proc/thread-self/net/sctp";
/// Bytes that a kept UDP socket may hold; the kernel makes its smallest buffer of it. Only while the rules are missing does
/// anything come to it.
const BUFFER_BYTES: usize = 0;

/// Most sockets kept. A daemon may have 4096 descriptors where nobody allows it more, and other work needs them: what
/// goes beyond is asked for once and let go, which those who are there already hear, but not those who come later.
pub(super) const KEPT_MAX: usize = 512;

/// Longest wait for a port that is in use: many times what a child needs on a busy node until it is another program. The
/// network waits meanwhile, and so does who asks for a port that a server has.
const LINGER_MAX: Duration = Duration::from_millis(250);
/// Between two looks at such a port.
const LINGER_PAUSE: Duration = Duration::from_millis(1);

/// Ports kept for pods.
#[derive(Debug, Default)]
pub struct Claims(BTreeMap<String, Vec<OwnedFd>>);

// === impl Claims ===

impl Claims {
    /// Says whether ports are kept for a pod.
    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Claims ports for a pod in the network namespace of the calling thread: all of them, or none. Quiet when they are
    /// kept already.
    ///
    /// # Errors
    /// [`Error::PortInUse`] when a process has one.
    pub fn claim(&mut self, id: &str, ports: &[NodePort]) -> Result<()> {
        if self.holds(id) {
            return Ok(());
        }
        // A port at every address holds it at each.
        let covered = |port: &NodePort| port.address.is_some() && ports.contains(&NodePort { address: None, ..*port });
        let wanted = ports.iter().filter(|port| !covered(port));
        let mut room = KEPT_MAX.saturating_sub(self.kept());
        let mut sockets = Vec::new();
        let deadline = Instant::now() + LINGER_MAX;
        for port in wanted {
            if let Some(socket) = one(port, deadline)?
                && room > 0
            {
                sockets.push(socket);
                room -= 1;
            }
        }
        self.0.insert(id.to_owned(), sockets);
        Ok(())
    }

    /// Returns the first port that could be claimed in the network namespace of the calling thread; `None` when all are in use.
    ///
    /// # Errors
    /// When that can't be told.
    pub fn first_free(ports: impl Iterator<Item = NodePort> + Clone) -> Result<Option<NodePort>> {
        let deadline = Instant::now() + LINGER_MAX;
        loop {
            let mut any_in_use = false;
            for port in ports.clone() {
                match attempt(&port)? {
                    Attempt::InUse => any_in_use = true,
                    Attempt::Claimed(_) | Attempt::Unclaimable => return Ok(Some(port)),
                }
            }
            if !any_in_use || Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(LINGER_PAUSE);
        }
    }

    fn kept(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Goes on without the ports of a pod, for when someone took one while no daemon ran.
    pub fn give_up(&mut self, id: &str) {
        self.0.insert(id.to_owned(), Vec::new());
    }

    /// Lets go of a pod's ports. Quiet when none are kept.
    pub fn release(&mut self, id: &str) {
        self.0.remove(id);
    }
}

/// What came of trying to claim a port.
enum Attempt {
    Claimed(OwnedFd),
    /// There is nobody who could hold it.
    Unclaimable,
    InUse,
}

/// Claims one port, which may take until `deadline`; `None` where nobody can hold it.
fn one(port: &NodePort, deadline: Instant) -> Result<Option<OwnedFd>> {
    loop {
        match attempt(port)? {
            Attempt::Claimed(fd) => return Ok(Some(fd)),
            Attempt::Unclaimable => return Ok(None),
            Attempt::InUse if Instant::now() < deadline => sleep(LINGER_PAUSE),
            Attempt::InUse => return Err(Error::PortInUse { port: *port, user: user::of(port) }),
        }
    }
}

/// Tries to claim one port.
fn attempt(port: &NodePort) -> Result<Attempt> {
    let (kind, protocol) = match port.protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp if !Path::new(SCTP_IS_LOADED).exists() => return Ok(Attempt::Unclaimable),
        Protocol::Sctp => (SockType::SeqPacket, SockProtocol::Sctp),
    };
    let claimed = match claim(port, kind, protocol, Reuse::No) {
        // What is left of a server that has ended, for a minute or two: a new one could be started, so a pod can.
        Err(Errno::EADDRINUSE) if port.protocol == Protocol::Tcp => claim(port, kind, protocol, Reuse::Yes),
        other => other,
    };
    match claimed {
        Ok(fd) => Ok(Attempt::Claimed(fd)),
        Err(Errno::EADDRINUSE) => Ok(Attempt::InUse),
        Err(source) => Err(Error::PortNotReserved { port: *port, source }),
    }
}

/// Whether connections of an earlier holder are in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    No,
    Yes,
}

fn claim(port: &NodePort, kind: SockType, protocol: SockProtocol, reuse: Reuse) -> Result<OwnedFd, Errno> {
    let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, protocol)?;
    if reuse == Reuse::Yes {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    if port.protocol == Protocol::Udp {
        setsockopt(&fd, sockopt::RcvBuf, &BUFFER_BYTES)?;
    }
    // An address may come to the node later, as one that moves between nodes does.
    setsockopt(&fd, sockopt::IpFreebind, &true)?;
    let address = SocketAddrV4::new(port.address.unwrap_or(Ipv4Addr::UNSPECIFIED), port.number);
    bind(fd.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_sys::netns;
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::process::Command;
    use std::thread;

    fn port(protocol: Protocol, address: Option<Ipv4Addr>, number: u16) -> NodePort {
        NodePort { protocol, address, number }
    }

    /// In a namespace of its own; its loopback is down, which binds all the same.
    fn alone(work: impl FnOnce() + Send) {
        netns::inside(netns::create().unwrap().as_fd(), work).unwrap();
    }

    #[test]
    fn ports_in_use_are_refused_and_their_user_is_named() {
        alone(|| {
            let tcp = TcpListener::bind("127.0.0.1:80").unwrap();
            let udp = UdpSocket::bind("0.0.0.0:53").unwrap();
            let both = TcpListener::bind("[::]:443").unwrap();
            let loopback = Some(Ipv4Addr::LOCALHOST);
            let mut claims = Claims::default();
            for (wanted, free) in [
                (port(Protocol::Tcp, None, 80), false),
                (port(Protocol::Tcp, loopback, 80), false),
                (port(Protocol::Tcp, Some(Ipv4Addr::new(192, 0, 2, 7)), 80), true),
                (port(Protocol::Tcp, None, 53), true),
                (port(Protocol::Udp, None, 53), false),
                (port(Protocol::Udp, loopback, 53), false),
                (port(Protocol::Tcp, None, 443), false),
                (port(Protocol::Sctp, None, 80), true),
            ] {
                let result = claims.claim("a", &[wanted]);
                assert_eq!(result.is_ok(), free, "{wanted}: {result:?}");
                claims.release("a");
                if let Err(error) = result {
                    let words = format!("{wanted} is in use by ");
                    assert!(error.to_string().starts_with(&words), "{error}");
                    let own = format!("(process {})", std::process::id());
                    assert!(error.to_string().contains(&own), "{error}");
                }
            }
            drop((tcp, udp, both));
        });
    }

    #[test]
    fn claimed_ports_are_kept_until_they_are_released() {
        alone(|| {
            let ports = [port(Protocol::Tcp, None, 80), port(Protocol::Udp, None, 80)];
            let (mut claims, mut others) = (Claims::default(), Claims::default());
            claims.claim("a", &ports).unwrap();
            claims.claim("a", &ports).unwrap();
            for wanted in &ports {
                assert!(matches!(others.claim("b", &[*wanted]), Err(Error::PortInUse { .. })));
            }
            assert!(TcpListener::bind("0.0.0.0:80").is_err());
            assert!(UdpSocket::bind("127.0.0.1:80").is_err());
            claims.release("a");
            claims.release("a");
            others.claim("b", &ports).unwrap();
        });
    }

    #[test]
    fn what_a_child_still_holds_is_waited_for() {
        const CHILDREN: usize = 300;
        thread::scope(|scope| {
            let births = scope.spawn(|| {
                for _ in 0..CHILDREN {
                    Command::new("true").status().unwrap();
                }
            });
            let mut claims = Claims::default();
            alone(|| {
                let ports = [port(Protocol::Tcp, None, 80), port(Protocol::Udp, None, 80)];
                while !births.is_finished() {
                    claims.claim("a", &ports).unwrap();
                    claims.release("a");
                    for free in ports {
                        assert_eq!(Claims::first_free(std::iter::once(free)).unwrap(), Some(free));
                    }
                }
            });
        });
    }

    #[test]
    fn same_port_at_one_address_and_at_all_is_claimed_once() {
        alone(|| {
            let ports = [port(Protocol::Udp, None, 80), port(Protocol::Udp, Some(Ipv4Addr::LOCALHOST), 80)];
            Claims::default().claim("a", &ports).unwrap();
        });
    }

    #[test]
    fn no_more_sockets_are_kept_than_there_is_room_for() {
        alone(|| {
            let ports = |first: u16| (first..first + 400).map(|n| port(Protocol::Tcp, None, n)).collect::<Vec<_>>();
            let mut claims = Claims::default();
            claims.claim("a", &ports(1000)).unwrap();
            claims.claim("b", &ports(2000)).unwrap();
            assert_eq!(claims.kept(), KEPT_MAX);
            assert!(claims.holds("b"));
            let _late = TcpListener::bind("0.0.0.0:3399").unwrap();
            assert!(matches!(claims.claim("c", &ports(3000)), Err(Error::PortInUse { .. })), "asked for all the same");
            claims.release("a");
            claims.claim("d", &ports(4000)).unwrap();
            assert_eq!(claims.kept(), KEPT_MAX);
        });
    }

    #[test]
    fn connections_that_outlive_their_server_are_not_in_the_way() {
        // On this machine's own loopback, since it must be up; the kernel chooses the port.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address @ SocketAddr::V4(v4) = listener.local_addr().unwrap() else { panic!("it is IPv4") };
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop((server, listener));
        drop(client);
        Claims::default().claim("a", &[port(Protocol::Tcp, Some(*v4.ip()), v4.port())]).unwrap();
    }
}

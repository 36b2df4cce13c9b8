//! What the tests stand on: a node and pods, each a network namespace that goes when its descriptor goes.

use orlop_model::ports::{Network, NetworkNamespace};
use orlop_model::sandbox::{Networks as Named, PortChoice, PortMapping, Protocol, SandboxSpec};
use orlop_model::sandbox_state::Attachment;
use orlop_model::{Failure, Namespace, NaturalKey, SandboxId};
use orlop_netlink::link::{self, Veth};
use orlop_netlink::{Cidr, LinkName, Mac, RouteSocket, address, route};
use orlop_network::{Config, DefaultNetwork, Networks};
use orlop_sys::netns;
use orlop_testkit::wait_until;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Longest wait for a connection. Below the second after which TCP and ARP try again: a packet lost at the start shows.
pub const CONNECT_WAIT: Duration = Duration::from_millis(900);

/// Longest wait for a port that nobody has any more.
const FREE_WITHIN: Duration = Duration::from_secs(10);

pub struct Node {
    pub ns: OwnedFd,
    pub folder: tempfile::TempDir,
}

pub struct Pod {
    pub id: SandboxId,
    pub ns: OwnedFd,
}

impl Node {
    pub fn new() -> Self {
        let node = Self { ns: netns::create().unwrap(), folder: tempfile::tempdir().unwrap() };
        node.route().perform(&[link::set_up(&name("lo"))]).unwrap();
        node
    }

    pub fn config(&self) -> Config {
        Config {
            name: "default".to_owned(),
            bridge: "orlop0".to_owned(),
            subnet: (Ipv4Addr::new(10, 88, 0, 0), 16),
            nat: orlop_network::Nat::On,
            nft_table: "orlop".to_owned(),
            ipam_dir: self.ipam(),
            mtu: None,
        }
    }

    /// Another network of the same node.
    pub fn second(&self) -> Config {
        Config {
            name: "bridge".to_owned(),
            bridge: "second0".to_owned(),
            subnet: (Ipv4Addr::new(10, 99, 0, 0), 24),
            nft_table: "second".to_owned(),
            ..self.config()
        }
    }

    pub fn ipam(&self) -> PathBuf {
        self.folder.path().join("ipam")
    }

    /// A network in this node, as a fresh daemon makes it.
    pub fn network(&self, config: Config) -> DefaultNetwork {
        self.inside(|| DefaultNetwork::new(config).unwrap())
    }

    pub fn route(&self) -> RouteSocket {
        self.inside(|| RouteSocket::open().unwrap())
    }

    pub fn link_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.route().links().unwrap().into_iter().map(|link| link.name).collect();
        names.sort();
        names
    }

    pub fn nft(&self, arguments: &[&str]) -> String {
        let output = self.inside(|| Command::new("nft").args(arguments).output().unwrap());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives the node an outside: another namespace at 192.0.2.2, behind the node's 192.0.2.1, by which its default
    /// route goes. The outside knows no way to any pod.
    pub fn outside(&self, mtu: u32) -> OwnedFd {
        let outside = netns::create().unwrap();
        let (wan, port, inner) = (name("wan0"), name("wanport"), name("eth0"));
        let mut here = self.route();
        here.perform(&[link::create_bridge(&wan, Mac([2, 0, 0, 0, 0, 1]))]).unwrap();
        let index = here.link_by_name(&wan).unwrap().unwrap().index;
        let inner_mac = Mac([2, 0, 0, 0, 0, 2]);
        let veth = Veth { name: &port, master: index, inner_name: &inner, inner_mac, mtu };
        here.perform(&[link::create_veth(&veth, outside.as_fd()), link::set_mtu(&wan, mtu)]).unwrap();
        let mut there = netns::inside(outside.as_fd(), || RouteSocket::open().unwrap()).unwrap();
        let end = there.link_by_name(&inner).unwrap().unwrap().index;
        there.perform(&[link::set_up(&inner), address::add(end, cidr("192.0.2.2", 24))]).unwrap();
        here.perform(&[
            link::set_up(&wan),
            link::set_up(&port),
            address::add(index, cidr("192.0.2.1", 24)),
            route::add_default(index, Ipv4Addr::new(192, 0, 2, 2).into()),
        ])
        .unwrap();
        outside
    }

    /// Waits until a process could listen there. What was let go may be held for a moment by what other tests of this process
    /// start: a child has all descriptors until it is another program.
    pub fn sees_free(&self, address: SocketAddr) {
        wait_until(FREE_WITHIN, &format!("{address} is free"), || self.inside(|| TcpListener::bind(address)).ok());
    }

    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::inside(self.ns.as_fd(), work).unwrap()
    }
}

impl Pod {
    pub fn new(id: &str) -> Self {
        Self { id: SandboxId::parse(id).unwrap(), ns: netns::create().unwrap() }
    }

    pub fn namespace(&self) -> NetworkNamespace {
        let socket = || {
            use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
            let protocol = SockProtocol::NetlinkRoute;
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap()
        };
        NetworkNamespace {
            namespace: self.ns.try_clone().unwrap(),
            route_socket: netns::inside(self.ns.as_fd(), socket).unwrap(),
        }
    }

    pub fn attach(&self, network: &DefaultNetwork) -> Result<Vec<Attachment>, Failure> {
        run(network.attach(&self.id, &spec(), self.namespace()))
    }

    /// Attaches with ports of the node that lead into it.
    pub fn publish(&self, network: &DefaultNetwork, ports: &[PortMapping]) -> Result<Vec<Attachment>, Failure> {
        let spec = SandboxSpec { ports: ports.to_vec(), ..spec() };
        run(network.attach(&self.id, &spec, self.namespace()))
    }

    /// Attaches to the network of this name with ports of the node that lead into it.
    pub fn join(&self, networks: &Networks, name: &str, ports: &[PortMapping]) -> Result<Attachment, Failure> {
        let named = Named::Named(vec![name.to_owned()]);
        let spec = SandboxSpec { ports: ports.to_vec(), networks: named, ..spec() };
        run(networks.attach(&self.id, &spec, self.namespace())).map(|mut attachments| attachments.remove(0))
    }

    /// Listens at every address inside.
    pub fn serve(&self, port: u16) -> TcpListener {
        netns::inside(self.ns.as_fd(), || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()).unwrap()
    }

    /// Attaches and returns the address.
    pub fn address(&self, network: &DefaultNetwork) -> IpAddr {
        let attachments = self.attach(network).unwrap();
        assert_eq!((attachments.len(), attachments[0].interface.as_str()), (1, "eth0"));
        attachments[0].addresses[0]
    }

    pub fn route(&self) -> RouteSocket {
        netns::inside(self.ns.as_fd(), || RouteSocket::open().unwrap()).unwrap()
    }
}

/// Runs a future of the network.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub fn listen(ns: &OwnedFd, on: IpAddr) -> (TcpListener, SocketAddr) {
    let listener = netns::inside(ns.as_fd(), || TcpListener::bind((on, 0)).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub fn connect(ns: &OwnedFd, to: SocketAddr) -> std::io::Result<TcpStream> {
    netns::inside(ns.as_fd(), || TcpStream::connect_timeout(&to, CONNECT_WAIT)).unwrap()
}

/// Connects and returns the address that the listener sees.
pub fn seen_from(ns: &OwnedFd, listener: &TcpListener, to: SocketAddr) -> IpAddr {
    let _client = connect(ns, to).unwrap();
    listener.accept().unwrap().1.ip()
}

pub fn spec() -> SandboxSpec {
    let spec = SandboxSpec::new(Namespace("test".to_owned()), NaturalKey("test".to_owned()));
    SandboxSpec { hostname: "test".to_owned(), ..spec }
}

/// A port of the node, at every address.
pub fn tcp(host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { protocol: Protocol::Tcp, container_port, host_port, choice: PortChoice::Exactly, host_ip: None }
}

pub fn udp(host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { protocol: Protocol::Udp, ..tcp(host_port, container_port) }
}

pub fn name(text: &str) -> LinkName {
    LinkName::parse(text).unwrap()
}

pub fn cidr(text: &str, prefix: u8) -> Cidr {
    Cidr::new(text.parse::<IpAddr>().unwrap(), prefix).unwrap()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

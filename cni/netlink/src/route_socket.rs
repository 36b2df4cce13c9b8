//! A socket for links, addresses and routes.

use crate::address::{self, LinkAddress};
use crate::error::Result;
use crate::link::{self, Link, LinkName, Traffic};
use crate::message::Request;
use crate::route::{self, Route};
use crate::socket::Socket;
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use std::os::fd::OwnedFd;

/// A `NETLINK_ROUTE` socket. It acts on the network namespace it was made in, whoever holds it.
#[derive(Debug)]
pub struct RouteSocket(Socket);

impl RouteSocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Where there are no descriptors left.
    pub fn open() -> Result<Self> {
        Socket::open(SockProtocol::NetlinkRoute).map(Self)
    }

    /// Works over a socket that was made in another namespace and handed here.
    ///
    /// # Errors
    /// When `fd` is no netlink socket.
    pub fn over(fd: OwnedFd) -> Result<Self> {
        Socket::over(fd).map(Self)
    }

    /// Sends all requests in one call and waits for every answer. Returns the first refusal; later requests of the same
    /// call have been tried all the same.
    ///
    /// # Errors
    /// The first request that was refused, or the wait that ran out.
    pub fn perform(&mut self, requests: &[Request]) -> Result<()> {
        self.0.perform(requests)
    }

    /// Finds a link by name.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn link_by_name(&mut self, name: &LinkName) -> Result<Option<Link>> {
        self.one_link(&link::get_by_name(name))
    }

    /// Finds a link by index.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>> {
        self.one_link(&link::get_by_index(index))
    }

    /// Lists every link.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        self.0.dump(&link::dump(), link::read)
    }

    /// Lists what passed over every link, by name.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn traffic(&mut self) -> Result<Vec<(String, Traffic)>> {
        self.0.dump(&link::dump(), link::read_traffic)
    }

    /// Lists every address.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn addresses(&mut self) -> Result<Vec<LinkAddress>> {
        self.0.dump(&address::dump(), address::read)
    }

    /// Lists every unicast route of the main table.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        self.0.dump(&route::dump(), route::read)
    }

    fn one_link(&mut self, request: &Request) -> Result<Option<Link>> {
        match self.0.ask(request, link::read) {
            Err(error) if error.is(Errno::ENODEV) => Ok(None),
            other => other,
        }
    }
}

//! Connections that the kernel tracks: the ones that would go on leading to where they began are forgotten.
//!
//! A datagram has no beginning and no end that the kernel could see. Who keeps sending keeps its entry, and with it what was
//! decided for its first packet. `linux/netfilter/nfnetlink_conntrack.h`.

use crate::error::Result;
use crate::message::{Nest, Request, attribute};
use crate::socket::Socket;
use libc::NLM_F_DUMP;
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use std::collections::HashSet;
use std::net::Ipv4Addr;

const IPCTNL_MSG_CT_GET: i32 = 1;
const IPCTNL_MSG_CT_DELETE: i32 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// Which parts of a tuple count. `ctnetlink_filter_match_tuple` in the kernel.
const BY_SOURCE: u32 = 1 << 0;
const BY_DESTINATION: u32 = 1 << 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;
/// Bytes of `struct nfgenmsg`.
const FIXED: usize = 4;
/// The kernel walks over all connections for each request, 0.2 ms on a quiet node. With more requests than this, one walk
/// that says which ports were used at all comes first.
const WALKS_MAX: usize = 4;
/// Most requests in one call, which must end within its bound.
const REQUESTS_PER_CALL: usize = 64;
/// Version of `struct nfgenmsg` from which on a deletion minds the family.
const MINDS_FAMILY: u8 = 1;

/// UDP over IPv4 that is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Udp {
    /// What was sent to a port, whatever became of it.
    To {
        /// The address it was sent to; `None` is any.
        address: Option<Ipv4Addr>,
        /// The port.
        port: u16,
    },
    /// What is answered by an address, whatever it was sent to.
    AnsweredBy(Ipv4Addr),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// They are gone.
    Yes,
    /// This kernel can't do it: they end when nothing was sent for some while, 30 s to 2 minutes.
    Unsupported,
}

/// A `NETLINK_NETFILTER` socket. It acts on the network namespace it was made in.
#[derive(Debug)]
pub struct ConntrackSocket(Socket);

// === impl ConntrackSocket ===

impl ConntrackSocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Where there are no descriptors left, or no netfilter in the kernel.
    pub fn open() -> Result<Self> {
        Socket::open(SockProtocol::NetlinkNetFilter).map(Self)
    }

    /// Forgets connections. Quiet when there are none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forget(&mut self, which: &[Udp]) -> Result<Forgotten> {
        let mut which = which.to_vec();
        if which.len() > WALKS_MAX {
            let used: HashSet<u16> = self.0.dump(&list_udp(), destination_port)?.into_iter().collect();
            which.retain(|udp| match udp {
                Udp::To { port, .. } => used.contains(port),
                Udp::AnsweredBy(_) => true,
            });
        }
        for part in which.chunks(REQUESTS_PER_CALL) {
            let requests: Vec<Request> = part.iter().map(|udp| udp.request()).collect();
            match self.0.perform(&requests) {
                Ok(()) => {}
                // A kernel that does not know filters here wants to be told of one whole connection.
                Err(error) if error.is(Errno::EINVAL) || error.is(Errno::EOPNOTSUPP) => {
                    return Ok(Forgotten::Unsupported);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Forgotten::Yes)
    }
}

/// Asks for the connections of UDP over IPv4.
fn list_udp() -> Request {
    let tuple = Nest::new().put_nested(CTA_TUPLE_PROTO, udp());
    request("list udp connections", IPCTNL_MSG_CT_GET, NLM_F_DUMP)
        .put_nested(CTA_TUPLE_ORIG, tuple)
        .put_nested(CTA_FILTER, filter(CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL))
}

/// Reads to which port a connection was sent. Where the kernel filters nothing, one of another protocol may come through;
/// it only has a port looked at that nobody uses.
fn destination_port(payload: &[u8]) -> Option<u16> {
    let tuple = attribute(payload.get(FIXED..)?, CTA_TUPLE_ORIG)?;
    let port = attribute(attribute(tuple, CTA_TUPLE_PROTO)?, CTA_PROTO_DST_PORT)?;
    Some(u16::from_be_bytes(port.try_into().ok()?))
}

fn request(what: impl Into<String>, message: i32, flags: i32) -> Request {
    let kind = (libc::NFNL_SUBSYS_CTNETLINK << 8) | message;
    let kind = u16::try_from(kind).expect("subsystem and message make 16 bits");
    let family = u8::try_from(libc::AF_INET).expect("address families are small");
    Request::new(what, kind, flags, &[family, MINDS_FAMILY, 0, 0])
}

fn udp() -> Nest {
    Nest::new().put(CTA_PROTO_NUM, &[u8::try_from(libc::IPPROTO_UDP).expect("it is 17")])
}

impl Udp {
    fn request(self) -> Request {
        match self {
            Self::To { address, port } => {
                let protocol = udp().put(CTA_PROTO_DST_PORT, &port.to_be_bytes());
                let mut flags = BY_PROTOCOL | BY_DESTINATION_PORT;
                let mut tuple = Nest::new();
                if let Some(address) = address {
                    flags |= BY_DESTINATION;
                    tuple = tuple.put_nested(CTA_TUPLE_IP, Nest::new().put(CTA_IP_V4_DST, &address.octets()));
                }
                request(format!("forget connections to udp port {port}"), IPCTNL_MSG_CT_DELETE, 0)
                    .put_nested(CTA_TUPLE_ORIG, tuple.put_nested(CTA_TUPLE_PROTO, protocol))
                    .put_nested(CTA_FILTER, filter(CTA_FILTER_ORIG_FLAGS, flags))
            }
            Self::AnsweredBy(address) => {
                let tuple = Nest::new()
                    .put_nested(CTA_TUPLE_IP, Nest::new().put(CTA_IP_V4_SRC, &address.octets()))
                    .put_nested(CTA_TUPLE_PROTO, udp());
                request(format!("forget udp connections answered by {address}"), IPCTNL_MSG_CT_DELETE, 0)
                    .put_nested(CTA_TUPLE_REPLY, tuple)
                    .put_nested(CTA_FILTER, filter(CTA_FILTER_REPLY_FLAGS, BY_SOURCE | BY_PROTOCOL))
            }
        }
    }
}

fn filter(direction: u16, flags: u32) -> Nest {
    Nest::new().put_u32(direction, flags)
}

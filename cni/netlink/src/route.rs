//! Routes of the main table.

use crate::address::{Cidr, family, from_octets, octets};
use crate::message::{Request, attributes, u32_at};
use libc::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, RT_TABLE_MAIN, RTN_UNICAST};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `struct rtmsg`.
const FIXED: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;

/// A unicast route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; a prefix of 0 is the default route.
    pub to: Cidr,
    /// Over which link; `None` for one with several ways.
    pub link: Option<u32>,
}

/// Sends everything without a better route to `gateway` over a link; quiet when it is so already.
#[must_use]
pub fn add_default(link: u32, gateway: IpAddr) -> Request {
    let mut fixed = [0; FIXED];
    fixed[0] = family(gateway);
    fixed[4] = RT_TABLE_MAIN;
    fixed[5] = libc::RTPROT_STATIC;
    fixed[6] = libc::RT_SCOPE_UNIVERSE;
    fixed[7] = RTN_UNICAST;
    let what = format!("add a default route by {gateway}");
    Request::new(what, libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &fixed)
        .put(RTA_GATEWAY, &octets(gateway))
        .put_u32(RTA_OIF, link)
}

pub(crate) fn dump() -> Request {
    Request::new("list routes", libc::RTM_GETROUTE, NLM_F_DUMP, &[0; FIXED])
}

pub(crate) fn read(payload: &[u8]) -> Option<Route> {
    let (route_family, prefix, kind) = (*payload.first()?, *payload.get(1)?, *payload.get(7)?);
    let mut table = u32::from(*payload.get(4)?);
    let mut to: IpAddr = if i32::from(route_family) == libc::AF_INET {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let mut link = None;
    for (kind, value) in attributes(payload.get(FIXED..)?) {
        match kind {
            RTA_DST => to = from_octets(value)?,
            RTA_OIF => link = u32_at(value, 0),
            RTA_TABLE => table = u32_at(value, 0)?,
            _ => {}
        }
    }
    if table != u32::from(RT_TABLE_MAIN) || kind != RTN_UNICAST {
        return None;
    }
    Some(Route { to: Cidr::new(to, prefix).ok()?, link })
}

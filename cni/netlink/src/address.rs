//! Addresses with their subnets, and addresses of links.

use crate::message::{Request, attributes, u32_at};
use libc::{AF_INET, AF_INET6, AF_UNSPEC, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `struct ifaddrmsg`.
const FIXED: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// Usable at once, without duplicate detection: the address is ours to give.
const IFA_F_NODAD: u32 = 0x02;

/// An address and the length of its subnet's prefix: `10.88.0.2/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why two parts don't make a [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address}/{prefix} is not an address with its prefix: at most /{max} is possible")]
pub struct BadCidr {
    address: IpAddr,
    prefix: u8,
    max: u8,
}

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// Index of the link.
    pub link: u32,
    /// The address.
    pub address: Cidr,
}

// === impl Cidr ===

impl Cidr {
    /// Makes an address with its prefix.
    ///
    /// # Errors
    /// When the prefix is longer than the address.
    pub fn new(address: impl Into<IpAddr>, prefix: u8) -> Result<Self, BadCidr> {
        let address = address.into();
        let max = bits(address);
        if prefix <= max { Ok(Self { address, prefix }) } else { Err(BadCidr { address, prefix, max }) }
    }

    /// Returns the address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Returns how many bits of the address name its subnet.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Returns the subnet: the first address in it, with the same prefix.
    #[must_use]
    pub fn subnet(self) -> Self {
        let address = match self.address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & self.mask_v4()).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & self.mask_v6()).into(),
        };
        Self { address, prefix: self.prefix }
    }

    /// Returns the last address of the subnet; of IPv4 that is broadcast.
    #[must_use]
    pub fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() | !self.mask_v4()).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() | !self.mask_v6()).into(),
        }
    }

    /// Returns the mask in network byte order: 4 bytes, or 16.
    #[must_use]
    pub fn mask(self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(_) => self.mask_v4().to_be_bytes().to_vec(),
            IpAddr::V6(_) => self.mask_v6().to_be_bytes().to_vec(),
        }
    }

    /// Says whether an address lies in the subnet.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        bits(address) == bits(self.address) && Self { address, prefix: self.prefix }.subnet() == self.subnet()
    }

    /// Says whether two subnets share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    fn mask_v4(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    fn mask_v6(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

// === Requests and answers ===

/// Gives a link an address; quiet when it has it. Its subnet becomes reachable over the link.
#[must_use]
pub fn add(link: u32, address: Cidr) -> Request {
    let mut fixed = [0; FIXED];
    fixed[0] = family(address.address);
    fixed[1] = address.prefix;
    fixed[4..8].copy_from_slice(&link.to_ne_bytes());
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    let request = Request::new(format!("add address {address}"), libc::RTM_NEWADDR, flags, &fixed)
        .put(IFA_LOCAL, &octets(address.address))
        .put(IFA_ADDRESS, &octets(address.address));
    match address.address {
        IpAddr::V4(_) => request.put(IFA_BROADCAST, &octets(address.last())),
        IpAddr::V6(_) => request.put_u32(IFA_FLAGS, IFA_F_NODAD),
    }
}

pub(crate) fn dump() -> Request {
    let mut fixed = [0; FIXED];
    fixed[0] = u8::try_from(AF_UNSPEC).expect("address families are small");
    Request::new("list addresses", libc::RTM_GETADDR, NLM_F_DUMP, &fixed)
}

pub(crate) fn read(payload: &[u8]) -> Option<LinkAddress> {
    let prefix = *payload.get(1)?;
    let mut found = None;
    for (kind, value) in attributes(payload.get(FIXED..)?) {
        // IFA_LOCAL is the link's own; IFA_ADDRESS is the other end's on a point-to-point link.
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && found.is_none()) {
            found = from_octets(value);
        }
    }
    Some(LinkAddress { link: u32_at(payload, 4)?, address: Cidr::new(found?, prefix).ok()? })
}

pub(crate) fn family(address: IpAddr) -> u8 {
    let family = match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    };
    u8::try_from(family).expect("address families are small")
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(crate) fn from_octets(value: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(value).ok().map(|v6| Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        let (address, prefix) = text.split_once('/').unwrap();
        Cidr::new(address.parse::<IpAddr>().unwrap(), prefix.parse().unwrap()).unwrap()
    }

    #[test]
    fn subnets_are_what_their_prefix_says() {
        for (text, subnet, last) in [
            ("10.88.3.4/16", "10.88.0.0/16", "10.88.255.255"),
            ("10.88.3.4/32", "10.88.3.4/32", "10.88.3.4"),
            ("10.88.3.4/0", "0.0.0.0/0", "255.255.255.255"),
            ("fd00::1234/64", "fd00::/64", "fd00::ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(cidr(text).subnet(), cidr(subnet));
            assert_eq!(cidr(text).last(), last.parse::<IpAddr>().unwrap());
        }
        assert!(Cidr::new(Ipv4Addr::LOCALHOST, 33).is_err());
    }

    proptest! {
        #[test]
        fn subnet_holds_its_first_and_last_and_overlap_has_no_sides(a: u32, b: u32, p in 0u8..=32, q in 0u8..=32) {
            let (a, b) = (Cidr::new(Ipv4Addr::from_bits(a), p).unwrap(), Cidr::new(Ipv4Addr::from_bits(b), q).unwrap());
            prop_assert!(a.contains(a.subnet().address()) && a.contains(a.last()) && a.contains(a.address()));
            prop_assert_eq!(a.overlaps(b), b.overlaps(a));
            prop_assert!(!a.contains(Ipv6Addr::LOCALHOST.into()));
        }
    }
}

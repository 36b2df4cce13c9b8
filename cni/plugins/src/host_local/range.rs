//! The addresses of a subnet that pods can have.

use crate::error::{Error, Result};
use orlop_netlink::Cidr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of one subnet that pods can have.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    gateway: Cidr,
    first: u128,
    last: u128,
}

// === impl Range ===

impl Range {
    /// Makes a range of all addresses of a subnet but its first (the subnet's own name), the gateway and broadcast.
    /// The gateway is the first address after the subnet's own.
    ///
    /// # Errors
    /// When nothing is left for pods.
    pub fn of(subnet: Cidr) -> Result<Self> {
        let (base, top) = (number(subnet.subnet().address()), number(subnet.last()));
        let last = match subnet.address() {
            IpAddr::V4(_) => top.saturating_sub(1),
            IpAddr::V6(_) => top,
        };
        let too_small = || Error::TooSmall { subnet: subnet.subnet() };
        if last < base.saturating_add(2) {
            return Err(too_small());
        }
        let gateway = Cidr::new(address(subnet.address(), base + 1), subnet.prefix()).map_err(|_| too_small())?;
        Ok(Self { gateway, first: base + 2, last })
    }

    /// Returns the gateway with the prefix of the subnet.
    #[must_use]
    pub fn gateway(&self) -> Cidr {
        self.gateway
    }

    /// Walks once over all addresses, beginning behind `last`.
    pub(super) fn behind(self, last: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
        let family = self.gateway.address();
        let last = last.filter(|last| self.gateway.contains(*last)).map(number);
        let start = match last {
            Some(last) if (self.first..self.last).contains(&last) => last + 1,
            Some(_) | None => self.first,
        };
        (start..=self.last).chain(self.first..start).map(move |n| address(family, n))
    }

    pub(super) fn with_prefix(&self, own: IpAddr) -> Cidr {
        Cidr::new(own, self.gateway.prefix()).expect("an address of the range takes the prefix of its gateway")
    }
}

// === Addresses as numbers ===

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(family: IpAddr, number: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).expect("it lies in an IPv4 subnet")).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_without_room_for_a_pod_are_refused() {
        for prefix in [31, 32] {
            assert!(Range::of(Cidr::new(Ipv4Addr::new(10, 0, 0, 0), prefix).unwrap()).is_err());
        }
        let range = Range::of(Cidr::new(Ipv4Addr::new(10, 1, 2, 3), 16).unwrap()).unwrap();
        assert_eq!(range.gateway().to_string(), "10.1.0.1/16");
    }
}

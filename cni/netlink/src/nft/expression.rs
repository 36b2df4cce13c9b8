//! What rules are made of: small programs over registers.

use crate::address::Cidr;
use crate::message::Nest;
use std::net::IpAddr;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
pub(crate) const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
/// The one register (16 bytes) that these programs use: each test loads it and looks at it.
const REGISTER: u32 = 1;
/// The same register as four of 4 bytes each, for keys of several parts; this is the number of the first.
const SLOT_FIRST: u32 = 8;
/// How many parts a key may have.
const SLOTS: usize = 4;
const REGISTER_VERDICT: u32 = 0;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`: two connections that take a port at the same moment take different ones.
const RANDOM_FULLY: u32 = 1 << 4;
/// `NFTA_FIB_F_DADDR`: ask the routing table about the destination.
const FIB_DESTINATION: u32 = 1 << 1;
/// `NFT_FIB_RESULT_ADDRTYPE`: and for the kind of address it is.
const FIB_KIND: u32 = 3;
/// `IP_CT_DIR_ORIGINAL`: as the connection's first packet had it, before anything was changed.
const CT_ORIGINAL: u8 = 0;
/// Bytes of an IPv4 address.
const IPV4_BYTES: u32 = 4;
/// Bytes of a port.
const PORT_BYTES: u32 = 2;
/// Where TCP, UDP and SCTP alike have the destination port.
const DESTINATION_PORT_AT: u32 = 2;
/// Where IPv4 has the destination address.
const DESTINATION_V4_AT: u32 = 16;

/// One expression of a rule. Loads put a value into the register, tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads a fact about the packet.
    Meta(MetaKey),
    /// Loads a fact about the packet's connection.
    Ct(CtKey),
    /// Loads bytes of the packet.
    Payload {
        /// Of which header.
        part: Part,
        /// From which byte.
        offset: u32,
        /// How many, at most 16.
        length: u32,
    },
    /// Keeps the bits of the register that are set here.
    Mask(Vec<u8>),
    /// Goes on only when the register compares so.
    Compare(Operator, Vec<u8>),
    /// Loads the kind of the destination address, 4 bytes in the byte order of this machine; see [`Expression::to_node`].
    DestinationKind,
    /// Loads one part of a key of several into its slot; see [`Expression::key`].
    KeyPart {
        /// Which slot, from 0.
        slot: usize,
        /// What.
        part: KeyPart,
    },
    /// Goes on only when the set holds the register.
    InSet(String),
    /// Replaces the register by what the map holds for it; goes on only when it holds something.
    ValueFrom(String),
    /// Does what the map says for the register; goes on when it does not hold it.
    VerdictFrom(String),
    /// Ends, or continues elsewhere.
    Verdict(Verdict),
    /// Makes the connection seem to come from the address of the link it leaves by, from a random port.
    Masquerade,
    /// Makes the connection lead to the IPv4 address in the first slot and the port in the second.
    DestinationFrom,
}

/// A part of a key of several; each takes a slot of 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// TCP, UDP and so on.
    Protocol,
    /// The destination address of IPv4.
    DestinationV4,
    /// The destination port.
    DestinationPort,
    /// The destination port that the connection's first packet came with.
    OriginalDestinationPort,
}

/// A fact about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// IPv4 or IPv6, one byte.
    Family,
    /// TCP, UDP and so on, one byte.
    Protocol,
    /// Name of the link it came in by, 16 bytes.
    InName,
    /// Name of the link it leaves by, 16 bytes.
    OutName,
}

/// A fact about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtKey {
    /// State bits, 4 bytes in the byte order of this machine.
    State,
    /// Status bits, 4 bytes in the byte order of this machine.
    Status,
}

/// A header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// IPv4 or IPv6.
    Network,
    /// TCP, UDP and so on.
    Transport,
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The same.
    Is,
    /// Not the same.
    IsNot,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// This chain is done with it.
    Accept,
    /// It is gone.
    Drop,
    /// Back to the calling chain.
    Return,
    /// On in another chain, and back.
    Jump(String),
}

// === impl Expression ===

impl Expression {
    /// Goes on only for packets whose source lies in a subnet (or does not); of any family, once that was tested.
    #[must_use]
    pub fn source(subnet: Cidr, operator: Operator) -> [Self; 3] {
        match subnet.address() {
            IpAddr::V4(_) => address(subnet, operator, 12, 4),
            IpAddr::V6(_) => address(subnet, operator, 8, 16),
        }
    }

    /// Goes on only for packets whose destination lies in a subnet (or does not).
    #[must_use]
    pub fn destination(subnet: Cidr, operator: Operator) -> [Self; 3] {
        match subnet.address() {
            IpAddr::V4(_) => address(subnet, operator, 16, 4),
            IpAddr::V6(_) => address(subnet, operator, 24, 16),
        }
    }

    /// Goes on only for packets of the family of an address. Must come before any test of addresses.
    #[must_use]
    pub fn family_of(address: IpAddr) -> [Self; 2] {
        [Self::Meta(MetaKey::Family), Self::Compare(Operator::Is, vec![crate::address::family(address)])]
    }

    /// Goes on only for packets to an address of the node itself.
    #[must_use]
    pub fn to_node() -> [Self; 2] {
        let local = u32::from(libc::RTN_LOCAL).to_ne_bytes().to_vec();
        [Self::DestinationKind, Self::Compare(Operator::Is, local)]
    }

    /// Loads a key of several parts, at most four, as [`super::Set::key`] lists them.
    pub fn key(parts: &[KeyPart]) -> impl Iterator<Item = Self> {
        debug_assert!(parts.len() <= SLOTS, "a key has at most {SLOTS} parts");
        parts.iter().enumerate().map(|(slot, part)| Self::KeyPart { slot, part: *part })
    }

    pub(crate) fn nest(&self) -> Nest {
        let (name, data) = match self {
            Self::Meta(key) => ("meta", Nest::new().put_be32(1, REGISTER).put_be32(2, meta_number(*key))),
            Self::DestinationKind => {
                ("fib", Nest::new().put_be32(1, REGISTER).put_be32(2, FIB_KIND).put_be32(3, FIB_DESTINATION))
            }
            Self::KeyPart { slot, part } => key_part(slot_register(*slot), *part),
            Self::Ct(key) => ("ct", Nest::new().put_be32(1, REGISTER).put_be32(2, ct_number(*key))),
            Self::Payload { part, offset, length } => ("payload", load(REGISTER, *part, *offset, *length)),
            Self::Mask(mask) => ("bitwise", bitwise(mask)),
            Self::Compare(operator, value) => ("cmp", compare(*operator, value)),
            Self::InSet(set) => ("lookup", Nest::new().put_text(1, set).put_be32(2, REGISTER)),
            Self::ValueFrom(map) => {
                ("lookup", Nest::new().put_text(1, map).put_be32(2, REGISTER).put_be32(3, REGISTER))
            }
            Self::VerdictFrom(map) => {
                ("lookup", Nest::new().put_text(1, map).put_be32(2, REGISTER).put_be32(3, REGISTER_VERDICT))
            }
            Self::Verdict(verdict) => {
                ("immediate", Nest::new().put_be32(1, REGISTER_VERDICT).put_nested(2, verdict.nest()))
            }
            Self::Masquerade => ("masq", Nest::new().put_be32(1, RANDOM_FULLY)),
            Self::DestinationFrom => ("nat", destination_nat()),
        };
        Nest::new().put_text(NFTA_EXPR_NAME, name).put_nested(NFTA_EXPR_DATA, data)
    }
}

impl Verdict {
    /// Writes the verdict as data of an expression or of a map's element.
    pub(crate) fn nest(&self) -> Nest {
        let (code, chain) = match self {
            Self::Accept => (libc::NF_ACCEPT, None),
            Self::Drop => (libc::NF_DROP, None),
            Self::Return => (libc::NFT_RETURN, None),
            Self::Jump(chain) => (libc::NFT_JUMP, Some(chain)),
        };
        let verdict = Nest::new().put(NFTA_VERDICT_CODE, &code.to_be_bytes());
        let verdict = match chain {
            Some(chain) => verdict.put_text(NFTA_VERDICT_CHAIN, chain),
            None => verdict,
        };
        Nest::new().put_nested(NFTA_DATA_VERDICT, verdict)
    }
}

/// Writes bytes as data of an expression or of a set's element.
pub(crate) fn value(bytes: &[u8]) -> Nest {
    Nest::new().put(NFTA_DATA_VALUE, bytes)
}

fn address(subnet: Cidr, operator: Operator, offset: u32, length: u32) -> [Expression; 3] {
    [
        Expression::Payload { part: Part::Network, offset, length },
        Expression::Mask(subnet.mask()),
        Expression::Compare(operator, crate::address::octets(subnet.subnet().address())),
    ]
}

fn slot_register(slot: usize) -> u32 {
    SLOT_FIRST + u32::try_from(slot.min(SLOTS - 1)).expect("there are four slots")
}

fn key_part(register: u32, part: KeyPart) -> (&'static str, Nest) {
    match part {
        KeyPart::Protocol => ("meta", Nest::new().put_be32(1, register).put_be32(2, number(libc::NFT_META_L4PROTO))),
        KeyPart::DestinationV4 => ("payload", load(register, Part::Network, DESTINATION_V4_AT, IPV4_BYTES)),
        KeyPart::DestinationPort => ("payload", load(register, Part::Transport, DESTINATION_PORT_AT, PORT_BYTES)),
        KeyPart::OriginalDestinationPort => {
            let key = number(libc::NFT_CT_PROTO_DST);
            ("ct", Nest::new().put_be32(1, register).put_be32(2, key).put(3, &[CT_ORIGINAL]))
        }
    }
}

fn destination_nat() -> Nest {
    let family = number(libc::NFPROTO_IPV4);
    Nest::new()
        .put_be32(1, number(libc::NFT_NAT_DNAT))
        .put_be32(2, family)
        .put_be32(3, slot_register(0))
        .put_be32(5, slot_register(1))
}

fn load(register: u32, part: Part, offset: u32, length: u32) -> Nest {
    let base = match part {
        Part::Network => libc::NFT_PAYLOAD_NETWORK_HEADER,
        Part::Transport => libc::NFT_PAYLOAD_TRANSPORT_HEADER,
    };
    Nest::new().put_be32(1, register).put_be32(2, number(base)).put_be32(3, offset).put_be32(4, length)
}

fn bitwise(mask: &[u8]) -> Nest {
    let length = u32::try_from(mask.len()).expect("a mask has at most 16 bytes");
    Nest::new()
        .put_be32(1, REGISTER)
        .put_be32(2, REGISTER)
        .put_be32(3, length)
        .put_nested(4, value(mask))
        .put_nested(5, value(&vec![0; mask.len()]))
}

fn compare(operator: Operator, bytes: &[u8]) -> Nest {
    let operator = match operator {
        Operator::Is => libc::NFT_CMP_EQ,
        Operator::IsNot => libc::NFT_CMP_NEQ,
    };
    Nest::new().put_be32(1, REGISTER).put_be32(2, number(operator)).put_nested(3, value(bytes))
}

fn meta_number(key: MetaKey) -> u32 {
    number(match key {
        MetaKey::Family => libc::NFT_META_NFPROTO,
        MetaKey::Protocol => libc::NFT_META_L4PROTO,
        MetaKey::InName => libc::NFT_META_IIFNAME,
        MetaKey::OutName => libc::NFT_META_OIFNAME,
    })
}

fn ct_number(key: CtKey) -> u32 {
    number(match key {
        CtKey::State => libc::NFT_CT_STATE,
        CtKey::Status => libc::NFT_CT_STATUS,
    })
}

fn number(constant: i32) -> u32 {
    u32::try_from(constant).expect("the kernel's numbers here are not negative")
}

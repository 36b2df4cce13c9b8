//! Sets and maps, and what is in them.

use super::expression::{NFTA_DATA_VALUE, Verdict, value};
use super::{NFTA_LIST_ELEM, request};
use crate::message::{Nest, Request, attribute, attributes};
use libc::NLM_F_CREATE;

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
/// Most elements in one message: 64 bytes each at most, in an attribute that can't be longer than 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 500;
/// How many bits nft gives one type when it joins several into the type of a key.
const TYPE_BITS: u32 = 6;
/// Parts of a key are padded to this many bytes each.
const PART_BYTES: u32 = 4;
/// The kernel wants some number for a set; its name is what we use.
const SET_ID: u32 = 1;

/// What a part of a key or a value of a map is. The kernel only knows lengths; nft prints by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A transport protocol, one byte.
    Protocol,
    /// A port, two bytes in network byte order.
    Port,
}

/// What a set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetContent {
    /// Keys alone.
    Keys,
    /// For each key, values of these types.
    Values(Vec<DataType>),
    /// For each key, a verdict.
    Verdicts,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// The parts of a key.
    pub key: Vec<DataType>,
    /// What it holds.
    pub content: SetContent,
}

/// One element. Parts of keys and values are in network byte order, each padded to 4 bytes when there are several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// Of [`SetContent::Keys`].
    Key(Vec<u8>),
    /// Of [`SetContent::Values`].
    Value(Vec<u8>, Vec<u8>),
    /// Of [`SetContent::Verdicts`].
    Verdict(Vec<u8>, Verdict),
}

// === impl DataType ===

impl DataType {
    /// The number nft keeps in the set so that it can print it again. libnftables, `enum datatypes`.
    fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
        }
    }

    fn bytes(self) -> u32 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }
}

/// Joins types into one number and one length.
fn joined(types: &[DataType]) -> (u32, u32) {
    if let [single] = types {
        return (single.number(), single.bytes());
    }
    let number = types.iter().fold(0, |joined, part| (joined << TYPE_BITS) | part.number());
    (number, types.iter().map(|part| part.bytes().next_multiple_of(PART_BYTES)).sum())
}

// === Requests ===

pub(crate) fn add(table: &str, set: &Set) -> Request {
    let (key_type, key_bytes) = joined(&set.key);
    let flags = match set.content {
        SetContent::Keys => 0,
        SetContent::Values(_) | SetContent::Verdicts => libc::NFT_SET_MAP,
    };
    let request = request(format!("add nft set {table} {}", set.name), libc::NFT_MSG_NEWSET, NLM_F_CREATE)
        .put_text(NFTA_SET_TABLE, table)
        .put_text(NFTA_SET_NAME, &set.name)
        .put_be32(NFTA_SET_FLAGS, u32::try_from(flags).expect("flags of a set are small"))
        .put_be32(NFTA_SET_KEY_TYPE, key_type)
        .put_be32(NFTA_SET_KEY_LEN, key_bytes)
        .put_be32(NFTA_SET_ID, SET_ID);
    match &set.content {
        SetContent::Keys => request,
        SetContent::Values(types) => {
            let (data_type, data_bytes) = joined(types);
            request.put_be32(NFTA_SET_DATA_TYPE, data_type).put_be32(NFTA_SET_DATA_LEN, data_bytes)
        }
        SetContent::Verdicts => request.put_be32(NFTA_SET_DATA_TYPE, libc::NFT_DATA_VERDICT),
    }
}

/// Writes elements into as many messages as they need, each begun by `begin`.
pub(crate) fn elements(begin: impl Fn() -> Request, table: &str, set: &Set, elements: &[Element]) -> Vec<Request> {
    let part = |part: &[Element]| {
        let list = part.iter().fold(Nest::new(), |list, element| list.put_nested(NFTA_LIST_ELEM, element.nest()));
        begin()
            .put_text(NFTA_SET_ELEM_LIST_TABLE, table)
            .put_text(NFTA_SET_ELEM_LIST_SET, &set.name)
            .put_nested(NFTA_SET_ELEM_LIST_ELEMENTS, list)
    };
    elements.chunks(ELEMENTS_PER_MESSAGE).map(part).collect()
}

/// Asks for what a set holds.
pub(crate) fn list(table: &str, set: &Set) -> Request {
    request(format!("list nft set {table} {}", set.name), libc::NFT_MSG_GETSETELEM, libc::NLM_F_DUMP)
        .put_text(NFTA_SET_ELEM_LIST_TABLE, table)
        .put_text(NFTA_SET_ELEM_LIST_SET, &set.name)
}

/// Reads the elements of one message; what is no element of this kind of set is left out.
pub(crate) fn read(set: &Set, attributes_of_message: &[u8]) -> Vec<Element> {
    let list = attribute(attributes_of_message, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(list).filter_map(|(_, element)| Element::read(&set.content, element)).collect()
}

impl Element {
    fn nest(&self) -> Nest {
        let key = |key: &[u8]| Nest::new().put_nested(NFTA_SET_ELEM_KEY, value(key));
        match self {
            Self::Key(bytes) => key(bytes),
            Self::Value(bytes, data) => key(bytes).put_nested(NFTA_SET_ELEM_DATA, value(data)),
            Self::Verdict(bytes, verdict) => key(bytes).put_nested(NFTA_SET_ELEM_DATA, verdict.nest()),
        }
    }

    fn read(content: &SetContent, bytes: &[u8]) -> Option<Self> {
        let data = |kind| attribute(attribute(bytes, kind)?, NFTA_DATA_VALUE).map(<[u8]>::to_vec);
        let key = data(NFTA_SET_ELEM_KEY)?;
        match content {
            SetContent::Keys => Some(Self::Key(key)),
            SetContent::Values(_) => Some(Self::Value(key, data(NFTA_SET_ELEM_DATA)?)),
            // Nobody asks what is in a map of verdicts.
            SetContent::Verdicts => None,
        }
    }
}

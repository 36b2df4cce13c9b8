//! nf_tables, spoken directly: one transaction in, or an error and nothing changed. `linux/netfilter/nf_tables.h`.
//!
//! A [`Change`] is one step; [`NftSocket::commit`] puts all of them into one batch, which the kernel takes whole or not at
//! all. Only what the project's own tables need is here, the `inet` family alone, so that one table serves both IPs.

mod expression;
mod set;
mod socket;

pub use expression::{CtKey, Expression, KeyPart, MetaKey, Operator, Part, Verdict};
pub use set::{DataType, Element, Set, SetContent};
pub use socket::NftSocket;

use crate::message::{Nest, Request};
use libc::{NLM_F_APPEND, NLM_F_CREATE};

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
pub(crate) const NFTA_RULE_TABLE: u16 = 1;
pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(crate) const NFTA_RULE_USERDATA: u16 = 7;
pub(crate) const NFTA_LIST_ELEM: u16 = 1;
/// A comment inside the user data of a rule, as libnftnl lays it out: type, length, text with its zero byte.
const UDATA_RULE_COMMENT: u8 = 0;
/// Longest comment: its length, zero byte included, is one byte, and nft itself stops at 128.
pub const COMMENT_BYTES_MAX: usize = 127;

/// Where the kernel calls a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Never: other chains jump to it.
    None,
    /// For every packet coming in, before its connection is looked up.
    RawPrerouting,
    /// For the first packet of a connection coming in, to change where it goes.
    NatPrerouting,
    /// For the first packet of a connection of the node's own, to change where it goes.
    NatOutput,
    /// For the first packet of a connection going out, to change where it seems to come from.
    NatPostrouting,
    /// For every packet that passes through the node.
    FilterForward,
}

/// One step of a transaction. Tables and chains of the `inet` family.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Makes a table; quiet when it is there.
    AddTable(&'a str),
    /// Deletes a table with all it holds. Refused with `ENOENT` when it is not there.
    DeleteTable(&'a str),
    /// Makes a chain; quiet when it is there in this form.
    AddChain {
        /// Its table.
        table: &'a str,
        /// Its name.
        name: &'a str,
        /// When it is called.
        hook: Hook,
    },
    /// Deletes every rule of a chain.
    FlushChain {
        /// Its table.
        table: &'a str,
        /// The chain.
        chain: &'a str,
    },
    /// Puts a rule at the end of a chain.
    AddRule {
        /// Its table.
        table: &'a str,
        /// Its chain.
        chain: &'a str,
        /// What it tests and does, in this order.
        expressions: &'a [Expression],
        /// Words kept with it, at most [`COMMENT_BYTES_MAX`] bytes.
        comment: &'a str,
    },
    /// Makes a set or map; quiet when it is there in this form.
    AddSet {
        /// Its table.
        table: &'a str,
        /// The set.
        set: &'a Set,
    },
    /// Adds elements to a set or map; quiet for those it holds, refused with `EEXIST` for keys that lead elsewhere.
    AddElements {
        /// Its table.
        table: &'a str,
        /// The set.
        set: &'a Set,
        /// The elements.
        elements: &'a [Element],
    },
    /// Deletes elements of a set or map. Refused with `ENOENT` when one is not there.
    DeleteElements {
        /// Its table.
        table: &'a str,
        /// The set.
        set: &'a Set,
        /// The elements.
        elements: &'a [Element],
    },
}

// === impl Change ===

impl Change<'_> {
    /// Writes the messages of this step: one, or more where there are many elements.
    fn requests(&self) -> Vec<Request> {
        let one = match self {
            Self::AddTable(table) => request(format!("add nft table {table}"), libc::NFT_MSG_NEWTABLE, NLM_F_CREATE)
                .put_text(NFTA_TABLE_NAME, table),
            Self::DeleteTable(table) => {
                request(format!("delete nft table {table}"), libc::NFT_MSG_DELTABLE, 0).put_text(NFTA_TABLE_NAME, table)
            }
            Self::AddChain { table, name, hook } => add_chain(table, name, *hook),
            Self::FlushChain { table, chain } => {
                request(format!("empty nft chain {table} {chain}"), libc::NFT_MSG_DELRULE, 0)
                    .put_text(NFTA_RULE_TABLE, table)
                    .put_text(NFTA_RULE_CHAIN, chain)
            }
            Self::AddRule { table, chain, expressions, comment } => add_rule(table, chain, expressions, comment),
            Self::AddSet { table, set } => set::add(table, set),
            Self::AddElements { table, set, elements } => {
                let what = || format!("add to nft set {table} {}", set.name);
                return set::elements(|| request(what(), libc::NFT_MSG_NEWSETELEM, NLM_F_CREATE), table, set, elements);
            }
            Self::DeleteElements { table, set, elements } => {
                let what = || format!("delete from nft set {table} {}", set.name);
                return set::elements(|| request(what(), libc::NFT_MSG_DELSETELEM, 0), table, set, elements);
            }
        };
        vec![one]
    }
}

fn add_chain(table: &str, name: &str, hook: Hook) -> Request {
    let request = request(format!("add nft chain {table} {name}"), libc::NFT_MSG_NEWCHAIN, NLM_F_CREATE)
        .put_text(NFTA_CHAIN_TABLE, table)
        .put_text(NFTA_CHAIN_NAME, name);
    // Priorities as nft names them: raw, dstnat, srcnat, filter.
    let (kind, number, priority) = match hook {
        Hook::None => return request,
        Hook::RawPrerouting => ("filter", libc::NF_INET_PRE_ROUTING, libc::NF_IP_PRI_RAW),
        Hook::NatPrerouting => ("nat", libc::NF_INET_PRE_ROUTING, libc::NF_IP_PRI_NAT_DST),
        Hook::NatOutput => ("nat", libc::NF_INET_LOCAL_OUT, libc::NF_IP_PRI_NAT_DST),
        Hook::NatPostrouting => ("nat", libc::NF_INET_POST_ROUTING, libc::NF_IP_PRI_NAT_SRC),
        Hook::FilterForward => ("filter", libc::NF_INET_FORWARD, libc::NF_IP_PRI_FILTER),
    };
    let number = u32::try_from(number).expect("hooks are numbered from 0");
    let accept = u32::try_from(libc::NF_ACCEPT).expect("accept is 1");
    request
        .put_nested(
            NFTA_CHAIN_HOOK,
            Nest::new().put_be32(NFTA_HOOK_HOOKNUM, number).put(NFTA_HOOK_PRIORITY, &priority.to_be_bytes()),
        )
        .put_be32(NFTA_CHAIN_POLICY, accept)
        .put_text(NFTA_CHAIN_TYPE, kind)
}

fn add_rule(table: &str, chain: &str, expressions: &[Expression], comment: &str) -> Request {
    let list =
        expressions.iter().fold(Nest::new(), |list, expression| list.put_nested(NFTA_LIST_ELEM, expression.nest()));
    let what = format!("add a rule to nft chain {table} {chain}");
    request(what, libc::NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND)
        .put_text(NFTA_RULE_TABLE, table)
        .put_text(NFTA_RULE_CHAIN, chain)
        .put_nested(NFTA_RULE_EXPRESSIONS, list)
        .put(NFTA_RULE_USERDATA, &comment_data(comment))
}

fn comment_data(comment: &str) -> Vec<u8> {
    let text = &comment.as_bytes()[..comment.len().min(COMMENT_BYTES_MAX)];
    let length = u8::try_from(text.len() + 1).expect("a comment is cut to 127 bytes");
    [&[UDATA_RULE_COMMENT, length], text, &[0]].concat()
}

/// Finds the comment in a rule's user data.
fn read_comment(data: &[u8]) -> Option<String> {
    let length = usize::from(*data.get(1)?);
    (*data.first()? == UDATA_RULE_COMMENT).then(|| data.get(2..2 + length).map(crate::message::text))?
}

/// Begins a message of the nf_tables subsystem, for the `inet` family.
fn request(what: impl Into<String>, message: i32, flags: i32) -> Request {
    let kind = (libc::NFNL_SUBSYS_NFTABLES << 8) | message;
    let kind = u16::try_from(kind).expect("subsystem and message make 16 bits");
    Request::new(what, kind, flags, &generic(libc::NFPROTO_INET, 0))
}

/// `struct nfgenmsg`: family, version 0, and a number in network byte order.
fn generic(family: i32, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [u8::try_from(family).expect("protocol families are small"), 0, high, low]
}

//! Masquerade: what leaves a network's subnets leaves with the node's address.
//!
//! One table of ours (family `inet`) with one chain and one rule per subnet. Rules are told apart by their comments, which
//! say what they do; so a restarted daemon finds its own, and nobody else's chain of the same name is ever emptied.

use crate::error::{Error, Result};
use crate::seen::Seen;
use nix::errno::Errno;
use orlop_netlink::Cidr;
use orlop_netlink::nft::{Change, Expression, Hook, NftSocket, Operator};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest table name. The kernel takes 255 bytes; old nft printed 31.
pub const TABLE_NAME_BYTES_MAX: usize = 31;
const CHAIN: &str = "postrouting";
/// What the comment of every rule of ours begins with.
pub(crate) const COMMENT_BEGINS: &str = "orlop: ";

/// The name of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(String);

/// What is to be masqueraded.
#[derive(Clone, Debug)]
pub struct Masquerade {
    /// The table that holds the rules; nobody else's.
    pub table: TableName,
    /// From where; within each of them nothing is changed.
    pub subnets: Vec<Cidr>,
}

// === impl TableName ===

impl TableName {
    /// Parses a name.
    ///
    /// # Errors
    /// When nft could not say it without quotes.
    pub fn parse(text: &str) -> Result<Self> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if first && rest && text.len() <= TABLE_NAME_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::BadTableName { name: text.chars().take(100).collect(), max: TABLE_NAME_BYTES_MAX })
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === Work ===

/// Makes table, chain and rules unless they are there. `seen` is what the last call returned: while nobody has changed any
/// table since, there is nothing to look for.
///
/// # Errors
/// When the kernel refuses, or when the table holds a chain of that name with rules of others.
pub fn ensure(nft: &mut NftSocket, wanted: &Masquerade, seen: Option<Seen>) -> Result<Seen> {
    let tried = || Error::netlink(format!("look at nft table {}", wanted.table.0));
    let generation = Seen::now(nft)?;
    if seen == Some(generation) {
        return Ok(generation);
    }
    let expected: Vec<String> = wanted.subnets.iter().map(|subnet| comment(*subnet)).collect();
    let found = nft.comments(&wanted.table.0, CHAIN).map_err(tried())?;
    if found == expected {
        return Ok(generation);
    }
    refuse_foreign(&wanted.table, &found)?;
    write(nft, wanted, &expected)?;
    Seen::now(nft)
}

/// Deletes the table with all it holds. Quiet when it is not there.
///
/// # Errors
/// When the kernel refuses, or when the table holds rules of others.
pub fn remove(nft: &mut NftSocket, wanted: &Masquerade) -> Result<()> {
    let tried = || Error::netlink(format!("delete nft table {}", wanted.table.0));
    let found = nft.comments(&wanted.table.0, CHAIN).map_err(tried())?;
    refuse_foreign(&wanted.table, &found)?;
    match nft.commit(&[Change::DeleteTable(&wanted.table.0)]) {
        Err(error) if !error.is(Errno::ENOENT) => Err(tried()(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write(nft: &mut NftSocket, wanted: &Masquerade, comments: &[String]) -> Result<()> {
    let table = wanted.table.0.as_str();
    let rules: Vec<Vec<Expression>> = wanted.subnets.iter().map(|subnet| rule(*subnet)).collect();
    let mut changes = vec![
        Change::AddTable(table),
        Change::AddChain { table, name: CHAIN, hook: Hook::NatPostrouting },
        Change::FlushChain { table, chain: CHAIN },
    ];
    for (expressions, comment) in rules.iter().zip(comments) {
        changes.push(Change::AddRule { table, chain: CHAIN, expressions, comment });
    }
    nft.commit(&changes).map_err(Error::netlink(format!("set up masquerade in nft table {table}")))
}

/// Refuses a table that holds rules of others: someone else had the name first.
pub(crate) fn refuse_foreign(table: &TableName, comments: &[String]) -> Result<()> {
    match comments.iter().find(|comment| !comment.starts_with(COMMENT_BEGINS)) {
        None => Ok(()),
        Some(comment) => Err(Error::Taken {
            what: "nft table",
            name: table.0.clone(),
            found: format!("it holds a rule with the comment {comment:?}"),
        }),
    }
}

fn comment(subnet: Cidr) -> String {
    format!("{COMMENT_BEGINS}{subnet} leaves as the node")
}

/// From the subnet, to outside of it, but not to a group: multicast keeps its source or nobody could answer.
fn rule(subnet: Cidr) -> Vec<Expression> {
    let groups = match subnet.address() {
        IpAddr::V4(_) => Cidr::new(Ipv4Addr::new(224, 0, 0, 0), 4),
        IpAddr::V6(_) => Cidr::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    }
    .expect("the multicast ranges have short prefixes");
    let mut rule = Expression::family_of(subnet.address()).to_vec();
    rule.extend(Expression::source(subnet, Operator::Is));
    rule.extend(Expression::destination(subnet, Operator::IsNot));
    rule.extend(Expression::destination(groups, Operator::IsNot));
    rule.push(Expression::Masquerade);
    rule
}

//! A socket for nf_tables.

use super::{Change, Element, Set, set};
use super::{NFTA_RULE_CHAIN, NFTA_RULE_TABLE, NFTA_RULE_USERDATA, generic, read_comment, request};
use crate::error::{Error, Result};
use crate::message::{Request, attribute, text};
use crate::socket::Socket;
use libc::NLM_F_DUMP;
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

const NFTA_GEN_ID: u16 = 1;
/// Bytes of `struct nfgenmsg`.
const FIXED: usize = 4;

/// A `NETLINK_NETFILTER` socket. It acts on the network namespace it was made in.
#[derive(Debug)]
pub struct NftSocket(Socket);

impl NftSocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Where there are no descriptors left, or no netfilter in the kernel.
    pub fn open() -> Result<Self> {
        Socket::open(SockProtocol::NetlinkNetFilter).map(Self)
    }

    /// Does all changes in one transaction: all of them, or none.
    ///
    /// # Errors
    /// The first change that was refused.
    pub fn commit(&mut self, changes: &[Change<'_>]) -> Result<()> {
        let requests: Vec<Request> = changes.iter().flat_map(Change::requests).collect();
        let frame = |what, kind: i32| {
            let kind = u16::try_from(kind).expect("message types have 16 bits");
            let subsystem = u16::try_from(libc::NFNL_SUBSYS_NFTABLES).expect("subsystems have 8 bits");
            Request::new(what, kind, 0, &generic(libc::NFPROTO_UNSPEC, subsystem))
        };
        let begin = frame("begin an nft transaction", libc::NFNL_MSG_BATCH_BEGIN);
        let end = frame("end an nft transaction", libc::NFNL_MSG_BATCH_END);
        self.0.perform_batch(&begin, &requests, &end)
    }

    /// Returns a number that grows with every change of any table in the namespace, by anyone.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn generation(&mut self) -> Result<u32> {
        let ask = request("ask for the nft generation", libc::NFT_MSG_GETGEN, 0);
        let read = |payload: &[u8]| {
            let bytes = attribute(payload.get(FIXED..)?, NFTA_GEN_ID)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        let nothing = || Error::Garbled { request: ask.what().to_owned(), what: "it holds no generation" };
        self.0.ask(&ask, read)?.ok_or_else(nothing)
    }

    /// Lists the comments of a chain's rules, in order; a rule without one counts as an empty one. A chain that is not there
    /// has no rules.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn comments(&mut self, table: &str, chain: &str) -> Result<Vec<String>> {
        let ask = request(format!("list nft chain {table} {chain}"), libc::NFT_MSG_GETRULE, NLM_F_DUMP)
            .put_text(NFTA_RULE_TABLE, table)
            .put_text(NFTA_RULE_CHAIN, chain);
        let read = |payload: &[u8]| {
            let rest = payload.get(FIXED..)?;
            let is = |kind, wanted: &str| attribute(rest, kind).is_some_and(|value| text(value) == wanted);
            let ours = is(NFTA_RULE_TABLE, table) && is(NFTA_RULE_CHAIN, chain);
            ours.then(|| attribute(rest, NFTA_RULE_USERDATA).and_then(read_comment).unwrap_or_default())
        };
        match self.0.dump(&ask, read) {
            Err(error) if error.is(Errno::ENOENT) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Lists what a set or map holds, in no order; verdicts are left out. A set that is not there holds nothing.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn elements(&mut self, table: &str, set: &Set) -> Result<Vec<Element>> {
        let read = |payload: &[u8]| payload.get(FIXED..).map(|rest| set::read(set, rest));
        match self.0.dump(&set::list(table, set), read) {
            Err(error) if error.is(Errno::ENOENT) => Ok(Vec::new()),
            other => Ok(other?.into_iter().flatten().collect()),
        }
    }
}

//! How packets find a pod by a port of the node: chains and maps of a network, and the elements of its ports.
//!
//! What is sent to an address of the node, by others or by itself, is looked up in two maps: one by address, protocol and
//! port, one by protocol and port. Two kinds of connections also get the bridge's address as their source, or the answer
//! would not come back this way: those of pods of the same network (the pod would answer its neighbour directly), and those
//! of the node from 127.0.0.1, which means something else inside. For the second, packets from 127.0.0.0/8 must be able to
//! leave by the bridge (`route_localnet`); what pods themselves send from or to there is dropped, as the kernel would have.

use super::{Mapping, Protocol};
use crate::error::{Error, Result};
use crate::masquerade::{COMMENT_BEGINS, TableName, refuse_foreign};
use crate::seen::Seen;
use crate::sysctl::{self, Missing};
use nix::errno::Errno;
use orlop_netlink::nft::{
    Change, CtKey, DataType, Element, Expression, Hook, KeyPart, MetaKey, NftSocket, Operator, Set, SetContent, Verdict,
};
use orlop_netlink::{Cidr, LinkName};
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// Most mappings in one transaction, three elements each at most; it must fit into the socket's buffer of 208 KiB.
const MAPPINGS_PER_COMMIT: usize = 512;
/// `IPS_DST_NAT`: the connection was led elsewhere.
const STATUS_DESTINATION_CHANGED: u32 = 1 << 5;
/// Bytes in which the kernel keeps a link's name.
const LINK_NAME_BYTES: usize = 16;
const LOOKUP: &str = "host_ports";
const BY_PORT: &str = "by_port";
const BY_ADDRESS: &str = "by_address";
const LED: &str = "led";

/// The rules of one network.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The table that holds them; nobody else's.
    pub table: TableName,
    /// The bridge by which pods are reached.
    pub bridge: LinkName,
    /// The pods' subnet.
    pub subnet: Cidr,
}

/// A chain as wanted, its rules with their comments.
struct Chain {
    name: &'static str,
    hook: Hook,
    rules: Vec<(String, Vec<Expression>)>,
}

/// What becomes of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Add,
    Delete,
}

/// The elements of some mappings, by set, in the order of [`sets`].
type Elements = [HashSet<Element>; 3];

// === impl Rules ===

impl Rules {
    /// Makes chains and maps unless they are there, and the maps hold these mappings and no others. `seen` is what the last
    /// call returned: while nobody has changed any table since, there is nothing to look for.
    ///
    /// # Errors
    /// When the kernel refuses, or when the table holds chains of these names with rules of others.
    pub fn ensure<'a>(
        &self,
        nft: &mut NftSocket,
        mappings: impl Iterator<Item = &'a Mapping>,
        seen: Option<Seen>,
    ) -> Result<Seen> {
        let now = Seen::now(nft)?;
        if seen == Some(now) {
            self.let_loopback_out()?;
            return Ok(now);
        }
        let chains = self.chains();
        if !self.are_there(nft, &chains)? {
            self.write(nft, &chains)?;
        }
        self.sync(nft, &elements_of(mappings))?;
        self.let_loopback_out()?;
        Seen::now(nft)
    }

    /// Leads ports into pods, where the rules were `seen` whole. Returns in which state they are so now; `None` when others
    /// were at it too.
    ///
    /// # Errors
    /// When the kernel refuses, as it does with `ENOENT` or `EEXIST` where someone changed the table; [`Rules::ensure`]
    /// with no memory then repairs it.
    pub fn open(&self, nft: &mut NftSocket, mappings: &[Mapping], seen: Seen) -> Result<Option<Seen>> {
        self.commit(nft, mappings, Step::Add).map_err(self.tried("lead ports of the node into a pod"))?;
        Ok(seen.after_own_change(nft))
    }

    /// Leads ports nowhere again. Quiet for those that are not there. Returns what [`Rules::open`] does.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn close(&self, nft: &mut NftSocket, mappings: &[Mapping], seen: Option<Seen>) -> Result<Option<Seen>> {
        let tried = || self.tried("take ports of the node from a pod");
        match self.commit(nft, mappings, Step::Delete) {
            Ok(()) => return Ok(seen.and_then(|seen| seen.after_own_change(nft))),
            Err(error) if error.is(Errno::ENOENT) => {}
            Err(error) => return Err(tried()(error)),
        }
        // Some are missing: whoever made them died over it, or someone emptied the table. What is there goes.
        let unwanted = elements_of(mappings.iter());
        for (set, unwanted) in sets().iter().zip(unwanted) {
            let present = nft.elements(self.table.as_str(), set).map_err(tried())?;
            let ours: Vec<Element> = present.into_iter().filter(|element| unwanted.contains(element)).collect();
            self.delete(nft, set, &ours).map_err(tried())?;
        }
        Ok(None)
    }

    fn are_there(&self, nft: &mut NftSocket, chains: &[Chain]) -> Result<bool> {
        let mut whole = true;
        for chain in chains {
            let tried = self.tried("look at host ports");
            let found = nft.comments(self.table.as_str(), chain.name).map_err(tried)?;
            refuse_foreign(&self.table, &found)?;
            whole &= found.iter().eq(chain.rules.iter().map(|(comment, _)| comment));
        }
        Ok(whole)
    }

    fn write(&self, nft: &mut NftSocket, chains: &[Chain]) -> Result<()> {
        let table = self.table.as_str();
        let sets = sets();
        let mut changes = vec![Change::AddTable(table)];
        changes.extend(sets.iter().map(|set| Change::AddSet { table, set }));
        for Chain { name, hook, .. } in chains {
            changes.push(Change::AddChain { table, name, hook: *hook });
            changes.push(Change::FlushChain { table, chain: name });
        }
        for chain in chains {
            changes.extend(chain.rules.iter().map(|(comment, expressions)| Change::AddRule {
                table,
                chain: chain.name,
                expressions,
                comment,
            }));
        }
        nft.commit(&changes).map_err(self.tried("set up host ports"))
    }

    /// Makes the maps hold these elements and no others.
    fn sync(&self, nft: &mut NftSocket, wanted: &Elements) -> Result<()> {
        let tried = || self.tried("bring host ports up to date");
        let table = self.table.as_str();
        for (set, wanted) in sets().iter().zip(wanted) {
            let present: HashSet<Element> = nft.elements(table, set).map_err(tried())?.into_iter().collect();
            let strays: Vec<Element> = present.difference(wanted).cloned().collect();
            self.delete(nft, set, &strays).map_err(tried())?;
            let missing: Vec<Element> = wanted.difference(&present).cloned().collect();
            for elements in missing.chunks(MAPPINGS_PER_COMMIT) {
                nft.commit(&[Change::AddElements { table, set, elements }]).map_err(tried())?;
            }
        }
        Ok(())
    }

    fn delete(&self, nft: &mut NftSocket, set: &Set, elements: &[Element]) -> orlop_netlink::Result<()> {
        let table = self.table.as_str();
        elements
            .chunks(MAPPINGS_PER_COMMIT)
            .try_for_each(|elements| nft.commit(&[Change::DeleteElements { table, set, elements }]))
    }

    /// Changes the elements of mappings: as many as one transaction takes, so up to that many all or none.
    fn commit(&self, nft: &mut NftSocket, mappings: &[Mapping], step: Step) -> orlop_netlink::Result<()> {
        let (table, sets) = (self.table.as_str(), sets());
        for part in mappings.chunks(MAPPINGS_PER_COMMIT) {
            let elements = elements_of(part.iter()).map(|elements| elements.into_iter().collect::<Vec<_>>());
            let some = sets.iter().zip(&elements).filter(|(_, elements)| !elements.is_empty());
            let changes: Vec<Change<'_>> = some
                .map(|(set, elements)| match step {
                    Step::Add => Change::AddElements { table, set, elements },
                    Step::Delete => Change::DeleteElements { table, set, elements },
                })
                .collect();
            nft.commit(&changes)?;
        }
        Ok(())
    }

    /// Only once the rules that drop what pods send from and to 127.0.0.0/8 are there.
    fn let_loopback_out(&self) -> Result<()> {
        sysctl::set(&format!("ipv4/conf/{}/route_localnet", self.bridge), "1", Missing::Fails)
    }

    fn tried(&self, what: &str) -> impl FnOnce(orlop_netlink::Error) -> Error + use<> {
        Error::netlink(format!("{what} in nft table {}", self.table.as_str()))
    }

    // === What the rules are ===

    fn chains(&self) -> [Chain; 5] {
        let (bridge, subnet) = (&self.bridge, self.subnet);
        let to_node = Expression::to_node().to_vec();
        let jump = vec![Expression::Verdict(Verdict::Jump(LOOKUP.to_owned()))];
        let guard = |test: [Expression; 3]| rule([self.by_bridge(MetaKey::InName).to_vec(), test.to_vec(), dropped()]);
        let masquerade = vec![Expression::Masquerade];
        let chain = |name, hook, rules: Vec<(String, Vec<Expression>)>| {
            let rules = rules.into_iter().map(|(words, rule)| (format!("{COMMENT_BEGINS}{words}"), rule)).collect();
            Chain { name, hook, rules }
        };
        [
            chain(
                LOOKUP,
                Hook::None,
                vec![
                    ("a port at one address".to_owned(), led_by(BY_ADDRESS, &BY_ADDRESS_KEY)),
                    ("a port at every address".to_owned(), led_by(BY_PORT, &BY_PORT_KEY)),
                ],
            ),
            chain(
                "prerouting",
                Hook::NatPrerouting,
                vec![(
                    // What comes from elsewhere to 127.0.0.0/8 is left for the kernel to refuse.
                    "what others send to the node".to_owned(),
                    rule([
                        Expression::destination(loopback(), Operator::IsNot).to_vec(),
                        to_node.clone(),
                        jump.clone(),
                    ]),
                )],
            ),
            chain(
                "output",
                Hook::NatOutput,
                vec![("what the node sends to itself".to_owned(), rule([to_node, jump, Vec::new()]))],
            ),
            chain(
                "host_port_sources",
                Hook::NatPostrouting,
                vec![
                    (
                        format!("the node's loopback reaches {bridge} as the node"),
                        rule([
                            self.by_bridge(MetaKey::OutName).to_vec(),
                            Expression::source(loopback(), Operator::Is).to_vec(),
                            masquerade.clone(),
                        ]),
                    ),
                    (
                        format!("{subnet} reaches host ports as the node"),
                        rule([self.neighbour().to_vec(), led_already(), masquerade]),
                    ),
                ],
            ),
            chain(
                "loopback_guard",
                Hook::RawPrerouting,
                vec![
                    (
                        format!("nothing comes by {bridge} to loopback"),
                        guard(Expression::destination(loopback(), Operator::Is)),
                    ),
                    (
                        format!("nothing comes by {bridge} from loopback"),
                        guard(Expression::source(loopback(), Operator::Is)),
                    ),
                ],
            ),
        ]
    }

    fn by_bridge(&self, key: MetaKey) -> [Expression; 2] {
        let mut name = self.bridge.as_str().as_bytes().to_vec();
        name.resize(LINK_NAME_BYTES, 0);
        [Expression::Meta(key), Expression::Compare(Operator::Is, name)]
    }

    /// From a pod of the network, and on to one.
    fn neighbour(&self) -> Vec<Expression> {
        let source = Expression::source(self.subnet, Operator::Is);
        self.by_bridge(MetaKey::OutName).into_iter().chain(source).collect()
    }
}

const BY_PORT_KEY: [KeyPart; 2] = [KeyPart::Protocol, KeyPart::DestinationPort];
const BY_ADDRESS_KEY: [KeyPart; 3] = [KeyPart::DestinationV4, KeyPart::Protocol, KeyPart::DestinationPort];
const LED_KEY: [KeyPart; 4] =
    [KeyPart::Protocol, KeyPart::OriginalDestinationPort, KeyPart::DestinationV4, KeyPart::DestinationPort];

/// A rule for IPv4 of three parts.
fn rule(parts: [Vec<Expression>; 3]) -> Vec<Expression> {
    Expression::family_of(Ipv4Addr::LOCALHOST.into()).into_iter().chain(parts.into_iter().flatten()).collect()
}

fn dropped() -> Vec<Expression> {
    vec![Expression::Verdict(Verdict::Drop)]
}

/// Leads a connection where a map says; goes on when it says nothing.
fn led_by(map: &str, key: &[KeyPart]) -> Vec<Expression> {
    let key = Expression::key(key).collect();
    rule([key, vec![Expression::ValueFrom(map.to_owned())], vec![Expression::DestinationFrom]])
}

/// For connections that these rules have led to where they go now, and not those of anyone else's services.
fn led_already() -> Vec<Expression> {
    let mut test = vec![
        Expression::Ct(CtKey::Status),
        Expression::Mask(STATUS_DESTINATION_CHANGED.to_ne_bytes().to_vec()),
        Expression::Compare(Operator::IsNot, vec![0; 4]),
    ];
    test.extend(Expression::key(&LED_KEY));
    test.push(Expression::InSet(LED.to_owned()));
    test
}

fn loopback() -> Cidr {
    Cidr::new(Ipv4Addr::new(127, 0, 0, 0), 8).expect("8 is a prefix of IPv4")
}

// === Sets and their elements ===

fn sets() -> [Set; 3] {
    let set = |name: &str, key: &[KeyPart], content| Set {
        name: name.to_owned(),
        key: key.iter().map(|part| data_type(*part)).collect(),
        content,
    };
    let target = || SetContent::Values(vec![DataType::Ipv4, DataType::Port]);
    [
        set(BY_PORT, &BY_PORT_KEY, target()),
        set(BY_ADDRESS, &BY_ADDRESS_KEY, target()),
        set(LED, &LED_KEY, SetContent::Keys),
    ]
}

fn data_type(part: KeyPart) -> DataType {
    match part {
        KeyPart::Protocol => DataType::Protocol,
        KeyPart::DestinationV4 => DataType::Ipv4,
        KeyPart::DestinationPort | KeyPart::OriginalDestinationPort => DataType::Port,
    }
}

/// Writes the elements of mappings. Sets, since one port at two addresses of the node counts as led once.
fn elements_of<'a>(mappings: impl Iterator<Item = &'a Mapping>) -> Elements {
    let mut elements = Elements::default();
    let [by_port, by_address, led] = &mut elements;
    for Mapping { from, to, to_port } in mappings {
        let target = [to.octets(), port(*to_port)].concat();
        match from.address {
            None => {
                by_port.insert(Element::Value([protocol(from.protocol), port(from.number)].concat(), target.clone()))
            }
            Some(address) => {
                let key = [address.octets(), protocol(from.protocol), port(from.number)].concat();
                by_address.insert(Element::Value(key, target.clone()))
            }
        };
        led.insert(Element::Key([[protocol(from.protocol), port(from.number)].concat(), target].concat()));
    }
    elements
}

fn protocol(protocol: Protocol) -> [u8; 4] {
    [protocol.number(), 0, 0, 0]
}

fn port(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 0]
}

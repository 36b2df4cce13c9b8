//! nf_tables as `nft` itself reads them back, in namespaces of the test's own.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use nix::errno::Errno;
use orlop_netlink::Cidr;
use orlop_netlink::nft::{
    Change, CtKey, DataType, Element, Expression, Hook, KeyPart, MetaKey, NftSocket, Operator, Part, Set, SetContent,
    Verdict,
};
use orlop_sys::netns;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

fn inside(ns: &OwnedFd) -> NftSocket {
    netns::inside(ns.as_fd(), || NftSocket::open().unwrap()).unwrap()
}

/// What `nft list ruleset` prints in the namespace, each line without its indentation.
fn listed(ns: &OwnedFd) -> Vec<String> {
    let output = netns::inside(ns.as_fd(), || Command::new("nft").args(["list", "ruleset"]).output().unwrap()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

/// What `nft -j list ruleset` prints: every object but the header.
fn listed_json(ns: &OwnedFd) -> Vec<serde_json::Value> {
    let run = || Command::new("nft").args(["-j", "list", "ruleset"]).output().unwrap();
    let output = netns::inside(ns.as_fd(), run).unwrap();
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    all["nftables"].as_array().unwrap().iter().skip(1).cloned().collect()
}

fn v4(text: &str, prefix: u8) -> Cidr {
    Cidr::new(text.parse::<Ipv4Addr>().unwrap(), prefix).unwrap()
}

#[test]
fn every_expression_reads_back_as_written() {
    let ns = netns::create().unwrap();
    let mut socket = inside(&ns);
    let v6 = Cidr::new("fd00:1::".parse::<Ipv6Addr>().unwrap(), 64).unwrap();
    let mut name = *b"br-orlop\0\0\0\0\0\0\0\0";
    name[8] = b'0';
    let drop = Expression::Verdict(Verdict::Drop);
    let rules: Vec<(Vec<Expression>, &str)> = vec![
        (
            [
                Expression::family_of(Ipv4Addr::LOCALHOST.into()).to_vec(),
                Expression::source(v4("10.88.0.0", 16), Operator::Is).to_vec(),
                Expression::destination(v4("10.88.0.0", 16), Operator::IsNot).to_vec(),
                vec![Expression::Masquerade],
            ]
            .concat(),
            "ip saddr 10.88.0.0/16 ip daddr != 10.88.0.0/16 masquerade fully-random comment \"a\"",
        ),
        (
            [
                Expression::family_of(IpAddr::V6(Ipv6Addr::LOCALHOST)).to_vec(),
                Expression::source(v6, Operator::Is).to_vec(),
                Expression::destination(v6, Operator::IsNot).to_vec(),
                vec![Expression::Masquerade],
            ]
            .concat(),
            "ip6 saddr fd00:1::/64 ip6 daddr != fd00:1::/64 masquerade fully-random comment \"a\"",
        ),
        (
            vec![
                Expression::Meta(MetaKey::Protocol),
                Expression::Compare(Operator::Is, vec![6]),
                Expression::Payload { part: Part::Transport, offset: 2, length: 2 },
                Expression::Compare(Operator::Is, 8080u16.to_be_bytes().to_vec()),
                drop.clone(),
            ],
            "tcp dport 8080 drop comment \"a\"",
        ),
        (
            vec![
                Expression::Meta(MetaKey::OutName),
                Expression::Compare(Operator::IsNot, name.to_vec()),
                Expression::Verdict(Verdict::Return),
            ],
            "oifname != \"br-orlop0\" return comment \"a\"",
        ),
        (
            vec![
                Expression::Meta(MetaKey::InName),
                Expression::Compare(Operator::Is, name.to_vec()),
                Expression::Verdict(Verdict::Jump("other".to_owned())),
            ],
            "iifname \"br-orlop0\" jump other comment \"a\"",
        ),
        (
            vec![
                Expression::Ct(CtKey::State),
                Expression::Mask(6u32.to_ne_bytes().to_vec()),
                Expression::Compare(Operator::IsNot, vec![0; 4]),
                Expression::Verdict(Verdict::Accept),
            ],
            "ct state established,related accept comment \"a\"",
        ),
        (
            vec![
                Expression::Ct(CtKey::Status),
                Expression::Mask(0x20u32.to_ne_bytes().to_vec()),
                Expression::Compare(Operator::IsNot, vec![0; 4]),
                Expression::Verdict(Verdict::Accept),
            ],
            "ct status dnat accept comment \"a\"",
        ),
    ];
    let mut changes = vec![
        Change::AddTable("ours"),
        Change::AddChain { table: "ours", name: "other", hook: Hook::None },
        Change::AddChain { table: "ours", name: "post", hook: Hook::NatPostrouting },
    ];
    for (expressions, _) in &rules {
        changes.push(Change::AddRule { table: "ours", chain: "post", expressions, comment: "a" });
    }
    socket.commit(&changes).unwrap();
    let lines = listed(&ns);
    for (_, expected) in &rules {
        assert!(lines.iter().any(|line| line == expected), "{expected}\nis not among\n{}", lines.join("\n"));
    }
    assert_eq!(socket.comments("ours", "post").unwrap(), vec!["a".to_owned(); rules.len()]);
    socket.commit(&[Change::DeleteTable("ours")]).unwrap();
    assert_eq!(listed(&ns), Vec::<String>::new());
}

#[test]
fn chains_hook_where_nft_says_they_do() {
    let ns = netns::create().unwrap();
    let chains = [
        ("r", Hook::RawPrerouting, "type filter hook prerouting priority raw; policy accept;"),
        ("a", Hook::NatPrerouting, "type nat hook prerouting priority dstnat; policy accept;"),
        ("b", Hook::NatOutput, "type nat hook output priority -100; policy accept;"),
        ("c", Hook::NatPostrouting, "type nat hook postrouting priority srcnat; policy accept;"),
        ("d", Hook::FilterForward, "type filter hook forward priority filter; policy accept;"),
    ];
    let mut changes = vec![Change::AddTable("ours")];
    changes.extend(chains.iter().map(|(name, hook, _)| Change::AddChain { table: "ours", name, hook: *hook }));
    let mut socket = inside(&ns);
    socket.commit(&changes).unwrap();
    socket.commit(&changes).unwrap();
    let lines = listed(&ns);
    for (_, _, expected) in chains {
        assert!(lines.iter().any(|line| line == expected), "{expected}\nis not among\n{}", lines.join("\n"));
    }
}

#[test]
fn sets_and_maps_hold_what_was_put_in() {
    let ns = netns::create().unwrap();
    let mut socket = inside(&ns);
    let ports = Set { name: "ports".to_owned(), key: vec![DataType::Port], content: SetContent::Keys };
    let published = Set {
        name: "published".to_owned(),
        key: vec![DataType::Protocol, DataType::Port],
        content: SetContent::Values(vec![DataType::Ipv4, DataType::Port]),
    };
    let sixes = Set { name: "sixes".to_owned(), key: vec![DataType::Ipv6], content: SetContent::Verdicts };
    let key = |protocol: u8, port: u16| {
        let [high, low] = port.to_be_bytes();
        vec![protocol, 0, 0, 0, high, low, 0, 0]
    };
    let held =
        [Element::Value(key(6, 80), key(10, 8080)), Element::Value(key(17, 53), vec![10, 88, 0, 2, 0, 53, 0, 0])];
    let jump = [Element::Verdict(Ipv6Addr::LOCALHOST.octets().to_vec(), Verdict::Jump("other".to_owned()))];
    socket
        .commit(&[
            Change::AddTable("ours"),
            Change::AddChain { table: "ours", name: "other", hook: Hook::None },
            Change::AddChain { table: "ours", name: "pre", hook: Hook::NatPrerouting },
            Change::AddSet { table: "ours", set: &ports },
            Change::AddSet { table: "ours", set: &published },
            Change::AddSet { table: "ours", set: &sixes },
            Change::AddElements { table: "ours", set: &ports, elements: &[Element::Key(vec![0, 22])] },
            Change::AddElements { table: "ours", set: &published, elements: &held },
            Change::AddElements { table: "ours", set: &sixes, elements: &jump },
            Change::AddRule {
                table: "ours",
                chain: "pre",
                expressions: &[
                    Expression::Meta(MetaKey::Protocol),
                    Expression::Compare(Operator::Is, vec![6]),
                    Expression::Payload { part: Part::Transport, offset: 2, length: 2 },
                    Expression::InSet("ports".to_owned()),
                    Expression::Verdict(Verdict::Accept),
                ],
                comment: "",
            },
            Change::AddRule {
                table: "ours",
                chain: "pre",
                expressions: &[
                    Expression::family_of(IpAddr::V6(Ipv6Addr::LOCALHOST)).to_vec(),
                    vec![
                        Expression::Payload { part: Part::Network, offset: 24, length: 16 },
                        Expression::VerdictFrom("sixes".to_owned()),
                    ],
                ]
                .concat(),
                comment: "",
            },
        ])
        .unwrap();
    let text = listed(&ns).join("\n");
    for expected in [
        "type inet_proto . inet_service : ipv4_addr . inet_service",
        "udp . 53 : 10.88.0.2 . 53",
        "elements = { 22 }",
        "::1 : jump other",
        "tcp dport @ports accept",
        "ip6 daddr vmap @sixes",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    let gone = [Change::DeleteElements { table: "ours", set: &published, elements: &held[..1] }];
    socket.commit(&gone).unwrap();
    let json = listed_json(&ns);
    let map = json.iter().find_map(|object| object.get("map").filter(|map| map["name"] == "published")).unwrap();
    assert_eq!(map["elem"].as_array().unwrap().len(), 1);
}

#[test]
fn destinations_come_from_maps_by_joined_keys() {
    let ns = netns::create().unwrap();
    let mut socket = inside(&ns);
    let map = Set {
        name: "ports".to_owned(),
        key: vec![DataType::Ipv4, DataType::Protocol, DataType::Port],
        content: SetContent::Values(vec![DataType::Ipv4, DataType::Port]),
    };
    let set = Set {
        name: "led".to_owned(),
        key: vec![DataType::Protocol, DataType::Port, DataType::Ipv4, DataType::Port],
        content: SetContent::Keys,
    };
    let family = Expression::family_of(Ipv4Addr::LOCALHOST.into()).to_vec();
    let mut to = [family.clone(), Expression::to_node().to_vec()].concat();
    to.extend(Expression::key(&[KeyPart::DestinationV4, KeyPart::Protocol, KeyPart::DestinationPort]));
    to.extend([Expression::ValueFrom("ports".to_owned()), Expression::DestinationFrom]);
    let mut from = family;
    from.extend(Expression::key(&[
        KeyPart::Protocol,
        KeyPart::OriginalDestinationPort,
        KeyPart::DestinationV4,
        KeyPart::DestinationPort,
    ]));
    from.extend([Expression::InSet("led".to_owned()), Expression::Masquerade]);
    socket
        .commit(&[
            Change::AddTable("ours"),
            Change::AddChain { table: "ours", name: "pre", hook: Hook::NatPrerouting },
            Change::AddChain { table: "ours", name: "post", hook: Hook::NatPostrouting },
            Change::AddSet { table: "ours", set: &map },
            Change::AddSet { table: "ours", set: &set },
            Change::AddRule { table: "ours", chain: "pre", expressions: &to, comment: "a" },
            Change::AddRule { table: "ours", chain: "post", expressions: &from, comment: "b" },
        ])
        .unwrap();
    let text = listed(&ns).join("\n");
    for expected in [
        "fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @ports comment \"a\"",
        "meta l4proto . ct original proto-dst . ip daddr . th dport @led masquerade fully-random comment \"b\"",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

#[test]
fn elements_more_than_one_message_holds_go_in_and_come_back() {
    let ns = netns::create().unwrap();
    let mut socket = inside(&ns);
    let set = Set {
        name: "many".to_owned(),
        key: vec![DataType::Protocol, DataType::Port],
        content: SetContent::Values(vec![DataType::Ipv4, DataType::Port]),
    };
    let element = |port: u16| {
        let [high, low] = port.to_be_bytes();
        Element::Value(vec![6, 0, 0, 0, high, low, 0, 0], vec![10, 88, high, low, high, low, 0, 0])
    };
    let all: Vec<Element> = (1..=1200).map(element).collect();
    assert_eq!(socket.elements("ours", &set).unwrap(), []);
    let add = |elements| Change::AddElements { table: "ours", set: &set, elements };
    socket.commit(&[Change::AddTable("ours"), Change::AddSet { table: "ours", set: &set }, add(&all)]).unwrap();
    socket.commit(&[add(&all[..3])]).unwrap();
    let back: std::collections::HashSet<Element> = socket.elements("ours", &set).unwrap().into_iter().collect();
    assert_eq!(back, all.iter().cloned().collect());

    let elsewhere = [Element::Value(vec![6, 0, 0, 0, 0, 1, 0, 0], vec![10, 88, 9, 9, 0, 1, 0, 0])];
    assert!(socket.commit(&[add(&elsewhere)]).unwrap_err().is(Errno::EEXIST));
    let delete = |elements| Change::DeleteElements { table: "ours", set: &set, elements };
    socket.commit(&[delete(&all)]).unwrap();
    assert_eq!(socket.elements("ours", &set).unwrap(), []);
    assert!(socket.commit(&[delete(&all[..1])]).unwrap_err().is(Errno::ENOENT));
}

#[test]
fn refused_transaction_changes_nothing_and_names_the_step() {
    let ns = netns::create().unwrap();
    let mut socket = inside(&ns);
    let before = socket.generation().unwrap();
    let error = socket
        .commit(&[
            Change::AddTable("ours"),
            Change::AddChain { table: "ours", name: "post", hook: Hook::NatPostrouting },
            Change::AddRule {
                table: "ours",
                chain: "nowhere",
                expressions: &[Expression::Verdict(Verdict::Accept)],
                comment: "",
            },
        ])
        .unwrap_err();
    assert!(error.is(Errno::ENOENT), "{error}");
    assert!(error.to_string().starts_with("add a rule to nft chain ours nowhere"), "{error}");
    assert_eq!(listed(&ns), Vec::<String>::new());
    assert_eq!(socket.generation().unwrap(), before);
    assert_eq!(socket.comments("ours", "post").unwrap(), Vec::<String>::new());
    socket.commit(&[Change::AddTable("ours")]).unwrap();
    assert_ne!(socket.generation().unwrap(), before);
}

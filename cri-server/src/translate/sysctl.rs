//! Sysctls of a pod: only those that belong to namespaces of its own.

use super::path::without_nul;
use super::{Refused, Result, quoted};
use orlop_model::sandbox::NamespaceScope;
use std::collections::BTreeMap;

/// Which namespace a sysctl belongs to; namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Network,
    Ipc,
}

/// Checks the sysctls of a pod and returns them with dots between the parts of their names.
pub(crate) fn sysctls(
    asked: &BTreeMap<String, String>,
    network: NamespaceScope,
    ipc: NamespaceScope,
) -> Result<BTreeMap<String, String>> {
    let mut sysctls = BTreeMap::new();
    for (name, value) in asked {
        let field = format!("linux.sysctls[{}]", quoted(name));
        let dotted = dotted(name);
        if !names_a_file(&dotted) {
            return Err(Refused::invalid(field, "is not the name of a sysctl"));
        }
        let Some(owner) = owner(&dotted) else {
            return Err(Refused::invalid(
                field,
                "is the node's, not a pod's; a pod may set net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.*",
            ));
        };
        let (scope, word) = match owner {
            Owner::Network => (network, "network"),
            Owner::Ipc => (ipc, "ipc"),
        };
        if scope == NamespaceScope::Host {
            return Err(Refused::invalid(
                field,
                format!("would change the node: the pod uses the node's {word} namespace"),
            ));
        }
        without_nul(&field, value)?;
        if sysctls.insert(dotted, value.clone()).is_some() {
            return Err(Refused::invalid(field, "is given twice, with dots and with slashes"));
        }
    }
    Ok(sysctls)
}

/// Returns a name with dots between its parts. With a slash first, slashes separate and dots are part of a name, as in
/// `net/ipv4/conf/eth0.100/rp_filter`; sysctl(8).
fn dotted(name: &str) -> String {
    match name.find(['.', '/']).map(|at| &name[at..=at]) {
        Some("/") => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

/// Whether every part of a dotted name is a file name: none is empty, `.` or `..` once slashes and dots change places.
fn names_a_file(dotted: &str) -> bool {
    dotted.split('.').all(|part| {
        !matches!(part, "" | "/" | "//") && !part.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    })
}

fn owner(dotted: &str) -> Option<Owner> {
    if dotted.starts_with("net.") {
        Some(Owner::Network)
    } else if dotted.starts_with("fs.mqueue.")
        || ["kernel.shm", "kernel.msg"].iter().any(|prefix| dotted.starts_with(prefix))
        || dotted == "kernel.sem"
    {
        Some(Owner::Ipc)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use NamespaceScope::{Host, Sandbox};
    use orlop_model::ErrorKind::InvalidArgument;
    use proptest::prelude::*;

    fn one(name: &str, network: NamespaceScope, ipc: NamespaceScope) -> Result<BTreeMap<String, String>> {
        sysctls(&BTreeMap::from([(name.to_owned(), "1".to_owned())]), network, ipc)
    }

    #[test]
    fn sysctls_of_the_pods_own_namespaces_are_kept() {
        for (name, expected) in [
            ("kernel.shm_rmid_forced", "kernel.shm_rmid_forced"),
            ("kernel.msgmax", "kernel.msgmax"),
            ("kernel.sem", "kernel.sem"),
            ("fs.mqueue.msg_max", "fs.mqueue.msg_max"),
            ("net.ipv4.ip_forward", "net.ipv4.ip_forward"),
            ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            ("net/ipv4/conf/eth0.100/rp_filter", "net.ipv4.conf.eth0/100.rp_filter"),
        ] {
            assert_eq!(one(name, Sandbox, Sandbox).unwrap(), BTreeMap::from([(expected.to_owned(), "1".to_owned())]));
        }
    }

    #[test]
    fn sysctls_of_the_node_are_refused() {
        for name in ["kernel.panic", "vm.swappiness", "kernel.semaphore", "fs.file-max", "kernel.hostname", "net"] {
            check_refused(one(name, Sandbox, Sandbox), InvalidArgument, &[name, "the node's"]);
        }
        check_refused(one("net.ipv4.ip_forward", Host, Sandbox), InvalidArgument, &["net.ipv4", "network namespace"]);
        check_refused(one("kernel.sem", Sandbox, Host), InvalidArgument, &["kernel.sem", "ipc namespace"]);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", ".", "net..x", "net.", "net.//.kernel.x", "net/../kernel/x", "net.a\0", "net.a b", "/net/x"] {
            check_refused(one(name, Sandbox, Sandbox), InvalidArgument, &["linux.sysctls["]);
        }
        let both = [("net.a.b", "1"), ("net/a/b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        check_refused(sysctls(&BTreeMap::from(both), Sandbox, Sandbox), InvalidArgument, &["twice"]);
    }

    proptest! {
        #[test]
        fn no_accepted_name_leaves_its_folder(name in "[a-z./]{0,12}") {
            for prefix in ["net.", "net/", "fs.mqueue.", ""] {
                let Ok(accepted) = one(&format!("{prefix}{name}"), Sandbox, Sandbox) else { continue };
                for dotted in accepted.keys() {
                    let path: String =
                        dotted.chars().map(|c| match c { '.' => '/', '/' => '.', other => other }).collect();
                    prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{}", path);
                }
            }
        }
    }
}

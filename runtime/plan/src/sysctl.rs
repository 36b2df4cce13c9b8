//! Sysctls: which namespace each belongs to, and its file.

pub use orlop_wire::plan::NamespaceKind;

/// Longest value accepted; the longest real one is a list of ports.
const VALUE_BYTES_MAX: usize = 4096;

/// A sysctl that a namespace has its own of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Whose it is; setting it is only allowed in a namespace of the container's or sandbox's own.
    pub namespace: NamespaceKind,
    /// Path below `/proc/sys`, with slashes.
    pub path: String,
}

/// Why a sysctl can't be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSysctl {
    /// Not a name.
    #[error("{0:?} is not the name of a sysctl")]
    Name(String),
    /// The whole node's.
    #[error("{0} is not namespaced: setting it would change the whole node")]
    NotNamespaced(String),
    /// A value that is more than one line, or none that fits.
    #[error("the value of {0} holds a line break or NUL, or is longer than {VALUE_BYTES_MAX} bytes")]
    Value(String),
}

/// System V IPC's own, besides `fs.mqueue.*`; ipc_namespaces(7).
const IPC: [&str; 12] = [
    "kernel/auto_msgmni",
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// uts_namespaces(7).
const UTS: [&str; 2] = ["kernel/domainname", "kernel/hostname"];

/// Finds the namespace and file of a sysctl, and checks its value. CVE-2022-0811: a value is never put together with
/// anything, so that `+` or a line break in it can't become another sysctl.
pub fn resolve(name: &str, value: &str) -> Result<Sysctl, BadSysctl> {
    let shown = || name.chars().take(100).collect::<String>();
    let path = path(name).ok_or_else(|| BadSysctl::Name(shown()))?;
    if value.len() > VALUE_BYTES_MAX || value.contains(['\0', '\n']) {
        return Err(BadSysctl::Value(shown()));
    }
    let namespace = if path.starts_with("net/") {
        NamespaceKind::Network
    } else if path.starts_with("fs/mqueue/") || IPC.contains(&path.as_str()) {
        NamespaceKind::Ipc
    } else if UTS.contains(&path.as_str()) {
        NamespaceKind::Uts
    } else {
        return Err(BadSysctl::NotNamespaced(shown()));
    };
    Ok(Sysctl { namespace, path })
}

/// Returns the path of a name. The first separator says which one separates; the other is then part of a name, as in
/// `net.ipv4.conf.eth0/100.forwarding`. sysctl(8), sysctl.d(5).
fn path(name: &str) -> Option<String> {
    let first = name.find(['.', '/'])?;
    let slashes = name.as_bytes().get(first) == Some(&b'/');
    let swap = |c| match c {
        '.' if !slashes => '/',
        '/' if !slashes => '.',
        other => other,
    };
    let path: String = name.chars().map(swap).collect();
    let plain = |part: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'@');
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(known)
    };
    path.split('/').all(plain).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_files_of_their_namespace() {
        for (name, namespace, path) in [
            ("net.ipv4.ip_forward", NamespaceKind::Network, "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.100/forwarding", NamespaceKind::Network, "net/ipv4/conf/eth0.100/forwarding"),
            ("net.ipv4.conf.eth0/100.forwarding", NamespaceKind::Network, "net/ipv4/conf/eth0.100/forwarding"),
            ("kernel.shm_rmid_forced", NamespaceKind::Ipc, "kernel/shm_rmid_forced"),
            ("fs.mqueue.msg_max", NamespaceKind::Ipc, "fs/mqueue/msg_max"),
            ("kernel.hostname", NamespaceKind::Uts, "kernel/hostname"),
        ] {
            assert_eq!(resolve(name, "1"), Ok(Sysctl { namespace, path: path.to_owned() }));
        }
    }

    #[test]
    fn what_changes_the_node_or_leaves_the_tree_is_refused() {
        for name in ["kernel.core_pattern", "vm.swappiness", "kernel.shmmax.x", "fs.mqueue", "netx.y"] {
            assert!(matches!(resolve(name, "1"), Err(BadSysctl::NotNamespaced(_))), "{name}");
        }
        for name in [
            "",
            "net",
            "net..x",
            "net/../kernel/core_pattern",
            ".net.x",
            "net.ipv4.\nx",
            "net.x.",
            "net.ipv4.a//..b",
            "net.ipv4.conf.//.x",
        ] {
            assert!(matches!(resolve(name, "1"), Err(BadSysctl::Name(_))), "{name}");
        }
        for value in ["1\n2", "\0", &"1".repeat(5000)] {
            assert!(matches!(resolve("net.ipv4.ip_forward", value), Err(BadSysctl::Value(_))));
        }
        assert!(resolve("net.ipv4.ping_group_range", "0 2147483647+kernel.core_pattern=x").is_ok());
    }
}

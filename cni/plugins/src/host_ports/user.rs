//! Who has a port of the node, for the message to whoever wanted it.

use super::{NodePort, Protocol};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest search. It goes through the descriptors of all processes, and the network waits meanwhile. Tests want the answer.
const SEARCH_TIME: Duration = if cfg!(test) { Duration::from_secs(30) } else { Duration::from_millis(100) };
/// `TCP_LISTEN` as the kernel's lists show it.
const LISTENING: &str = "0A";

/// Says who has a port, as far as that can be told.
pub(super) fn of(port: &NodePort) -> String {
    let lists: &[&str] = match port.protocol {
        Protocol::Tcp => &["tcp", "tcp6"],
        Protocol::Udp => &["udp", "udp6"],
        Protocol::Sctp => &[],
    };
    let texts = lists.iter().filter_map(|list| fs::read_to_string(Path::new("/proc/thread-self/net").join(list)).ok());
    let sockets: Vec<String> = texts.flat_map(|text| sockets(&text, port)).collect();
    process_with(&sockets).unwrap_or_else(|| "a process of the node that can't be told".to_owned())
}

/// Finds the inodes of sockets that have the port, in a list like `/proc/net/tcp`.
fn sockets(list: &str, port: &NodePort) -> Vec<String> {
    let ends = format!(":{:04X}", port.number);
    let inode = |line: &str| {
        let mut words = line.split_whitespace();
        let (local, state, inode) = (words.nth(1)?, words.nth(1)?, words.nth(5)?);
        let matches = local.ends_with(&ends) && (port.protocol != Protocol::Tcp || state == LISTENING);
        matches.then(|| inode.to_owned())
    };
    list.lines().skip(1).filter_map(inode).collect()
}

fn process_with(sockets: &[String]) -> Option<String> {
    if sockets.is_empty() {
        return None;
    }
    let targets: Vec<String> = sockets.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let deadline = Instant::now() + SEARCH_TIME;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        if Instant::now() >= deadline {
            return None;
        }
        let name = entry.file_name();
        let Some(process) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else { continue };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let links = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        let mut links = links.filter_map(|link| link.to_str().map(str::to_owned));
        if links.any(|link| targets.contains(&link)) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {process})", name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_port_and_state() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 x\n   \
                    1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 222 1 x\n   \
                    2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 x\n";
        let port = |protocol| NodePort { protocol, address: None, number: 8080 };
        assert_eq!(sockets(list, &port(Protocol::Tcp)), ["111"]);
        assert_eq!(sockets(list, &port(Protocol::Udp)), ["111", "222"]);
    }
}
